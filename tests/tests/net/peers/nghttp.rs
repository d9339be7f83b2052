//! nghttp and h2load as clients: HTTP/2 by the library that most others are built on.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use weir_lab::topology::gateway_address;
use weir_lab::{Config, Lab, Weir, peer, until};

use super::clients::source;
use crate::{SOON, Test};

/// A cleartext listener beside the one with TLS.
fn config() -> Config {
    Config {
        listen: "\n[[listen]]\naddress = \"[::]:80\"\n".into(),
        ..Config::default()
    }
}

/// Both of weir's listeners by address, which is what nghttp looks up.
fn urls(path: &str) -> [String; 2] {
    let weir = gateway_address(source());
    [
        format!("http://{weir}{path}"),
        format!("https://{weir}{path}"),
    ]
}

#[test]
fn nghttp_gets_an_answer_over_cleartext_and_over_tls() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &config())?;
    for url in urls("/") {
        let output = peer::run(
            &lab.clients,
            "nghttp",
            &["-v", "-n", "-t", "60s", "--no-verify-peer", &url],
        )?;
        ensure!(output.code == 0, "{url}: {output:?}");
        ensure!(
            output.stdout.contains(":status: 200"),
            "{url}: {}",
            output.stdout
        );
        ensure!(
            !output.stdout.contains("error_code=PROTOCOL_ERROR"),
            "{url}: {}",
            output.stdout
        );
        let agreed = "The negotiated protocol: h2";
        ensure!(
            output.stdout.contains(agreed) == url.starts_with("https"),
            "{url}: {}",
            output.stdout
        );
    }
    Ok(())
}

#[test]
fn nghttp_uploads_with_padding_and_trailers() -> Test {
    const BYTES: usize = 3_000_000;
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &config())?;
    let file = lab.directory().join("upload");
    std::fs::write(&file, vec![b'u'; BYTES])?;
    let file = file.display().to_string();
    for url in urls("/echo") {
        let output = peer::run(
            &lab.clients,
            "nghttp",
            &[
                "-t",
                "60s",
                "--no-verify-peer",
                "--padding",
                "100",
                "--trailer",
                "x-trailer: 1",
                "--continuation",
                "-d",
                &file,
                &url,
            ],
        )?;
        ensure!(output.code == 0, "{url}: {output:?}");
        let seen: serde_json::Value = serde_json::from_str(&output.stdout)?;
        ensure!(seen["content_length"] == BYTES, "{url}: {seen}");
    }
    Ok(())
}

/// RFC 9113 §8.1: the answer first, then a reset that is no error.
#[test]
fn nghttp_that_uploads_too_much_sees_413_and_not_an_error() -> Test {
    let lab = Lab::new()?;
    let limited = Config {
        limits: "drain = \"20s\"\nbody_bytes = \"1MB\"\n".into(),
        ..config()
    };
    let _weir = Weir::start(&lab, &limited)?;
    let file = lab.directory().join("upload");
    std::fs::write(&file, vec![b'u'; 3_000_000])?;
    let file = file.display().to_string();
    for url in urls("/echo") {
        let output = peer::run(
            &lab.clients,
            "nghttp",
            &["-v", "-t", "60s", "--no-verify-peer", "-d", &file, &url],
        )?;
        let written = &output.stdout;
        ensure!(output.code == 0, "{url}: {output:?}");
        ensure!(written.contains(":status: 413"), "{url}: {written}");
        ensure!(!written.contains("PROTOCOL_ERROR"), "{url}: {written}");
    }
    ensure!(requests(&lab) == 0, "the origins were asked");
    Ok(())
}

#[test]
fn a_drain_tells_nghttp_goaway_and_finishes_what_it_asked_for() -> Test {
    let lab = Lab::new()?;
    for url in urls("/slow?ms=5000") {
        let mut weir = Weir::start(&lab, &config())?;
        let asked: u64 = requests(&lab);
        let mut nghttp = peer::spawn(
            &lab.clients,
            "nghttp",
            &["-v", "-t", "60s", "--no-verify-peer", &url],
        )?;
        let mut stdout = nghttp.stdout.take().context("stdout is piped")?;
        until(SOON, "the request to be under way", || {
            Ok(requests(&lab) > asked)
        })?;
        weir.signal(Signal::SIGTERM)?;
        let mut written = String::new();
        stdout.read_to_string(&mut written)?;
        let status = nghttp.wait()?;
        let goaway = written
            .find("recv GOAWAY frame")
            .with_context(|| written.clone())?;
        let end = written.rfind("origin-").with_context(|| written.clone())?;
        ensure!(written[goaway..].contains("NO_ERROR"), "{url}: {written}");
        ensure!(goaway < end, "{url}: {written}");
        ensure!(
            written.matches("\norigin-").count() + written.matches("]origin-").count() <= 10,
            "{written}"
        );
        ensure!(status.success(), "{url}: {status} {written}");
        let ended = weir.wait_for_exit(SOON)?;
        ensure!(ended.success(), "{ended}");
    }
    Ok(())
}

/// What the origins were asked so far.
fn requests(lab: &Lab) -> u64 {
    lab.origins.iter().map(weir_lab::Origin::requests).sum()
}

#[test]
fn h2load_gets_every_one_of_many_requests_over_many_streams_answered() -> Test {
    const REQUESTS: u64 = 4_000;
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &config())?;
    let count = REQUESTS.to_string();
    for url in [urls("/"), urls("/static/one"), urls("/big?bytes=20000")].concat() {
        let output = peer::run(
            &lab.clients,
            "h2load",
            &[
                "-n",
                &count,
                "-c",
                "8",
                "-m",
                "50",
                "--connection-inactivity-timeout",
                "60",
                &url,
            ],
        )?;
        ensure!(output.code == 0, "{url}: {output:?}");
        ensure!(
            summary(&output.stdout, "succeeded,")? == REQUESTS,
            "{url}: {}",
            output.stdout
        );
        for bad in ["failed,", "errored,"] {
            ensure!(
                summary(&output.stdout, bad)? == 0,
                "{url}: {}",
                output.stdout
            );
        }
        ensure!(
            summary(&output.stdout, "2xx,")? == REQUESTS,
            "{url}: {}",
            output.stdout
        );
    }
    Ok(())
}

/// The number before `word` in h2load's summary.
fn summary(text: &str, word: &str) -> Result<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words
        .iter()
        .position(|other| *other == word)
        .with_context(|| text.to_owned())?;
    Ok(words[at - 1].parse()?)
}
