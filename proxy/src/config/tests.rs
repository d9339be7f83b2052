//! Whole files: each kind of problem at its line and key, and the examples of `config/`.

#![allow(clippy::too_many_lines, reason = "tables of cases")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Invalid, ProblemKind, Settings, load, parse};
use crate::net::Transport;
use crate::route::{HostPattern, PathPattern};

/// Three valid tables on lines 1 to 7; tests append theirs from line 8 on.
const BASE: &str = r#"[[listen]]
address = "[::]:80"
[[upstream]]
name = "app"
servers = ["http://10.0.0.1:8080"]
[[route]]
upstream = "app"
"#;

fn valid(text: &str) -> Settings {
    parse(text, Path::new("weir.toml")).unwrap_or_else(|invalid| panic!("{}", invalid.report()))
}

fn invalid(text: &str) -> Invalid {
    match parse(text, Path::new("weir.toml")) {
        Ok(_) => panic!("accepted: {text}"),
        Err(invalid) => invalid,
    }
}

/// What [`BASE`] followed by `text` is told, without the file's name.
fn report(text: &str) -> String {
    invalid(&format!("{BASE}{text}"))
        .report()
        .replace("weir.toml:", "")
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the workspace has config/")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

fn example(name: &str) -> String {
    let path = examples()
        .into_iter()
        .find(|path| path.ends_with(name))
        .expect("the example");
    std::fs::read_to_string(path).expect("readable")
}

#[test]
fn every_shipped_example_is_valid() {
    let files = examples();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        if let Err(invalid) = load(&file) {
            panic!("{}", invalid.report());
        }
    }
}

/// Taking the line of a key out changes nothing if what it says is the default, and something if it is not.
#[test]
fn the_reference_says_default_exactly_where_it_shows_the_default() {
    let text = example("weir.toml");
    let whole = valid(&text);
    let mut compared = 0;
    for (index, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("# ") else {
            continue;
        };
        let key_is_alone =
            line.contains(" = ") && !line.starts_with('#') && !line.contains("= [   ");
        if !key_is_alone || !comment.starts_with("default") {
            continue;
        }
        let without: Vec<&str> = text
            .lines()
            .enumerate()
            .map(|(at, line)| if at == index { "" } else { line })
            .collect();
        let same = valid(&without.join("\n")) == whole;
        // "default: []": the default is another than what is shown.
        let shows_another = [
            "default: []",
            "default: none",
            "default: any",
            "default: all",
            "default: \"/\"",
        ]
        .iter()
        .chain(&[
            "default: false",
            "default: what [limits]",
            "default: shield.block_for",
        ])
        .any(|other| comment.starts_with(other));
        assert_eq!(same, !shows_another, "line {}: {line}", index + 1);
        compared += 1;
    }
    assert!(compared > 40, "only {compared} lines claim a default");
}

#[test]
fn the_minimal_file_gets_the_documented_defaults() {
    let settings = valid(&example("minimal.toml"));
    assert_eq!(settings.process.run_dir, Path::new("/run/weir"));
    assert_eq!(settings.process.state_dir, Path::new("/var/lib/weir"));
    assert!(settings.process.workers >= 1);
    assert_eq!(settings.shield.interfaces, [""; 0]);
    assert!(settings.shield.enforce);
    assert_eq!(settings.shield.pin_dir, Path::new("/sys/fs/bpf/weir"));
    assert_eq!(settings.shield.block_for, Duration::from_hours(1));
    assert_eq!(settings.shield.malformed, weir_common::Policy::Drop);
    assert_eq!(settings.shield.fragments, weir_common::Policy::Drop);
    assert_eq!(settings.shield.tables.sources, 1_000_000);
    assert_eq!(settings.shield.tables.blocks, 1_000_000);
    assert_eq!(settings.shield.tables.prefixes, 65_536);
    let listen = &settings.listen[0];
    assert_eq!(listen.transport, Transport::Cleartext);
    assert!(listen.http.http1 && listen.http.http2);
    assert_eq!(listen.limits.header_bytes, 32_768);
    assert_eq!(listen.limits.body_bytes, 104_857_600);
    assert_eq!(listen.limits.idle_timeout, Duration::from_mins(1));
    assert_eq!(settings.drain, Duration::from_secs(30));
    let upstream = &settings.upstreams[0];
    assert_eq!(upstream.servers[0].weight, 1);
    assert_eq!(upstream.eject.failures, 5);
    assert_eq!(upstream.limits.connections, 1000);
    assert_eq!(upstream.timeouts.connect, Duration::from_secs(1));
    assert_eq!(settings.routes[0].host, HostPattern::Any);
    assert_eq!(settings.routes[0].path, PathPattern::Prefix("/".into()));
    assert!(!settings.routes[0].cache);
    assert_eq!(settings.cache.memory, 256 << 20);
    assert_eq!(settings.cache.max_object, 64 << 20);
    assert_eq!(settings.admin.listen, None);
    assert_eq!(settings.log.access, crate::telemetry::AccessTarget::Stdout);
}

#[test]
fn values_arrive_where_they_belong() {
    let settings = valid(
        r#"
        [process]
        workers = 3
        [shield]
        interfaces = ["eth0", "eth1.100"]
        mode = "generic"
        enforce = false
        allow = ["10.0.0.0/8", "10.0.0.0/8"]
        block = ["203.0.113.7", "2001:db8::/32"]
        block_for = "2days"
        fragments = "count"
        sanity.malformed = "pass"
        tables = { sources = 0x800, blocks = 2048, prefixes = 128 }
        [limits]
        streams = 50
        header_fields = 60
        header_bytes = 16384
        drain = "0s"
        [[listen]]
        address = "127.0.0.1:8443"
        tls = true
        http = ["2"]
        limits = { streams = 7 }
        [[certificate]]
        chain = "/a.pem"
        key = "/a.key"
        [[upstream]]
        name = "first"
        servers = ["http://a:1"]
        [[upstream]]
        name = "second"
        servers = ["http://b:1", { url = "http://[::1]:2", weight = 9 }]
        protocol = "http/1.1"
        eject.for = "5s"
        [[route]]
        host = "*.Example.com"
        path = "=/x"
        upstream = "second"
        cache = true
        reveal_origin = true
        [cache]
        memory = "32MiB"
        [[detect]]
        name = "r1"
        count = "responses"
        where.status = [401]
        limit = 5
        window = "10s"
        [log]
        access = "/var/log/weir.log"
        "#,
    );
    assert_eq!(settings.process.workers, 3);
    let shield = &settings.shield;
    assert_eq!(shield.interfaces, ["eth0", "eth1.100"]);
    assert_eq!(shield.mode, crate::xdp::Mode::Generic);
    assert!(!shield.enforce);
    assert_eq!(
        shield.allow,
        ["10.0.0.0/8".parse().expect("prefix")],
        "repeated entries are one"
    );
    assert_eq!(shield.block.len(), 2);
    assert_eq!(shield.malformed, weir_common::Policy::Pass);
    assert_eq!(shield.fragments, weir_common::Policy::Count);
    assert_eq!(shield.tables.sources, 2048);
    assert_eq!(settings.drain, Duration::ZERO);
    let listen = &settings.listen[0];
    assert_eq!(listen.transport, Transport::Tls);
    assert!(!listen.http.http1 && listen.http.http2);
    assert_eq!(listen.limits.streams, 7, "the listener's own limit wins");
    assert_eq!(
        listen.limits.header_fields, 60,
        "the rest comes from [limits]"
    );
    assert_eq!(
        listen.limits.header_bytes, 16_384,
        "a plain number is bytes"
    );
    let server = &settings.upstreams[1].servers[1];
    assert_eq!(
        (server.host.as_str(), server.port, server.weight),
        ("::1", 2, 9)
    );
    assert_eq!(settings.upstreams[1].eject.duration, Duration::from_secs(5));
    let route = &settings.routes[0];
    assert_eq!(route.host, HostPattern::Below("example.com".into()));
    assert_eq!(route.path, PathPattern::Exact("/x".into()));
    assert_eq!(route.upstream, 1);
    assert!(route.cache && route.reveal_origin);
    assert_eq!(
        settings.cache.max_object,
        32 << 20,
        "the default is at most `memory`"
    );
    let rule = &settings.detect[0];
    assert_eq!(rule.filter.status, [401]);
    assert_eq!(
        rule.block_for,
        Duration::from_hours(48),
        "default: shield.block_for"
    );
    assert_eq!(
        rule.block_max,
        Duration::from_hours(48),
        "never shorter than block_for"
    );
    assert_eq!(
        settings.log.access,
        crate::telemetry::AccessTarget::File("/var/log/weir.log".into())
    );
}

#[test]
fn an_empty_file_misses_listener_and_route() {
    let invalid = invalid("");
    let told: Vec<(usize, &str)> = invalid
        .problems
        .iter()
        .map(|p| (p.line, p.message.as_str()))
        .collect();
    assert_eq!(
        told,
        [(0, "there is no [[listen]]"), (0, "there is no [[route]]")]
    );
    assert!(
        invalid
            .problems
            .iter()
            .all(|p| p.kind == ProblemKind::Missing)
    );
}

#[test]
fn an_unreadable_file_is_a_problem_of_the_file() {
    let invalid = load(Path::new("/nonexistent/weir.toml")).expect_err("no such file");
    assert_eq!(invalid.problems.len(), 1);
    assert_eq!(invalid.problems[0].kind, ProblemKind::Unreadable);
    assert!(
        invalid
            .report()
            .starts_with("/nonexistent/weir.toml: cannot be read: ")
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_at_the_line() {
    let file = std::env::temp_dir().join(format!("weir-config-{}.toml", std::process::id()));
    std::fs::write(&file, b"[log]\nlevel = \"\xff\"\n").expect("a writable temporary folder");
    let told = load(&file);
    std::fs::remove_file(&file).expect("it was just written");
    let problems = told.expect_err("not UTF-8").problems;
    assert_eq!(
        (problems[0].line, problems[0].message.as_str()),
        (2, "not UTF-8")
    );
}

#[test]
fn every_problem_of_a_file_is_found_in_one_pass_in_line_order() {
    let told = invalid(
        r#"[[route]]
upstream = "ap"
[log]
level = "loud"
[[upstream]]
name = "app"
servers = []
[[listen]]
address = "here"
timeout = "1s"
[shield]
block_for = "0s"
"#,
    );
    let lines: Vec<usize> = told.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4, 7, 9, 10, 12]);
}

#[test]
fn syntax_errors_come_with_the_problems_of_the_other_lines() {
    let told = invalid(
        "[log]\nlevel = debug\nformat = \"xml\"\n[cache]\nmemory =\n[[listen]]\nadress = \"x\"\n",
    );
    let told: Vec<(usize, ProblemKind)> = told.problems.iter().map(|p| (p.line, p.kind)).collect();
    assert_eq!(
        told,
        [
            (2, ProblemKind::Syntax),
            (3, ProblemKind::InvalidValue),
            (5, ProblemKind::Syntax),
            // Whether an address or a route is missing cannot be known: it may stand on a broken line.
            (7, ProblemKind::UnknownKey),
        ]
    );
}

#[test]
fn keys_and_types_are_checked() {
    for (text, expected) in [
        (
            "[sheild]\n",
            "8: sheild: unknown key (hint: did you mean `shield`?)",
        ),
        (
            "[log]\nlvel = \"info\"",
            "9: log.lvel = \"info\": unknown key (hint: did you mean `level`?)",
        ),
        (
            "[log]\n\"a b\" = 1",
            "9: log.\"a b\" = 1: unknown key (hint: keys here: format, access, level)",
        ),
        (
            "[shield]\nfeed = []",
            "9: shield.feed = []: unknown key (hint: did you mean `feeds`? This version of weir does not support it)",
        ),
        ("shield = 3", "7: "),
        (
            "[cache]\nmemory = true",
            "9: cache.memory = true: expected a size, found a boolean \
             (hint: write a number and a unit in quotes, such as \"512MiB\")",
        ),
        (
            "[limits]\ndrain = 30",
            "9: limits.drain = 30: expected a duration, found an integer \
             (hint: write a number and a unit in quotes, such as \"10s\")",
        ),
        (
            "[limits]\nstreams = \"10\"",
            "9: limits.streams = \"10\": expected a whole number, found a string (hint: write a number from 1 to 10000)",
        ),
        (
            "[shield]\nenforce = \"yes\"",
            "9: shield.enforce = \"yes\": expected true or false, found a string",
        ),
        (
            "[shield]\nallow = \"10.0.0.0/8\"",
            "9: shield.allow = \"10.0.0.0/8\": expected a list, found a string (hint: put it in [ ])",
        ),
        (
            "[shield]\nallow = [\n  \"10.0.0.0/8\",\n  7,\n]",
            "11: shield.allow[1] = 7: expected a string, found an integer (hint: put it in quotes)",
        ),
        (
            "[[cache]]\nmemory = 1",
            "8: cache: expected a table, found an array (hint: write [cache] in single brackets)",
        ),
        (
            "[detect]\nname = \"a\"",
            "8: detect: expected tables, found a table (hint: write [[detect]])",
        ),
    ] {
        if text.starts_with("shield =") {
            // A key after a table belongs to that table.
            assert!(report(text).starts_with("8: route[0].shield = 3: unknown key"));
            continue;
        }
        assert_eq!(report(text), expected, "{text}");
    }
}

#[test]
fn missing_keys_are_told_at_their_table() {
    for (text, expected) in [
        (
            "[[listen]]\ntls = false",
            "8: listen[1].address: missing (hint: add address = \"[::]:443\")",
        ),
        (
            "[[certificate]]\nchain = \"/c\"",
            "8: certificate[0].key: missing (hint: add key = \"/etc/weir/example.key\")",
        ),
        (
            "[[upstream]]\nname = \"b\"",
            "8: upstream[1].servers: missing (hint: add servers = [\"http://10.0.0.11:8080\"])",
        ),
        (
            "[[route]]\npath = \"/x\"",
            "8: route[1].upstream: missing (hint: add upstream = the name of an [[upstream]], in quotes)",
        ),
        (
            "[[upstream]]\nname = \"b\"\nservers = [{ weight = 2 }]",
            "10: upstream[1].servers[0].url: missing (hint: add url = \"http://10.0.0.11:8080\")",
        ),
    ] {
        assert_eq!(report(text), expected, "{text}");
    }
    let rule = invalid(&format!("{BASE}[[detect]]\n"));
    let keys: Vec<&str> = rule
        .problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "detect[0].name",
            "detect[0].count",
            "detect[0].limit",
            "detect[0].window"
        ]
    );
}

/// Every key of the product that this version leaves out, each in a file that is valid without it.
#[test]
fn keys_of_later_versions_are_refused_as_such() {
    for (header, keys) in [
        ("", &["cluster = { node = \"a\" }"][..]),
        ("[process]", &["user = \"weir\""]),
        (
            "[shield]",
            &[
                "feeds = []",
                "amplification_ports = [53]",
                "failsafe_ports = [22]",
                "manage_sysctls = false",
                "limits = { syn = { rate = 1, burst = 1 } }",
                "syn_cookies = { mode = \"auto\" }",
            ],
        ),
        (
            "[shield.sanity]",
            &[
                "bad_flags = \"drop\"",
                "spoofed = \"drop\"",
                "amplification = \"drop\"",
                "icmp = \"drop\"",
                "quic = \"drop\"",
                "closed_ports = \"pass\"",
            ],
        ),
        ("[limits]", &["min_body_rate = 500", "upgrades = 1"]),
        (
            "[[listen]]\naddress = \"[::]:81\"",
            &["proxy_protocol_from = []", "trust_forwarded_from = []"],
        ),
        (
            "[[certificate]]\nchain = \"/c\"\nkey = \"/k\"",
            &["names = []"],
        ),
        (
            "[[upstream]]\nname = \"b\"\nservers = [\"http://b\"]",
            &[
                "hash_on = \"uri\"",
                "sticky = {}",
                "health = {}",
                "retry = {}",
                "tls = {}",
                "send_proxy_protocol = \"off\"",
            ],
        ),
        (
            "[[route]]\npath = \"/x\"\nupstream = \"app\"",
            &[
                "methods = [\"GET\"]",
                "headers = {}",
                "redirect = {}",
                "respond = {}",
                "strip_prefix = false",
                "rewrite = {}",
                "request_headers = {}",
                "response_headers = {}",
                "limit = {}",
                "max_body = 1",
                "compress = true",
            ],
        ),
        (
            "[cache]",
            &[
                "disk = {}",
                "stale_while_revalidate = \"0s\"",
                "stale_if_error = \"0s\"",
            ],
        ),
    ] {
        for key in keys {
            let text = if header.is_empty() {
                format!("{key}\n{BASE}")
            } else {
                format!("{BASE}{header}\n{key}\n")
            };
            let told = invalid(&text);
            assert_eq!(told.problems.len(), 1, "{key}: {}", told.report());
            let problem = &told.problems[0];
            assert_eq!(problem.kind, ProblemKind::NotSupported, "{key}");
            assert_eq!(
                problem.message,
                format!("`{}` is not supported by this version of weir", problem.key)
            );
            assert_eq!(problem.hint, "remove it");
        }
    }
}

#[test]
fn a_later_table_is_refused_at_its_header() {
    assert_eq!(
        report("[shield.limits]\nsyn = { rate = 200, burst = 400 }"),
        "8: shield.limits: `shield.limits` is not supported by this version of weir (hint: remove it)"
    );
}

#[test]
fn values_of_later_versions_are_refused_as_such() {
    let upstream =
        |line: &str| format!("[[upstream]]\nname = \"b\"\nservers = [\"http://b\"]\n{line}");
    let rule = |line: &str| format!("[[detect]]\nname = \"r\"\nlimit = 1\nwindow = \"1s\"\n{line}");
    for (text, line, hint) in [
        (
            upstream("balance = \"maglev\""),
            11,
            "supported: \"round-robin\"",
        ),
        (
            upstream("protocol = \"h2\""),
            11,
            "supported: \"auto\", \"http/1.1\"",
        ),
        (
            "[[listen]]\naddress = \"[::]:81\"\nhttp = [\"1.1\", \"3\"]".to_owned(),
            10,
            "supported: \"1.1\", \"2\"",
        ),
        (
            "[[upstream]]\nname = \"b\"\nservers = [\"https://b\"]".to_owned(),
            10,
            "use http://",
        ),
        (
            "[[route]]\npath = \"~^/a$\"\nupstream = \"app\"".to_owned(),
            9,
            "write a prefix such as \"/static/\", or \"=/exact\"",
        ),
        (
            rule("count = \"tls-failures\""),
            12,
            "supported: \"requests\", \"responses\"",
        ),
        (
            rule("count = \"requests\"\nscope = \"prefix\""),
            13,
            "supported: \"source\"",
        ),
    ] {
        let told = invalid(&format!("{BASE}{text}"));
        assert_eq!(told.problems.len(), 1, "{}", told.report());
        let problem = &told.problems[0];
        assert_eq!(
            (problem.kind, problem.line),
            (ProblemKind::NotSupported, line),
            "{text}"
        );
        assert_eq!(problem.hint, hint);
    }
}

#[test]
fn values_are_checked() {
    for (text, expected) in [
        (
            "[[listen]]\naddress = \"x\"",
            "9: listen[1].address = \"x\": not a socket address (hint: write an address literal and a port, \
             such as \"[::]:443\" (all IPv4 and IPv6 addresses) or \"192.0.2.1:80\")",
        ),
        (
            "[[listen]]\naddress = \"[::]:81\"\nhttp = []",
            "10: listen[1].http = []: a listener needs at least one HTTP version (hint: write [\"1.1\", \"2\"])",
        ),
        (
            "[[listen]]\naddress = \"[::]:81\"\nlimits = { drain = \"1s\" }",
            "10: listen[1].limits.drain = \"1s\": drain is for the whole process (hint: move it to [limits])",
        ),
        (
            "[process]\nworkers = \"many\"",
            "9: process.workers = \"many\": not a number of workers (hint: write \"auto\" or a number without quotes)",
        ),
        (
            "[process]\nrun_dir = \"run\"",
            "9: process.run_dir = \"run\": not an absolute path (hint: write the whole path, from /)",
        ),
        (
            "[shield]\ninterfaces = [\"a-very-long-name\"]",
            "9: shield.interfaces[0] = \"a-very-long-name\": longer than 15 bytes, the most an interface name can \
             have (hint: see `ip link` for the names)",
        ),
        (
            "[shield]\ninterfaces = [\"a/b\"]",
            "9: shield.interfaces[0] = \"a/b\": not an interface name (hint: see `ip link` for the names)",
        ),
        (
            "[shield]\nmode = \"fast\"",
            "9: shield.mode = \"fast\": not one of the possible values \
             (hint: supported: \"auto\", \"native\", \"generic\")",
        ),
        (
            "[shield]\nmode = \"natve\"",
            "9: shield.mode = \"natve\": not one of the possible values (hint: did you mean \"native\"?)",
        ),
        (
            "[shield]\nblock = [\"::/0\"]",
            "9: shield.block[0] = \"::/0\": blocks everyone, you included (hint: name the prefixes to block)",
        ),
        (
            "[[upstream]]\nname = \"a b\"\nservers = [\"http://b\"]",
            "9: upstream[1].name = \"a b\": not a name for an upstream \
             (hint: write 1 to 64 letters, digits, '-', '_' or '.')",
        ),
        (
            "[[upstream]]\nname = \"b\"\nservers = [7]",
            "10: upstream[1].servers[0] = 7: expected a URL or a table, found an integer (hint: write \
             \"http://10.0.0.11:8080\" or { url = \"http://10.0.0.11:8080\", weight = 3 })",
        ),
        (
            "[[upstream]]\nname = \"b\"\nservers = [{ url = \"http://b\", weight = 0 }]",
            "10: upstream[1].servers[0].weight = 0: out of bounds (hint: write a value from 1 to 256)",
        ),
        (
            "[[detect]]\nname = \"Login\"\ncount = \"requests\"\nlimit = 1\nwindow = \"1s\"",
            "9: detect[0].name = \"Login\": not a name for a rule \
             (hint: write 1 to 25 characters of a-z, 0-9 and '-')",
        ),
        (
            "[[detect]]\nname = \"abcdefghijklmnopqrstuvwxyz\"\ncount = \"requests\"\nlimit = 1\nwindow = \"1s\"",
            "9: detect[0].name = \"abcdefghijklmnopqrstuvwxyz\": not a name for a rule \
             (hint: write 1 to 25 characters of a-z, 0-9 and '-')",
        ),
        (
            "[log]\naccess = \"access.log\"",
            "9: log.access = \"access.log\": not a target of the access log \
             (hint: write \"stdout\", \"off\" or the whole path of a file, from /)",
        ),
    ] {
        assert_eq!(report(text), expected, "{text}");
    }
}

/// The first value is the least or the most that is accepted, the second is just outside.
#[test]
fn bounds_are_inclusive_and_named() {
    const RULE: &str = "[[detect]]\nname = \"r\"\ncount = \"responses\"\n";
    let rule = |line: &str| format!("{RULE}{line}");
    let upstream =
        |line: &str| format!("[[upstream]]\nname = \"b\"\nservers = [\"http://b\"]\n{line}");
    for (inside, outside, hint) in [
        (
            "[process]\nworkers = 1",
            "[process]\nworkers = 0",
            "from 1 to 1024",
        ),
        (
            "[process]\nworkers = 1024",
            "[process]\nworkers = 1025",
            "from 1 to 1024",
        ),
        (
            "[shield]\nblock_for = \"1s\"",
            "[shield]\nblock_for = \"999ms\"",
            "from 1s to ",
        ),
        (
            "[shield.tables]\nsources = 1024",
            "[shield.tables]\nsources = 1023",
            "from 1024 to 16777216",
        ),
        (
            "[shield.tables]\nblocks = 16777216",
            "[shield.tables]\nblocks = 16777217",
            "from 1024 to 16777216",
        ),
        (
            "[shield.tables]\nprefixes = 64",
            "[shield.tables]\nprefixes = -1",
            "from 64 to 1048576",
        ),
        (
            "[limits]\nheader_bytes = \"8KiB\"",
            "[limits]\nheader_bytes = \"8191B\"",
            "from 8KiB to 1MiB",
        ),
        (
            "[limits]\nbody_bytes = 0",
            "[limits]\nbody_bytes = -1",
            "from 0 to 1TiB",
        ),
        (
            "[limits]\nidle_timeout = \"1day\"",
            "[limits]\nidle_timeout = \"25h\"",
            "from 100ms to 1day",
        ),
        (
            "[limits]\nstreams = 10000",
            "[limits]\nstreams = 99999999999999999999",
            "from 1 to 10000",
        ),
        (
            "[cache]\nmemory = 0",
            "[cache]\nmemory = \"2TiB\"",
            "from 0 to 1TiB",
        ),
        (
            &upstream("eject.max_percent = 100"),
            &upstream("eject.max_percent = 101"),
            "from 0 to 100",
        ),
        (
            &upstream("timeouts.connect = \"10ms\""),
            &upstream("timeouts.connect = \"9ms\""),
            "from 10ms to 5m",
        ),
        (
            &rule("window = \"1h\"\nlimit = 10_000_000"),
            &rule("window = \"1h\"\nlimit = 10_000_001"),
            "from 1 to 10000000",
        ),
        (
            &rule("limit = 1\nwindow = \"1s\""),
            &rule("limit = 1\nwindow = \"61m\""),
            "from 1s to 1h",
        ),
        (
            &rule("limit = 1\nwindow = \"1s\"\nwhere.status = [100, 599]"),
            &rule("limit = 1\nwindow = \"1s\"\nwhere.status = [100, 600]"),
            "from 100 to 599",
        ),
    ] {
        valid(&format!("{BASE}{inside}"));
        let told = invalid(&format!("{BASE}{outside}"));
        assert_eq!(told.problems.len(), 1, "{}", told.report());
        let problem = &told.problems[0];
        assert_eq!(problem.message, "out of bounds", "{outside}");
        assert!(problem.hint.contains(hint), "{outside}: {}", problem.hint);
    }
}

#[test]
fn values_that_clash_are_told_with_both_places() {
    for (text, expected) in [
        (
            "[[listen]]\naddress = \"[::]:80\"",
            "9: listen[1].address = \"[::]:80\": the same as listen[0].address on line 2 \
             (hint: remove or change one of them)",
        ),
        (
            "[[listen]]\naddress = \"0.0.0.0:80\"",
            "9: listen[1].address = \"0.0.0.0:80\": clashes with listen[0].address on line 2: [::] is IPv4 and IPv6 \
             (hint: keep [::] only)",
        ),
        (
            "[admin]\nlisten = \"[::]:80\"",
            "9: admin.listen = \"[::]:80\": the same as listen[0].address on line 2 (hint: give each its own port)",
        ),
        (
            "[[listen]]\naddress = \"[::]:443\"\ntls = true",
            "10: listen[1].tls = true: TLS needs a certificate, and there is none \
             (hint: add a [[certificate]] with chain and key)",
        ),
        (
            "[[upstream]]\nname = \"app\"\nservers = [\"http://b\"]",
            "9: upstream[1].name = \"app\": the same as upstream[0].name on line 4 \
             (hint: remove or change one of them)",
        ),
        (
            "[[upstream]]\nname = \"b\"\nservers = [\"http://b\", { url = \"http://B:80\" }]",
            "10: upstream[1].servers[1].url = \"http://B:80\": the same as upstream[1].servers[0] on line 10 \
             (hint: remove or change one of them)",
        ),
        (
            "[[route]]\nupstream = \"app\"\npath = \"/\"",
            "8: route[1]: the same as route[0] on line 6 (hint: remove or change one of them)",
        ),
        (
            "[[route]]\npath = \"/x\"\nupstream = \"ap\"",
            "10: route[1].upstream = \"ap\": no upstream has this name (hint: did you mean \"app\"?)",
        ),
        (
            "[[route]]\npath = \"/x\"\nupstream = \"other\"",
            "10: route[1].upstream = \"other\": no upstream has this name (hint: upstreams: app)",
        ),
        (
            "[shield]\nallow = [\"192.0.2.0/24\"]\nblock = [\"198.51.100.0/24\", \"192.0.2.0/24\"]",
            "10: shield.block[1] = \"192.0.2.0/24\": both blocked and allowed: shield.allow[0] on line 9 is the same \
             (hint: remove one of them; allow beats block)",
        ),
        (
            "[shield]\ninterfaces = [\"eth0\", \"eth0\"]",
            "9: shield.interfaces[1] = \"eth0\": the same as shield.interfaces[0] on line 9 \
             (hint: remove or change one of them)",
        ),
        (
            "[cache]\nmemory = \"1MiB\"\nmax_object = \"2MiB\"",
            "10: cache.max_object = \"2MiB\": larger than cache.memory, which is 1MiB \
             (hint: lower it, or raise cache.memory)",
        ),
        (
            "[[detect]]\nname = \"r\"\ncount = \"requests\"\nlimit = 1\nwindow = \"1s\"\nwhere = { status = [401] }",
            "13: detect[0].where.status = [401]: requests have no status \
             (hint: write count = \"responses\", or remove status)",
        ),
        (
            "[[detect]]\nname = \"r\"\ncount = \"requests\"\nlimit = 1\nwindow = \"1s\"\nblock_max = \"30m\"",
            "13: detect[0].block_max = \"30m\": shorter than the first block, which lasts 1h \
             (hint: raise it, or lower block_for)",
        ),
        (
            "[[certificate]]\nchain = \"/c\"\nkey = \"/k\"\n[[certificate]]\nchain = \"/c\"\nkey = \"/k2\"",
            "12: certificate[1].chain = \"/c\": the same as certificate[0].chain on line 9 \
             (hint: remove or change one of them)",
        ),
    ] {
        assert_eq!(report(text), expected, "{text}");
    }
}

#[test]
fn lists_larger_than_the_kernels_tables_are_refused() {
    let entries: Vec<String> = (0..65).map(|n| format!("\"198.18.{n}.0/24\"")).collect();
    let list = |name: &str| {
        format!(
            "[shield]\n{name} = [{}]\ntables.prefixes = 64",
            entries.join(", ")
        )
    };
    for name in ["allow", "block"] {
        assert_eq!(
            report(&list(name)),
            format!(
                "8: shield: {name} has 65 IPv4 prefixes, and there is room for 64 \
                 (hint: raise shield.tables.prefixes)"
            )
        );
    }
    // Single addresses have a table of their own.
    let addresses: Vec<String> = (0..65).map(|n| format!("\"198.18.0.{n}\"")).collect();
    valid(&format!(
        "{BASE}[shield]\nblock = [{}]\ntables.prefixes = 64",
        addresses.join(", ")
    ));
}

#[test]
fn an_upstream_has_at_most_64_servers() {
    let servers = |count: usize| {
        let urls: Vec<String> = (0..count)
            .map(|n| format!("\"http://10.0.0.{n}\""))
            .collect();
        format!(
            "{BASE}[[upstream]]\nname = \"b\"\nservers = [{}]",
            urls.join(", ")
        )
    };
    valid(&servers(64));
    let told = invalid(&servers(65));
    assert_eq!(told.problems.len(), 1);
    assert_eq!(told.problems[0].key, "upstream[1].servers[64]");
}

#[test]
fn text_that_is_no_configuration_is_refused_without_harm() {
    for text in [
        "\u{0}",
        "[[[[",
        "= = =",
        "\u{feff}a",
        "a.b.c",
        "[listen]\n[[listen]]\n",
        "x = '''",
    ] {
        let told = invalid(text);
        assert!(
            told.problems.iter().any(|p| p.kind == ProblemKind::Syntax),
            "{text:?}: {}",
            told.report()
        );
    }
    let deep = format!("x = {}", "[".repeat(100_000));
    assert!(!invalid(&deep).problems.is_empty());
}
