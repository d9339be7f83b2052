//! How long a reload takes with 10,000 routes and 1,000 certificates, and what 200 of them leave behind. Runs the binary,
//! without a packet filter, and asks it as an operator would: the figures have the command's own start in them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench: it reads the clock, and what it finds goes to stdout"
)]

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUTES: usize = 10_000;
const CERTIFICATES: usize = 1_000;
const RELOADS: usize = 200;

struct Bench {
    dir: PathBuf,
    weir: Child,
}

struct Figures {
    /// Mean.
    processor: Duration,
    /// Of the whole command, which reads the configuration once more, to find the running weir.
    median: Duration,
    longest: Duration,
}

fn main() {
    let dir = std::env::temp_dir().join(format!("weir-bench-reload-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    for number in 0..CERTIFICATES {
        certificate(&dir, number);
    }
    configure(&dir, ROUTES);
    let weir = weir(&dir, "run").spawn().unwrap();
    let bench = Bench { dir, weir };
    while !reload(&bench.dir) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let same = bench.time(20, |_| {});
    let routes = bench.time(20, |round| configure(&bench.dir, ROUTES - round % 2));
    let renewed = bench.time(20, |round| {
        for number in 0..10 {
            certificate(&bench.dir, 10 * round + number);
        }
    });
    println!("reload with {ROUTES} routes and {CERTIFICATES} certificates, 20 times each:");
    for (what, figures) in [
        ("nothing changed", same),
        ("a route changed", routes),
        ("ten certificates changed", renewed),
    ] {
        println!(
            "  {what}: {} ms of the running weir's processor time; command {} ms (median), {} ms (longest)",
            figures.processor.as_millis(),
            figures.median.as_millis(),
            figures.longest.as_millis()
        );
    }
    let before = bench.resident();
    for _ in 0..RELOADS {
        assert!(reload(&bench.dir));
    }
    let after = bench.resident();
    println!("resident before and after {RELOADS} more: {before} KiB, {after} KiB");
}

impl Bench {
    fn time(&self, times: usize, change: impl Fn(usize)) -> Figures {
        let before = self.processor_time();
        let mut all: Vec<_> = (0..times)
            .map(|round| {
                change(round);
                let start = Instant::now();
                assert!(reload(&self.dir));
                start.elapsed()
            })
            .collect();
        all.sort_unstable();
        Figures {
            processor: self.processor_time().saturating_sub(before) / u32::try_from(times).unwrap(),
            median: all[times / 2],
            longest: all[times - 1],
        }
    }

    /// Of all threads since the start: fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms.
    fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.weir.id())).unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let fields = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(10 * ticks)
    }

    /// In KiB.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.weir.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.weir.kill();
        let _ = self.weir.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn weir(dir: &Path, command: &str) -> Command {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.args([command, "-c", "weir.toml"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    weir
}

fn reload(dir: &Path) -> bool {
    weir(dir, "reload").status().unwrap().success()
}

fn certificate(dir: &Path, number: usize) {
    let pair = rcgen::generate_simple_self_signed([format!("h{number}.test")]).unwrap();
    fs::write(dir.join(format!("{number}.pem")), pair.cert.pem()).unwrap();
    fs::write(
        dir.join(format!("{number}.key")),
        pair.signing_key.serialize_pem(),
    )
    .unwrap();
}

fn configure(dir: &Path, routes: usize) {
    let port = |name: &str| {
        let file = dir.join(name);
        if !file.exists() {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            fs::write(&file, socket.local_addr().unwrap().to_string()).unwrap();
        }
        fs::read_to_string(file).unwrap()
    };
    let (directory, address) = (dir.display(), port("address"));
    let mut text = format!(
        "[process]\nworkers = 2\nstate_dir = \"{directory}/state\"\nrun_dir = \"{directory}/run\"\n\
         [log]\naccess = \"off\"\n[[listen]]\naddress = \"{address}\"\ntls = true\n\
         [[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:1\"]\n"
    );
    for number in 0..CERTIFICATES {
        write!(
            text,
            "[[certificate]]\nchain = \"{directory}/{number}.pem\"\nkey = \"{directory}/{number}.key\"\n"
        )
        .unwrap();
    }
    for number in 0..routes {
        write!(
            text,
            "[[route]]\nhost = \"h{}.test\"\npath = \"/{number}/\"\nupstream = \"app\"\n",
            number % CERTIFICATES
        )
        .unwrap();
    }
    fs::write(dir.join("weir.toml"), text).unwrap();
}
