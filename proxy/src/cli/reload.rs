//! `weir reload`

use std::io::Write as _;

use super::args::PlaceArgs;
use super::exit::{CliError, Exit};
use super::output::{Out, note};
use super::place::Place;
use crate::admin::api;
use crate::admin::client::ClientError;

/// Makes the running weir read its configuration again. It checks the whole file and says what is wrong with it; reading
/// all of that here, too, would take as long once more.
pub(super) fn reload(args: &PlaceArgs, out: &mut Out) -> Result<(), CliError> {
    let answer = match Place::brief(args).map(|place| place.client().reload()) {
        // Nobody read the file: if it is not valid, that comes first.
        None | Some(Err(ClientError::NotRunning { .. })) => Place::find(args)?.client().reload(),
        Some(refused @ Err(ClientError::Reload(_))) if args.config_is_explicit() => {
            // Told as `weir check` tells it, unless the running weir has another file.
            Place::find(args)?;
            refused
        }
        Some(answer) => answer,
    };
    let reloaded = match answer {
        Err(ClientError::Reload(failed)) if !failed.problems.is_empty() => {
            complain(&failed);
            return Err(CliError::Reported(Exit::Usage));
        }
        other => other?,
    };
    out.line(format!(
        "reloaded {}: generation {}, routes: {}, upstreams: {}",
        reloaded.config, reloaded.generation, reloaded.routes, reloaded.upstreams
    ))?;
    for key in &reloaded.needs_restart {
        note(format!(
            "the change of {key} takes effect at the next start"
        ));
    }
    Ok(())
}

fn complain(failed: &api::ReloadFailed) {
    // A closed stderr leaves the exit code to tell.
    let mut stderr = std::io::stderr().lock();
    for problem in &failed.problems {
        let _ = writeln!(stderr, "{}", describe(problem));
    }
    let _ = writeln!(stderr, "error: {failed}; nothing changed");
    if !failed.hint.is_empty() {
        let _ = writeln!(stderr, "hint: {}", failed.hint);
    }
}

/// As `weir check` says it: `line 12: listen[0].address = "x": not a socket address (hint: …)`.
fn describe(problem: &api::Problem) -> String {
    let line = match problem.line {
        0 => String::new(),
        line => format!("line {line}: "),
    };
    let key = match (problem.key.as_str(), problem.value.as_str()) {
        ("", _) => String::new(),
        (key, "") => format!("{key}: "),
        (key, value) => format!("{key} = {value}: "),
    };
    let hint = match problem.hint.as_str() {
        "" => String::new(),
        hint => format!(" (hint: {hint})"),
    };
    format!("{line}{key}{}{hint}", problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_line_key_value_and_hint_as_far_as_there_are_any() {
        let mut problem = api::Problem {
            line: 12,
            key: "listen[0].address".into(),
            value: "\"x\"".into(),
            message: "not a socket address".into(),
            hint: "write \"[::]:443\"".into(),
        };
        assert_eq!(
            describe(&problem),
            "line 12: listen[0].address = \"x\": not a socket address (hint: write \"[::]:443\")"
        );
        problem.line = 0;
        problem.key.clear();
        problem.hint.clear();
        assert_eq!(describe(&problem), "not a socket address");
    }
}
