//! Programs that read what they are to do from their standard input.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs `command` with `input` at its standard input to its end, and returns what it wrote to its standard output.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {name}: `cargo xtask setup` installs it"))?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    let fed = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let arguments: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{name} {} failed: {}",
            arguments.join(" "),
            complaint.trim()
        );
    }
    fed.with_context(|| format!("{name} did not read its input"))?;
    String::from_utf8(output.stdout).with_context(|| format!("{name} did not write text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_goes_in_and_output_comes_out() {
        let output = feed(&mut Command::new("cat"), "to and fro");
        assert_eq!(output.expect("cat runs"), "to and fro");
    }

    #[test]
    fn a_program_that_fails_is_named_with_what_it_complained_of() {
        let mut command = Command::new("sh");
        let error = feed(command.args(["-c", "echo no >&2; exit 1"]), "").expect_err("it fails");
        assert_eq!(error.to_string(), "sh -c echo no >&2; exit 1 failed: no");
    }
}
