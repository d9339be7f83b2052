//! `weir drain` and `weir undrain`

use super::args::ServerArgs;
use super::exit::{CliError, Exit};
use super::output::Out;
use super::place::Place;
use super::units;
use crate::admin::api;

/// Takes a server out: it gets no new requests, and finishes those it has.
pub(super) fn drain(place: &Place, args: &ServerArgs, out: &mut Out) -> Result<(), CliError> {
    say(&place.client().drain(&named(&args.server)?)?, out)
}

/// Takes it in again.
pub(super) fn undrain(place: &Place, args: &ServerArgs, out: &mut Out) -> Result<(), CliError> {
    say(&place.client().undrain(&named(&args.server)?)?, out)
}

/// `NAME/SERVER`; no name has a slash.
fn named(text: &str) -> Result<api::DrainRequest, CliError> {
    match text.split_once('/') {
        Some((upstream, server)) if !upstream.is_empty() && !server.is_empty() => {
            Ok(api::DrainRequest {
                upstream: upstream.to_owned(),
                server: server.to_owned(),
            })
        }
        Some(_) | None => Err(CliError::new(
            Exit::Usage,
            format!("`{text}` names no server"),
            "write NAME/SERVER as `weir upstreams` shows them, such as app/10.0.0.11:8080",
        )),
    }
}

fn say(drained: &api::Drained, out: &mut Out) -> Result<(), CliError> {
    let name = format!("{}/{}", drained.upstream, drained.server);
    let state = match (drained.drained, drained.changed) {
        (true, true) => "drained",
        (true, false) => "was drained already",
        (false, true) => "takes requests again",
        (false, false) => "was not drained",
    };
    let in_flight = units::count(drained.in_flight);
    out.line(format!("{name} {state}, requests under way: {in_flight}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_upstream_and_itself() {
        let request = named("app/[2001:db8::1]:8080").expect("both are there");
        assert_eq!(request.upstream, "app");
        assert_eq!(request.server, "[2001:db8::1]:8080");
        for text in ["app", "app/", "/10.0.0.1:80", ""] {
            assert!(named(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_became_of_it_is_said_in_a_sentence() {
        let mut drained = api::Drained {
            upstream: "app".into(),
            server: "10.0.0.11:8080".into(),
            drained: true,
            changed: true,
            in_flight: 3,
        };
        let (mut out, captured) = Out::capture();
        say(&drained, &mut out).expect("writes");
        drained.drained = false;
        say(&drained, &mut out).expect("writes");
        assert_eq!(
            captured.text(),
            "app/10.0.0.11:8080 drained, requests under way: 3\n\
             app/10.0.0.11:8080 takes requests again, requests under way: 3\n"
        );
    }
}
