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

/// Lines of sixteen bytes that tell where they are.
fn numbered(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    for line in 0..bytes / 16 {
        writeln!(text, "{line:015}").unwrap();
    }
    text
}

/// The content that a client of TLS gets.
async fn download(certificate: &Certificate, address: SocketAddr, alpn: &str) -> String {
    let mut stream = certificate
        .connect(address, &[alpn.as_bytes()])
        .await
        .unwrap();
    if alpn == "h2" {
        let response = h2(stream).await.send_request(get("/")).await;
        return text(response.unwrap()).await;
    }
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let response = exchange(&mut stream, request).await.unwrap();
    response.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn downloads_under_way_are_whole_whatever_reloads_change() {
    const BYTES: usize = 20 << 20;
    let content = std::sync::Arc::new(numbered(BYTES));
    let expected = std::sync::Arc::clone(&content);
    let scratch = Scratch::new();
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(3);
    let wait = std::sync::Mutex::new(wait);
    let begun = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&begun);
    let origin = Origin::start(move |_, stream| {
        let (first, second) = content.as_bytes().split_at(BYTES / 2);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(first).unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(second).unwrap();
        Then::KeepOpen
    });
    let other = Origin::answering(OK);
    let (address, secure) = (free(), free());
    let certificate = Certificate::new();
    let mut configuration = Configuration {
        address: &address,
        tls: Some((&secure, &certificate)),
        origin: origin.address,
        drain: "20s",
    };
    configuration.write(&scratch, 0, "");
    let supervisor = supervisor(&scratch);
    let _weir = scratch.run();
    told(&supervisor);
    let plain: SocketAddr = address.parse().unwrap();
    let secure: SocketAddr = secure.parse().unwrap();
    std::thread::scope(|scope| {
        let whole = |content: &str| assert!(content == *expected, "{} bytes", content.len());
        scope.spawn(move || whole(Client::connect(plain).get("/").text()));
        for alpn in ["http/1.1", "h2"] {
            let certificate = &certificate;
            scope.spawn(move || whole(&run(download(certificate, secure, alpn))));
        }
        until("half of each is on its way", || {
            begun.load(Ordering::SeqCst) == 3
        });
        // Other routes; another origin server, so that theirs is none; another policy for those who connect.
        configuration.write(&scratch, 100, "");
        assert_eq!(scratch.outcome("reload").0, 0);
        configuration.origin = other.address;
        configuration.write(&scratch, 100, "");
        assert_eq!(scratch.outcome("reload").0, 0);
        let policy = scratch
            .text("weir.toml")
            .replace("[limits]", "[limits]\nheader_bytes = \"16KiB\"");
        fs::write(scratch.path("weir.toml"), policy).unwrap();
        assert_eq!(scratch.outcome("reload").0, 0);
        assert_eq!(Client::connect(plain).get("/").text(), "ok");
        for _ in 0..3 {
            go.send(()).unwrap();
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

/// What is kept of each reload shows in every look at the end: 500 routes take some 100 KiB. What is in use for a moment
/// only, because requests still hold the last site, does not.
#[test]
fn memory_after_two_hundred_reloads_is_what_it_was() {
    let scratch = Scratch::new();
    let (address, origin) = (free(), Origin::answering(OK));
    let configuration = Configuration {
        address: &address,
        tls: None,
        origin: origin.address,
        drain: "10s",
    };
    configuration.write(&scratch, 500, "");
    let supervisor = supervisor(&scratch);
    let weir = scratch.run();
    told(&supervisor);
    let address: SocketAddr = address.parse().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        // One connection for all requests, and new ones.
        for requests in [usize::MAX, 32] {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let mut client = Client::connect(address);
                    for _ in 0..requests {
                        assert_eq!(client.get("/").status(), 200);
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                }
            });
        }
        let reload = |times: usize| -> Vec<u64> {
            let reloads = (0..times).map(|_| {
                weir.signal(Signal::SIGHUP);
                assert!(told(&supervisor).starts_with("RELOADING=1\n"));
                assert_eq!(told(&supervisor), "READY=1\n");
                resident(&weir)
            });
            reloads.collect()
        };
        let before = reload(50);
        let after = reload(200);
        let most = *before[40..].iter().max().unwrap();
        let least = *after[190..].iter().min().unwrap();
        assert!(least <= most + most / 20, "{before:?} KiB, then {after:?}");
    });
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
