//! The binary while it is reloaded and stopped: what is under way ends well.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::process::{Running, Scratch, free, supervisor, told};
use crate::tls::{Certificate, connect, exchange, get, h2, run, run_on, text};
use crate::weir::until;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One upstream with `origin` behind `more` than one route for `a.test`; `tls` is a second listener's address and
/// certificate.
struct Configuration<'a> {
    address: &'a str,
    tls: Option<(&'a str, &'a Certificate)>,
    origin: SocketAddr,
    drain: &'a str,
}

impl Configuration<'_> {
    fn write(&self, scratch: &Scratch, routes: usize, more: &str) {
        let directory = scratch.path("");
        let directory = directory.display();
        let Self {
            address,
            origin,
            drain,
            ..
        } = self;
        let mut text = format!(
            r#"[process]
workers = 2
state_dir = "{directory}/state"
run_dir = "{directory}/run"
[log]
access = "off"
[limits]
drain = "{drain}"
[[listen]]
address = "{address}"
[[upstream]]
name = "app"
servers = ["http://{origin}"]
[[route]]
host = "a.test"
upstream = "app"
{more}
"#
        );
        if let Some((address, certificate)) = self.tls {
            let (chain, key) = (&certificate.settings.chain, &certificate.settings.key);
            write!(
                text,
                "[[listen]]\naddress = \"{address}\"\ntls = true\n[[certificate]]\nchain = \"{}\"\nkey = \"{}\"\n",
                chain.display(),
                key.display()
            )
            .unwrap();
        }
        for number in 0..routes {
            write!(
                text,
                "[[route]]\nhost = \"h{number}.test\"\nupstream = \"app\"\n"
            )
            .unwrap();
        }
        fs::write(scratch.path("weir.toml"), text).unwrap();
    }
}

/// Stops the other threads when the one that tests is done, or fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn reloads_under_load_lose_no_request() {
    let scratch = Scratch::new();
    let origin = Origin::answering(OK);
    let (address, secure) = (free(), free());
    let certificate = Certificate::new();
    let configuration = Configuration {
        address: &address,
        tls: Some((&secure, &certificate)),
        origin: origin.address,
        drain: "10s",
    };
    configuration.write(&scratch, 0, "");
    let supervisor = supervisor(&scratch);
    let _weir = scratch.run();
    told(&supervisor);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let plain: SocketAddr = address.parse().unwrap();
    let secure: SocketAddr = secure.parse().unwrap();
    let count = || served.fetch_add(1, Ordering::SeqCst);
    let goes_on = || !stop.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        // One connection for all, and one for each.
        scope.spawn(|| {
            let mut client = Client::connect(plain);
            while goes_on() {
                assert_eq!(client.get("/").status(), 200);
                count();
            }
        });
        scope.spawn(|| {
            while goes_on() {
                assert_eq!(Client::connect(plain).get("/").status(), 200);
                count();
            }
        });
        scope.spawn(|| {
            run_on(async {
                let kept = certificate.connect(secure, &[b"h2"]).await.unwrap();
                let mut kept = h2(kept).await;
                while goes_on() {
                    let response = kept.send_request(get("/")).await.unwrap();
                    assert_eq!(text(response).await, "ok");
                    let client = certificate.client(&[b"http/1.1"]);
                    let mut stream = connect(secure, &client, "a.test").await.unwrap();
                    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
                    let response = exchange(&mut stream, request).await.unwrap();
                    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
                    count();
                }
            });
        });
        let other = free();
        for round in 0..6 {
            let before = served.load(Ordering::SeqCst);
            until("requests go on", || {
                served.load(Ordering::SeqCst) > before + 50
            });
            let more = match round % 3 {
                0 => String::new(),
                1 => format!("[[listen]]\naddress = \"{other}\"\n"),
                _ => "nonsense".to_owned(),
            };
            configuration.write(&scratch, 100 * round, &more);
            let (code, stderr) = scratch.outcome("reload");
            assert_eq!(code == 0, round % 3 != 2, "{stderr}");
        }
    });
}

/// Resident memory in KiB.
fn resident(weir: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", weir.0.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The bound is for what would be kept of each reload: routes of about 100 KiB, 150 times.
#[test]
fn memory_does_not_grow_with_reloads() {
    let scratch = Scratch::new();
    let address = free();
    let configuration = Configuration {
        address: &address,
        tls: None,
        origin: Origin::refusing(),
        drain: "10s",
    };
    configuration.write(&scratch, 500, "");
    let supervisor = supervisor(&scratch);
    let weir = scratch.run();
    told(&supervisor);
    let reload = |times: usize| {
        for _ in 0..times {
            weir.signal(Signal::SIGHUP);
            assert!(told(&supervisor).starts_with("RELOADING=1\n"));
            assert_eq!(told(&supervisor), "READY=1\n");
        }
        // Workers let go of the last site when they next need one.
        for _ in 0..8 {
            let mut client = Client::connect(address.parse().unwrap());
            assert_eq!(client.get("/").status(), 502);
        }
    };
    reload(50);
    let before = resident(&weir);
    reload(150);
    let after = resident(&weir);
    assert!(
        after < before + before / 10 + 2_048,
        "{before} KiB, then {after} KiB"
    );
}

#[test]
fn sigterm_lets_streams_finish_and_exits_with_0() {
    let scratch = Scratch::new();
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        Then::KeepOpen
    });
    let (address, secure) = (free(), free());
    let certificate = Certificate::new();
    let configuration = Configuration {
        address: &address,
        tls: Some((&secure, &certificate)),
        origin: origin.address,
        drain: "20s",
    };
    configuration.write(&scratch, 0, "");
    let supervisor = supervisor(&scratch);
    let mut weir = scratch.run();
    told(&supervisor);
    let secure: SocketAddr = secure.parse().unwrap();
    run(async {
        let mut sender = h2(certificate.connect(secure, &[b"h2"]).await.unwrap()).await;
        let under_way = sender.send_request(get("/"));
        let stop = async {
            while origin.requests().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            weir.signal(Signal::SIGTERM);
            // Nobody new is let in; only then is the stream finished.
            while tokio::net::TcpStream::connect(secure).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            go.send(()).unwrap();
        };
        let (response, ()) = tokio::join!(under_way, stop);
        assert_eq!(text(response.unwrap()).await, "ok");
        // GOAWAY: nothing more goes on this connection.
        while sender.ready().await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
    assert_eq!(weir.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_stream_that_never_ends_is_cut_off_at_the_end_of_the_drain() {
    let scratch = Scratch::new();
    let origin = Origin::start(|_, _| Then::KeepOpen);
    let (address, secure) = (free(), free());
    let certificate = Certificate::new();
    let configuration = Configuration {
        address: &address,
        tls: Some((&secure, &certificate)),
        origin: origin.address,
        drain: "200ms",
    };
    configuration.write(&scratch, 0, "");
    let supervisor = supervisor(&scratch);
    let mut weir = scratch.run();
    told(&supervisor);
    let secure: SocketAddr = secure.parse().unwrap();
    run(async {
        let mut sender = h2(certificate.connect(secure, &[b"h2"]).await.unwrap()).await;
        let under_way = sender.send_request(get("/"));
        let stop = async {
            while origin.requests().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            weir.signal(Signal::SIGTERM);
        };
        let (response, ()) = tokio::join!(under_way, stop);
        assert!(response.is_err());
    });
    assert_eq!(weir.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    for second in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let scratch = Scratch::new();
        let origin = Origin::start(|_, _| Then::KeepOpen);
        let address = free();
        let configuration = Configuration {
            address: &address,
            tls: None,
            origin: origin.address,
            drain: "1h",
        };
        configuration.write(&scratch, 0, "");
        let supervisor = supervisor(&scratch);
        let mut weir = scratch.run();
        assert_eq!(told(&supervisor), "READY=1\n");
        let mut client = Client::connect(address.parse().unwrap());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        until("it is under way", || !origin.requests().is_empty());
        weir.signal(Signal::SIGTERM);
        assert_eq!(told(&supervisor), "STOPPING=1\n");
        weir.signal(second);
        assert_eq!(weir.0.wait().unwrap().code(), Some(0), "{second}");
        assert!(client.try_response().is_err());
    }
}
