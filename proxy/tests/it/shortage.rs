//! The binary short of what the host gives it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::client::Client;
use crate::origin::Origin;
use crate::process::{Running, Scratch, free, supervisor, told};
use crate::weir::until;

const WORKERS: u32 = 2;
/// Files that weir may have open; it needs some thirty for itself.
const FILES: u32 = 128;
/// Connections that come, which need as many.
const FLOOD: usize = 300;

fn configure(scratch: &Scratch, address: &str, origin: SocketAddr) {
    let directory = scratch.path("");
    let directory = directory.display();
    let text = format!(
        r#"[process]
workers = {WORKERS}
state_dir = "{directory}/state"
run_dir = "{directory}/run"
[log]
access = "off"
[limits]
header_timeout = "5m"
idle_timeout = "5m"
[[listen]]
address = "{address}"
[[upstream]]
name = "app"
servers = ["http://{origin}"]
health = {{ path = "/healthz", interval = "100ms", timeout = "20s", fall = 1 }}
[[route]]
upstream = "app"
"#
    );
    fs::write(scratch.path("weir.toml"), text).unwrap();
}

/// Of all threads since the start: fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms.
fn processor_time(weir: &Running) -> Duration {
    let stat = fs::read_to_string(weir.proc("stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// Clients that are there keep what they have, an origin server is not blamed for what weir lacks, and no worker turns in
/// circles.
#[test]
fn without_descriptors_those_who_are_connected_are_served_and_the_others_later() {
    // This end needs descriptors, too.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let scratch = Scratch::new();
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let address = free();
    configure(&scratch, &address, origin.address);
    let supervisor = supervisor(&scratch);
    let weir = scratch.run_with_files(FILES);
    assert_eq!(told(&supervisor), "READY=1\n");
    let address: SocketAddr = address.parse().unwrap();
    let mut kept: Vec<_> = (0..8).map(|_| Client::connect(address)).collect();
    let mut served = || {
        for client in &mut kept {
            assert_eq!(client.get("/").text(), "ok");
        }
    };
    served();

    let refusals = || scratch.text("stderr").matches("cannot accept").count();
    let start = Instant::now();
    let flood: Vec<_> = (0..FLOOD)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    until("all descriptors are taken", || {
        let open = fs::read_dir(weir.proc("fd")).unwrap().count();
        open >= FILES as usize && refusals() > 0
    });
    until("health is not checked", || {
        scratch.text("stderr").contains("health not checked")
    });
    served();
    let (before, since) = (processor_time(&weir), Instant::now());
    let already = refusals();
    until("workers have tried again", || refusals() > already + 20);
    let tried = u32::try_from(refusals()).unwrap();
    let spent = processor_time(&weir).saturating_sub(before);
    // One that waits spends next to nothing.
    assert!(spent < since.elapsed() / 2, "{spent:?}");
    // A tenth of a second each, but for the last of each worker.
    let waited = Duration::from_millis(100) * (tried / WORKERS - 1);
    assert!(start.elapsed() >= waited, "{tried} times");
    served();
    drop(flood);
    until("weir has descriptors again", || {
        fs::read_dir(weir.proc("fd")).unwrap().count() < FILES as usize / 2
    });
    served();
    for _ in 0..8 {
        assert_eq!(Client::connect(address).get("/").text(), "ok");
    }
    let log = scratch.text("stderr");
    assert!(!log.contains("origin server unhealthy"), "{log}");
}
