//! Client programs at addresses of the lab.

use std::net::IpAddr;

use anyhow::Result;
use weir_lab::topology::{client_v4, gateway_address};
use weir_lab::{Lab, Output, peer};

/// The honest client that all of them are.
pub(super) fn source() -> IpAddr {
    client_v4(0)
}

/// What every curl is told: who it is, where weir is, whom to trust, and an end.
pub(super) fn curl_arguments(lab: &Lab) -> Vec<String> {
    let weir = gateway_address(source());
    [
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "60",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["--interface".to_owned(), source().to_string()])
    .chain(
        ["weir.test", "other.test"]
            .into_iter()
            .flat_map(|name| ["--connect-to".to_owned(), format!("{name}::{weir}:")]),
    )
    .chain([
        "--cacert".to_owned(),
        lab.pki.authority.display().to_string(),
    ])
    .collect()
}

/// Runs curl to its end.
pub(super) fn curl(lab: &Lab, arguments: &[&str]) -> Result<Output> {
    let common = curl_arguments(lab);
    let all: Vec<&str> = common
        .iter()
        .map(String::as_str)
        .chain(arguments.iter().copied())
        .collect();
    peer::run(&lab.clients, "curl", &all)
}
