//! The binary itself, without a packet filter, on loopback: what it tells operators and supervisors.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::origin::Origin;
use crate::weir::PATIENCE;

/// A directory of its own, removed at the end with what is in it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-process-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A configuration that listens on `address`, with `more` at its end; nobody answers for its origin.
    fn configure(&self, address: &str, more: &str) {
        let directory = self.0.display();
        let text = format!(
            r#"[process]
workers = 1
state_dir = "{directory}/state"
run_dir = "{directory}/run"
[[listen]]
address = "{address}"
tls = {tls}
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:1"]
[[route]]
upstream = "app"
{more}"#,
            tls = more.contains("[[certificate]]"),
        );
        fs::write(self.path("weir.toml"), text).unwrap();
    }

    fn weir(&self, command: &str) -> Command {
        let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
        weir.args([command, "-c", "weir.toml"])
            .current_dir(&self.0)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        weir
    }

    /// Exit code and standard error of a command that ends by itself.
    pub fn outcome(&self, command: &str) -> (i32, String) {
        let output = self.weir(command).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stderr)
    }

    pub fn run(&self) -> Running {
        self.start(self.weir("run"))
    }

    /// The same with at most `most` files open, sockets included.
    pub fn run_with_files(&self, most: u32) -> Running {
        let mut shell = Command::new("/bin/sh");
        let limited = format!("ulimit -n {most} && exec \"$0\" run -c weir.toml");
        shell
            .args(["-c", &limited, env!("CARGO_BIN_EXE_weir")])
            .current_dir(&self.0)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        self.start(shell)
    }

    fn start(&self, mut command: Command) -> Running {
        command
            .env("NOTIFY_SOCKET", self.path("notify"))
            .stdout(File::create(self.path("stdout")).unwrap())
            .stderr(File::create(self.path("stderr")).unwrap());
        Running(command.spawn().unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Killed at the end, if it is still there.
pub struct Running(pub Child);

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    /// A file of its in `/proc`.
    pub fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The supervisor's end of `NOTIFY_SOCKET`.
pub fn supervisor(scratch: &Scratch) -> UnixDatagram {
    let socket = UnixDatagram::bind(scratch.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub fn told(supervisor: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = supervisor.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// An address that nobody listens on.
pub fn free() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

#[test]
fn the_supervisor_hears_of_start_reload_and_stop() {
    let scratch = Scratch::new();
    scratch.configure(&free(), "");
    let supervisor = supervisor(&scratch);
    let mut weir = scratch.run();
    assert_eq!(told(&supervisor), "READY=1\n");
    weir.signal(Signal::SIGHUP);
    let reloading = told(&supervisor);
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(told(&supervisor), "READY=1\n");
    weir.signal(Signal::SIGTERM);
    assert_eq!(told(&supervisor), "STOPPING=1\n");
    assert_eq!(weir.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_with_a_name_is_found_before_the_first_request() {
    let scratch = Scratch::new();
    let address = free();
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    scratch.configure(&address, "");
    let text = scratch.text("weir.toml");
    let named = format!("http://localhost:{}", origin.address.port());
    let text = text.replace("http://127.0.0.1:1", &named);
    fs::write(scratch.path("weir.toml"), text).unwrap();
    let supervisor = supervisor(&scratch);
    let _weir = scratch.run();
    assert_eq!(told(&supervisor), "READY=1\n");
    let mut client = Client::connect(address.parse().unwrap());
    assert_eq!(client.get("/").text(), "ok");
}

/// The kernel spreads connections over the workers, and whichever gets the first keeps the only one that there may be.
#[test]
fn a_worker_gets_the_connection_that_another_one_does_not_need() {
    let scratch = Scratch::new();
    let address = free();
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    scratch.configure(&address, "");
    let text = scratch.text("weir.toml");
    let servers = format!(
        "[\"http://{}\"]\nlimits = {{ connections = 1 }}\ntimeouts = {{ pending = \"10s\", idle = \"1h\" }}",
        origin.address
    );
    let text = text
        .replace("workers = 1", "workers = 2")
        .replace("[\"http://127.0.0.1:1\"]", &servers);
    fs::write(scratch.path("weir.toml"), text).unwrap();
    let supervisor = supervisor(&scratch);
    let _weir = scratch.run();
    assert_eq!(told(&supervisor), "READY=1\n");
    for _ in 0..40 {
        let mut client = Client::connect(address.parse().unwrap());
        assert_eq!(client.get("/").text(), "ok");
    }
    assert!(origin.connections() > 1, "both workers served");
}

#[test]
fn an_access_log_on_stdout_is_written_while_weir_runs() {
    let scratch = Scratch::new();
    let address = free();
    scratch.configure(&address, "");
    let supervisor = supervisor(&scratch);
    let _weir = scratch.run();
    told(&supervisor);
    let log = scratch.text("stderr");
    assert!(
        log.contains(&format!("listening address={address} tls=false")),
        "{log}"
    );
    let mut client = TcpStream::connect(&address).unwrap();
    client
        .write_all(b"GET /here HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !scratch.text("stdout").contains("GET /here") {
        assert!(
            Instant::now() < deadline,
            "no line; {}",
            scratch.text("stderr")
        );
        std::thread::yield_now();
    }
}

#[test]
fn an_address_in_use_is_one_sentence_and_a_hint() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    scratch.configure(&address, "");
    let (code, stderr) = scratch.outcome("run");
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(stderr.matches(&address).count(), 1, "{stderr}");
    assert!(
        stderr.contains("\nhint: choose another `address`"),
        "{stderr}"
    );
}

#[test]
fn a_certificate_that_cannot_be_served_is_named_with_a_hint() {
    let scratch = Scratch::new();
    let pair = || rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    fs::write(scratch.path("chain.pem"), pair().cert.pem()).unwrap();
    fs::write(scratch.path("key.pem"), pair().signing_key.serialize_pem()).unwrap();
    for (chain, key, part, checked) in [
        ("none.pem", "key.pem", "none.pem: cannot be read", 0),
        (
            "chain.pem",
            "key.pem",
            "key.pem: is not the key of the certificate in",
            2,
        ),
        ("key.pem", "key.pem", "key.pem: holds no certificate", 2),
    ] {
        let (chain, key) = (scratch.path(chain), scratch.path(key));
        let (chain, key) = (chain.display(), key.display());
        let files = format!("[[certificate]]\nchain = \"{chain}\"\nkey = \"{key}\"\n");
        scratch.configure(&free(), &files);
        let (code, stderr) = scratch.outcome("run");
        assert_eq!(code, 1, "{stderr}");
        assert!(
            stderr.contains(part) && stderr.contains("\nhint: "),
            "{stderr}"
        );
        let (code, stderr) = scratch.outcome("check");
        assert_eq!(code, checked, "{stderr}");
        let begin = if checked == 0 { "note: " } else { "error: " };
        assert!(
            stderr.starts_with(begin) && stderr.contains(part),
            "{stderr}"
        );
    }
}

#[test]
fn an_authority_that_cannot_be_read_is_named_with_a_hint() {
    let scratch = Scratch::new();
    let absent = scratch.path("absent.pem").display().to_string();
    let upstream = format!(
        "[[upstream]]\nname = \"secure\"\nservers = [\"https://127.0.0.1:1\"]\ntls = {{ ca = \"{absent}\" }}\n"
    );
    scratch.configure(&free(), &upstream);
    for (command, expected) in [("run", 1), ("check", 0)] {
        let (code, stderr) = scratch.outcome(command);
        assert_eq!(code, expected, "{stderr}");
        let part = format!("{absent}: cannot be read");
        assert!(stderr.contains(&part), "{stderr}");
    }
}

#[test]
fn a_reload_opens_and_closes_listeners_and_changes_nothing_if_one_cannot_be_opened() {
    let scratch = Scratch::new();
    let (first, second) = (free(), free());
    let supervisor = supervisor(&scratch);
    scratch.configure(&first, "");
    let _weir = scratch.run();
    told(&supervisor);
    let answers = |address: &str| TcpStream::connect(address).is_ok();
    assert!(answers(&first) && !answers(&second));

    scratch.configure(&first, &format!("[[listen]]\naddress = \"{second}\"\n"));
    assert_eq!(scratch.outcome("reload").0, 0);
    crate::weir::until("both are open", || answers(&first) && answers(&second));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    scratch.configure(&taken.local_addr().unwrap().to_string(), "");
    let (code, stderr) = scratch.outcome("reload");
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("another process listens there"), "{stderr}");
    assert!(answers(&first) && answers(&second));

    scratch.configure(&second, "");
    assert_eq!(scratch.outcome("reload").0, 0);
    crate::weir::until("the first is closed", || {
        !answers(&first) && answers(&second)
    });
}

#[test]
fn a_reload_says_what_is_wrong_with_the_file_whether_weir_runs_or_not() {
    let scratch = Scratch::new();
    let address = free();
    let refused = |exit: i32| {
        let (code, stderr) = scratch.outcome("reload");
        assert_eq!(code, exit, "{stderr}");
        stderr
    };
    let wrong = "[[route]]\nhost = \"a.test\"\nupstream = \"nobody\"\n";
    scratch.configure(&address, wrong);
    let stopped = refused(2);
    scratch.configure(&address, "");
    let none = refused(3);
    assert!(none.contains("no weir is running"), "{none}");

    let supervisor = supervisor(&scratch);
    let _weir = scratch.run();
    told(&supervisor);
    scratch.configure(&address, wrong);
    let running = refused(2);
    let line = scratch.text("weir.toml").lines().count();
    for stderr in [stopped, running] {
        for part in [&*line.to_string(), "route[1].upstream", "nobody"] {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
    }
    // Something that cannot be read at a glance, such as strings of several lines, makes no difference.
    scratch.configure(
        &address,
        "respond = { status = 200, body = \"\"\"\n[process]\n\"\"\" }\n",
    );
    let text = scratch
        .text("weir.toml")
        .replace("[[route]]\nupstream = \"app\"\n", "[[route]]\n");
    fs::write(scratch.path("weir.toml"), text).unwrap();
    refused(0);
}

#[test]
fn a_certificate_that_is_replaced_is_taken_up_and_a_broken_one_shows() {
    let scratch = Scratch::new();
    let put = |name: &str| {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(scratch.path("chain.pem"), pair.cert.pem()).unwrap();
        fs::write(scratch.path("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    };
    put("one.test");
    let (chain, key) = (scratch.path("chain.pem"), scratch.path("key.pem"));
    let (chain, key) = (chain.display(), key.display());
    let files = format!("[[certificate]]\nchain = \"{chain}\"\nkey = \"{key}\"\n");
    scratch.configure(&free(), &files);
    let supervisor = supervisor(&scratch);
    let _weir = scratch.run();
    told(&supervisor);
    let certs = || {
        let output = scratch.weir("certs").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(certs().contains("one.test"), "{}", certs());
    put("two.test");
    crate::weir::until("the new one is in use", || certs().contains("two.test"));
    fs::write(scratch.path("key.pem"), "").unwrap();
    crate::weir::until("the broken one is shown", || {
        let shown = certs();
        shown.contains("two.test") && shown.contains("key.pem: holds no private key")
    });
}
