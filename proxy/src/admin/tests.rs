//! The server over a real socket with a [`Control`] that remembers, asked in raw HTTP and by the client.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use weir_common::Totals;

use super::client::{Client, ClientError};
use super::socket::{BindErrorKind, Listener};
use super::{Control, Failure, FailureKind, api, view};

#[derive(Default)]
struct Fake {
    blocked: RefCell<Vec<api::Entry>>,
}

impl Control for Fake {
    fn status(&self) -> api::Status {
        api::Status {
            version: "1.2.3".into(),
            abi: 1,
            pid: 7,
            uptime_seconds: 1.5,
            state: api::State::Serving,
            config: "weir.toml".into(),
            generation: 1,
            workers: 2,
            shield: None,
            attack: api::Attack::default(),
            listeners: vec![],
            connections: api::Connections::default(),
            tls: api::Tls::default(),
            responses: api::Responses::default(),
            upstreams: vec![],
            cache: api::Cache::default(),
            detect: api::Detect::default(),
        }
    }

    fn drops(&self) -> Result<api::Drops, Failure> {
        Ok(view::drops(true, &[("eth0".into(), Totals::ZERO)]))
    }

    fn sources(&self, query: &api::SourcesQuery) -> Result<api::Sources, Failure> {
        Ok(api::Sources {
            total: query.top,
            sources: vec![],
        })
    }

    fn blocks(&self) -> Result<api::Entries, Failure> {
        let entries = self.blocked.borrow().clone();
        Ok(api::Entries { entries })
    }

    fn allows(&self) -> Result<api::Entries, Failure> {
        Err(Failure::new(FailureKind::NoShield, "no shield", "set one"))
    }

    fn certs(&self) -> api::Certificates {
        api::Certificates {
            certificates: vec![],
            problems: vec![],
        }
    }

    fn upstreams(&self) -> api::Upstreams {
        api::Upstreams { upstreams: vec![] }
    }

    fn block(&self, request: &api::BlockRequest) -> Result<api::Changed, Failure> {
        let mut changes = vec![];
        for network in request.networks.iter().copied() {
            self.blocked.borrow_mut().push(api::Entry {
                list: api::List::Block,
                network,
                expires_in_seconds: None,
                added_seconds_ago: 0.0,
                hits: 0,
                origin: "cli".into(),
                reason: request.reason.clone(),
            });
            changes.push(change(network, api::ChangeKind::Added));
        }
        Ok(api::Changed { changes })
    }

    fn unblock(&self, request: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        let mut blocked = self.blocked.borrow_mut();
        let changes = request.networks.iter().copied().map(|network| {
            let before = blocked.len();
            blocked.retain(|entry| entry.network != network);
            let kind = if blocked.len() < before {
                api::ChangeKind::Removed
            } else {
                api::ChangeKind::Absent
            };
            change(network, kind)
        });
        Ok(api::Changed {
            changes: changes.collect(),
        })
    }

    fn allow(&self, _: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        Err(Failure::new(FailureKind::NotPermitted, "EPERM", "be root"))
    }

    fn disallow(&self, _: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        Err(Failure::new(FailureKind::Failed, "broken", ""))
    }

    fn reload(&self) -> Result<api::Reloaded, api::ReloadFailed> {
        Err(api::ReloadFailed {
            error: "weir.toml has 1 problem(s)".into(),
            hint: "correct it".into(),
            problems: vec![api::Problem {
                line: 3,
                key: "listen[0].address".into(),
                value: "x".into(),
                message: "no address".into(),
                hint: String::new(),
            }],
        })
    }

    fn ready(&self) -> bool {
        false
    }

    fn recent_samples(&self) -> Vec<api::Sample> {
        vec![api::Sample {
            seconds_ago: 0.25,
            interface: "eth0".into(),
            reason: "blocked".into(),
            verdict: api::Verdict::Drop,
            frame_bytes: 60,
            skipped: 0,
            head: "00".into(),
        }]
    }
}

fn change(network: ipnet::IpNet, change: api::ChangeKind) -> api::Change {
    api::Change {
        network,
        change,
        expires_in_seconds: None,
    }
}

/// A `run_dir` that goes when the test ends.
struct RunDir(PathBuf);

impl RunDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-admin-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn socket(&self) -> PathBuf {
        super::socket::path(&self.0)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on its own thread. Dropping it stops and joins it.
struct Running {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(listener: Listener) -> Self {
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let control = Rc::new(Fake::default());
            tokio::task::LocalSet::new()
                .block_on(&runtime, super::server::serve(listener, control, stopped))
                .expect("serves");
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn unix() -> (RunDir, Running) {
    let dir = RunDir::new();
    let running = Running::start(Listener::unix(&dir.0).expect("binds"));
    (dir, running)
}

fn talk(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    answer
}

fn over_unix(socket: &Path, request: &str) -> String {
    let stream = UnixStream::connect(socket).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    talk(stream, request)
}

fn request(line: &str, content: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    )
}

fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts
        .iter()
        .map(|text| text.parse().expect("a network"))
        .collect()
}

#[test]
fn every_route_answers_with_its_status_and_json() {
    let (dir, _running) = unix();
    for (line, content, status, part) in [
        ("GET /v1/status", "", "200", r#""version":"1.2.3""#),
        ("GET /v1/drops", "", "200", r#""seconds_ago":0.25"#),
        ("GET /v1/sources", "", "200", r#""total":20"#),
        ("GET /v1/sources?top=7&sort=syns", "", "200", r#""total":7"#),
        ("GET /v1/sources?network=192.0.2.0%2F24", "", "200", "total"),
        ("GET /v1/blocks", "", "200", r#""entries":[]"#),
        ("GET /v1/allows", "", "503", r#""hint":"set one""#),
        ("GET /v1/upstreams", "", "200", r#""upstreams":[]"#),
        ("GET /v1/certs", "", "200", r#""certificates":[]"#),
        (
            "POST /v1/allows",
            r#"{"networks":["192.0.2.7"]}"#,
            "403",
            "EPERM",
        ),
        ("DELETE /v1/allows?network=192.0.2.7", "", "500", "broken"),
        ("POST /v1/reload", "", "422", "listen[0].address"),
        ("GET /healthz", "", "200", "true"),
        ("GET /readyz", "", "503", "not ready"),
    ] {
        let answer = over_unix(&dir.socket(), &request(line, content));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {answer}"
        );
        assert!(
            answer.contains("content-type: application/json"),
            "{line}: {answer}"
        );
        assert!(answer.contains(part), "{line}: {answer}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_an_error_and_a_hint() {
    let (dir, _running) = unix();
    let long = format!(
        r#"{{"networks":["192.0.2.7"],"reason":"{}"}}"#,
        "x".repeat(200)
    );
    let huge = format!(
        r#"{{"networks":["192.0.2.7"],"reason":"{}"}}"#,
        "x".repeat(70_000)
    );
    for (line, content, status, part) in [
        ("GET /v1/nothing", "", "404", "/v1/nothing"),
        ("GET /v1/status/", "", "404", "there is no"),
        (
            "PUT /v1/blocks",
            "",
            "405",
            "allow: GET, POST, DELETE, HEAD",
        ),
        ("GET /v1/reload", "", "405", "allow: POST\r\n"),
        ("GET /v1/sources?top=0", "", "400", "1 to 10000"),
        ("GET /v1/sources?top=10001", "", "400", "1 to 10000"),
        ("GET /v1/sources?sort=age", "", "400", "`age`"),
        ("GET /v1/sources?order=syns", "", "400", "`order`"),
        ("GET /v1/sources?network=%zz", "", "400", "percent-encoded"),
        ("GET /v1/sources?network=%2", "", "400", "percent-encoded"),
        ("DELETE /v1/blocks", "", "400", "no network"),
        ("DELETE /v1/blocks?network=::/0", "", "400", "every address"),
        ("POST /v1/blocks", "{}", "400", "networks"),
        ("POST /v1/blocks", r#"{"networks":[]}"#, "400", "no network"),
        ("POST /v1/blocks", r#"{"networks":["x"]}"#, "400", "`x`"),
        (
            "POST /v1/blocks",
            r#"{"networks":["0.0.0.0/0"]}"#,
            "400",
            "every address",
        ),
        (
            "POST /v1/blocks",
            r#"{"networks":["192.0.2.7"],"for":1}"#,
            "400",
            "`for`",
        ),
        (
            "POST /v1/blocks",
            r#"{"networks":["192.0.2.7"],"seconds":0}"#,
            "400",
            "1s to 365d",
        ),
        ("POST /v1/blocks", &long, "400", "200 bytes"),
        ("POST /v1/blocks", &huge, "413", "64 KiB"),
    ] {
        let answer = over_unix(&dir.socket(), &request(line, content));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {answer}"
        );
        assert!(answer.contains(part), "{line}: {answer}");
        let json = answer.split("\r\n\r\n").nth(1).expect("content");
        let error: api::Error = serde_json::from_str(json).expect(json);
        assert!(
            !error.error.is_empty() && !error.hint.is_empty(),
            "{line}: {answer}"
        );
    }
}

#[test]
fn http_1_1_without_host_is_refused() {
    let (dir, _running) = unix();
    let answer = over_unix(
        &dir.socket(),
        "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_peer_without_permission_gets_403_for_anything() {
    use super::routes::{Access, resolve};
    for path in ["/v1/status", "/healthz", "/nothing"] {
        let refusal = resolve(Access::Refused, &http::Method::GET, path).expect_err(path);
        assert_eq!(refusal.status, http::StatusCode::FORBIDDEN, "{path}");
    }
    let own = nix::unistd::geteuid().as_raw();
    assert!(super::socket::permits(0, 0) && super::socket::permits(own, 4_000_000_000));
    assert!(!super::socket::permits(4_000_000_000, 4_000_000_000));
}

#[test]
fn the_tcp_listener_reads_and_refuses_to_write() {
    let listener = Listener::tcp("127.0.0.1:0".parse().expect("an address")).expect("binds");
    let Listener::Tcp(bound) = &listener else {
        panic!("not TCP: {listener:?}");
    };
    let address = bound.local_addr().expect("bound");
    let _running = Running::start(listener);
    for (line, status, part) in [
        ("GET /v1/status", "200", "1.2.3"),
        ("HEAD /v1/status", "200", "content-length: "),
        ("POST /v1/blocks", "405", "allow: GET, HEAD\r\n"),
        ("DELETE /v1/blocks?network=192.0.2.7", "405", "read-only"),
        ("POST /v1/reload", "405", "read-only"),
    ] {
        let stream = std::net::TcpStream::connect(address).expect("connects");
        let answer = talk(stream, &request(line, ""));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {answer}"
        );
        assert!(answer.contains(part), "{line}: {answer}");
    }
}

#[test]
fn the_client_edits_and_reads_back_more_networks_than_one_request_holds() {
    let (dir, _running) = unix();
    let client = Client::new(&dir.0);
    let many: Vec<ipnet::IpNet> = (0..1200_u16)
        .map(|i| {
            ipnet::IpNet::from(std::net::IpAddr::from([
                198,
                18,
                i.to_be_bytes()[0],
                i.to_be_bytes()[1],
            ]))
        })
        .collect();
    let request = api::BlockRequest {
        networks: many.clone(),
        seconds: Some(60),
        reason: "scan".into(),
    };
    let changed = client.block(&request).expect("blocks");
    assert!(
        changed
            .changes
            .iter()
            .map(|c| c.network)
            .eq(many.iter().copied())
    );
    let removed = client.unblock(&many).expect("unblocks");
    assert!(
        removed
            .changes
            .iter()
            .all(|c| c.change == api::ChangeKind::Removed)
    );
    let again = client.unblock(&nets(&["198.18.0.1/32"])).expect("asks");
    assert_eq!(again.changes[0].change, api::ChangeKind::Absent);
}

#[test]
fn the_client_tells_refusals_apart() {
    let (dir, running) = unix();
    let client = Client::new(&dir.0);
    assert_eq!(client.status().expect("status").pid, 7);
    match client.reload() {
        Err(ClientError::Reload(failed)) => assert_eq!(failed.problems[0].line, 3),
        other => panic!("{other:?}"),
    }
    match client.entries(api::List::Allow) {
        Err(ClientError::Refused { status, error }) => {
            assert_eq!((status.as_u16(), error.error.as_str()), (503, "no shield"));
        }
        other => panic!("{other:?}"),
    }
    drop(running);
    assert!(matches!(
        client.status(),
        Err(ClientError::NotRunning { .. })
    ));
}

#[test]
fn the_socket_has_its_mode_and_goes_with_the_server() {
    let (dir, running) = unix();
    let mode = std::fs::metadata(dir.socket())
        .expect("is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(running);
    assert!(!dir.socket().exists());
}

#[test]
fn a_stale_socket_is_replaced() {
    let dir = RunDir::new();
    std::fs::create_dir_all(&dir.0).expect("a directory");
    drop(std::os::unix::net::UnixListener::bind(dir.socket()).expect("binds"));
    let _running = Running::start(Listener::unix(&dir.0).expect("replaces it"));
    Client::new(&dir.0).status().expect("answers");
}

#[test]
fn a_directory_in_use_is_refused() {
    let (dir, _running) = unix();
    let error = Listener::unix(&dir.0).expect_err("locked");
    assert_eq!(error.kind, BindErrorKind::Running);
    Client::new(&dir.0)
        .status()
        .expect("the first one still answers");
}

#[test]
fn a_socket_that_someone_else_answers_on_is_left_alone() {
    let dir = RunDir::new();
    std::fs::create_dir_all(&dir.0).expect("a directory");
    let _other = std::os::unix::net::UnixListener::bind(dir.socket()).expect("binds");
    let error = Listener::unix(&dir.0).expect_err("taken");
    assert_eq!(error.kind, BindErrorKind::Running);
    assert!(dir.socket().exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = RunDir::new();
    std::fs::create_dir_all(&dir.0).expect("a directory");
    std::fs::write(dir.socket(), "precious").expect("writes");
    let error = Listener::unix(&dir.0).expect_err("no socket");
    assert!(error.message.contains("no socket"), "{error}");
    assert!(dir.socket().exists());
}

#[test]
fn answers_survive_the_way_through_json() {
    let fake = Fake::default();
    let status = serde_json::to_string(&fake.status()).expect("to JSON");
    assert_eq!(
        serde_json::from_str::<api::Status>(&status).expect("back"),
        fake.status()
    );
    let request = r#"{"networks":["2001:db8::7/64","192.0.2.7"]}"#;
    let request: api::BlockRequest = serde_json::from_str(request).expect("from JSON");
    assert_eq!(request.networks, nets(&["2001:db8::/64", "192.0.2.7/32"]));
    let back = serde_json::to_string(&request).expect("to JSON");
    assert_eq!(
        back,
        r#"{"networks":["2001:db8::/64","192.0.2.7"],"reason":""}"#
    );
}
