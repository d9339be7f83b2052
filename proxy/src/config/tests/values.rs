//! Keys, types, values and bounds, one problem at a time.

use super::{BASE, invalid, report, valid};

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
            "[cache]\ndsik = {}",
            "9: cache.dsik: unknown key (hint: did you mean `disk`? This version of weir does not support it)",
        ),
        (
            "[shield]\nfeed = []",
            "9: shield.feed = []: unknown key (hint: did you mean `feeds`?)",
        ),
        (
            "[shield.sanity]\nbad-flags = \"drop\"",
            "9: shield.sanity.bad-flags = \"drop\": unknown key (hint: did you mean `bad_flags`?)",
        ),
        (
            "[shield.limits]\nsyns = \"off\"",
            "9: shield.limits.syns = \"off\": unknown key (hint: did you mean `syn`?)",
        ),
        (
            "[shield.limits]\nudp = { rate = 2000, bust = 4000, burst = 4000 }",
            "9: shield.limits.udp.bust = 4000: unknown key (hint: did you mean `burst`?)",
        ),
        (
            // A key after a table belongs to that table.
            "[log]\nshield = 3",
            "9: log.shield = 3: unknown key (hint: keys here: format, access, level)",
        ),
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
            "[[shield.limits]]\nudp = \"off\"",
            "8: shield.limits: expected a table, found an array (hint: write [shield.limits] in single brackets)",
        ),
        (
            "[shield]\nsanity = \"off\"",
            "9: shield.sanity = \"off\": expected a table, found a string (hint: write sanity = { … })",
        ),
        (
            "[[listen]]\naddress = \"[::]:81\"\nlimits = 3",
            "10: listen[1].limits = 3: expected a table, found an integer (hint: write limits = { … })",
        ),
        (
            "[[listen]]\naddress = \"[::]:81\"\n[[listen.limits]]",
            "10: listen[1].limits: expected a table, found an array (hint: write [listen.limits] in single brackets)",
        ),
        (
            "[shield]\nfeeds = [\"/etc/weir/drop.txt\"]",
            "9: shield.feeds[0] = \"/etc/weir/drop.txt\": expected a table, found a string (hint: write { … })",
        ),
        (
            "[shield.feeds]\nname = \"a\"",
            "8: shield.feeds: expected tables, found a table (hint: write [[shield.feeds]])",
        ),
        (
            "[shield]\nfailsafe_ports = 22",
            "9: shield.failsafe_ports = 22: expected a list, found an integer (hint: put it in [ ])",
        ),
        (
            "[shield]\nfailsafe_ports = [\"ssh\"]",
            "9: shield.failsafe_ports[0] = \"ssh\": expected a whole number, found a string \
             (hint: write a number from 1 to 65535)",
        ),
        (
            "[shield.limits]\nudp = 5",
            "9: shield.limits.udp = 5: expected a table or \"off\", found an integer \
             (hint: write { rate = 2000, burst = 4000 } or \"off\")",
        ),
        (
            "[shield.limits]\nbytes = \"125MiB\"",
            "9: shield.limits.bytes = \"125MiB\": expected a table or \"off\", found a string \
             (hint: write { rate = \"125MiB\", burst = \"250MiB\" } or \"off\")",
        ),
        (
            "[shield.limits]\nudp = { rate = \"2KB\", burst = 4000 }",
            "9: shield.limits.udp.rate = \"2KB\": expected a whole number, found a string \
             (hint: write a number from 1 to 1099511627776)",
        ),
        (
            "[detect]\nname = \"a\"",
            "8: detect: expected tables, found a table (hint: write [[detect]])",
        ),
    ] {
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
            "[shield]\nlimits.syn.rate = 200",
            "9: shield.limits.syn.burst: missing (hint: add burst = 400)",
        ),
        (
            "[shield.limits]\nbytes = { burst = 1000 }",
            "9: shield.limits.bytes.rate: missing (hint: add rate = \"125MiB\")",
        ),
        (
            "[[shield.feeds]]\nname = \"a\"",
            "8: shield.feeds[0].file: missing (hint: add file = \"/etc/weir/drop.txt\")",
        ),
        (
            "[shield]\nfeeds = [{ file = \"/f\" }]",
            "9: shield.feeds[0].name: missing (hint: add name = \"spamhaus\")",
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

#[test]
fn values_are_checked() {
    for (text, expected) in [
        (
            "[[listen]]\naddress = \"x\"",
            "9: listen[1].address = \"x\": not a socket address (hint: write an address literal and a port, \
             such as \"[::]:443\" (all IPv4 and IPv6 addresses) or \"192.0.2.1:80\")",
        ),
        (
            "[[certificate]]\nchain = \"/c\"\nkey = \"/k\"\nnames = []",
            "11: certificate[0].names = []: a certificate without a name is served to nobody \
             (hint: write names, or remove the key: they are then the certificate's own)",
        ),
        (
            "[[certificate]]\nchain = \"/c\"\nkey = \"/k\"\nnames = [\"a.*.test\"]",
            "11: certificate[0].names[0] = \"a.*.test\": not a host name \
             (hint: write a name such as \"example.com\" or \"*.example.com\")",
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
            "[shield]\nfragments = \"block\"",
            "9: shield.fragments = \"block\": not one of the possible values \
             (hint: supported: \"drop\", \"count\", \"pass\")",
        ),
        (
            "[shield.sanity]\nspoofed = \"dorp\"",
            "9: shield.sanity.spoofed = \"dorp\": not one of the possible values (hint: did you mean \"drop\"?)",
        ),
        (
            "[shield.sanity]\ninner_headers = \"drop\"",
            "9: shield.sanity.inner_headers = \"drop\": expected true or false, found a string",
        ),
        (
            "[shield.sanity]\nfragments = \"drop\"",
            "9: shield.sanity.fragments = \"drop\": fragments is a key of [shield] itself (hint: move it to [shield])",
        ),
        (
            "[shield.syn_cookies]\nmode = \"on\"",
            "9: shield.syn_cookies.mode = \"on\": not one of the possible values \
             (hint: supported: \"off\", \"auto\", \"always\")",
        ),
        (
            "[[shield.feeds]]\nname = \"spam haus\"\nfile = \"/f\"",
            "9: shield.feeds[0].name = \"spam haus\": not a name for a feed \
             (hint: write 1 to 26 letters, digits, '-', '_' or '.')",
        ),
        (
            "[[shield.feeds]]\nname = \"abcdefghijklmnopqrstuvwxyz0\"\nfile = \"/f\"",
            "9: shield.feeds[0].name = \"abcdefghijklmnopqrstuvwxyz0\": not a name for a feed \
             (hint: write 1 to 26 letters, digits, '-', '_' or '.')",
        ),
        (
            "[[shield.feeds]]\nname = \"a\"\nfile = \"drop.txt\"",
            "10: shield.feeds[0].file = \"drop.txt\": not an absolute path (hint: write the whole path, from /)",
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
            "from 1s to 1year",
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
            "[shield]\nfailsafe_ports = [1, 65535]",
            "[shield]\nfailsafe_ports = [0]",
            "from 1 to 65535",
        ),
        (
            "[shield]\nquic_ports = [1, 65535]",
            "[shield]\nquic_ports = [443, 0]",
            "from 1 to 65535",
        ),
        (
            "[shield]\namplification_ports = []",
            "[shield]\namplification_ports = [65536]",
            "from 1 to 65535",
        ),
        (
            "[shield.limits]\nsyn = { rate = 1, burst = 1 }",
            "[shield.limits]\nsyn = { rate = 0, burst = 1 }",
            "from 1 to 1099511627776",
        ),
        (
            "[shield.limits]\npackets = { rate = 1_099_511_627_776, burst = 1_099_511_627_776 }",
            "[shield.limits]\npackets = { rate = 1_099_511_627_777, burst = 1_099_511_627_776 }",
            "from 1 to 1099511627776",
        ),
        (
            "[shield.limits]\nicmp = { rate = 1, burst = 1 }",
            "[shield.limits]\nicmp = { rate = 1, burst = 0 }",
            "from 1 to 32985348833280",
        ),
        (
            "[shield.limits]\nbytes = { rate = \"1TiB\", burst = \"30TiB\" }",
            "[shield.limits]\nbytes = { rate = \"1TiB\", burst = \"31TiB\" }",
            "from 1 to 30TiB",
        ),
        (
            "[shield.limits]\nprefix_factor = 65_536",
            "[shield.limits]\nprefix_factor = 65_537",
            "from 1 to 65536",
        ),
        (
            "[shield.syn_cookies]\nstart = 100_000_000",
            "[shield.syn_cookies]\nstart = 0",
            "from 1 to 100000000",
        ),
        (
            "[[shield.feeds]]\nname = \"a\"\nfile = \"/f\"\nrefresh = \"1week\"",
            "[[shield.feeds]]\nname = \"a\"\nfile = \"/f\"\nrefresh = \"999ms\"",
            "from 1s to 7days",
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
            &upstream("retry.attempts = 0"),
            &upstream("retry.attempts = 11"),
            "from 0 to 10",
        ),
        (
            &upstream("health.interval = \"100ms\""),
            &upstream("health.interval = \"99ms\""),
            "from 100ms to 1h",
        ),
        (
            &upstream("health = { path = \"/\", expect = [599] }"),
            &upstream("health = { path = \"/\", expect = [600] }"),
            "from 100 to 599",
        ),
        (
            &upstream("timeouts.connect = \"10ms\""),
            &upstream("timeouts.connect = \"9ms\""),
            "from 10ms to 5m",
        ),
        (
            &upstream("timeouts.stream = \"1day\""),
            &upstream("timeouts.stream = \"25h\""),
            "from 10ms to 1day",
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
fn a_list_of_ports_has_as_many_as_the_program_has_room_for() {
    let list = |key: &str, count: u16| {
        let ports: Vec<String> = (1..=count).map(|port| port.to_string()).collect();
        format!("{BASE}[shield]\n{key} = [1, {}]", ports.join(", "))
    };
    for (key, most) in [
        ("amplification_ports", 1024),
        ("failsafe_ports", 64),
        ("quic_ports", 64),
    ] {
        valid(&list(key, most));
        let told = invalid(&list(key, most + 2));
        assert_eq!(told.problems.len(), 1, "{}", told.report());
        // One more than the number: the first port stands twice.
        assert_eq!(
            told.problems[0].key,
            format!("shield.{key}[{}]", most + 1),
            "the first port too many"
        );
        assert_eq!(
            told.problems[0].message,
            format!("there can be at most {most} ports here")
        );
    }
}

#[test]
fn there_are_at_most_64_feeds() {
    let feeds = |count: usize| {
        let feeds: Vec<String> = (0..count)
            .map(|n| format!("[[shield.feeds]]\nname = \"n{n}\"\nfile = \"/{n}\"\n"))
            .collect();
        format!("{BASE}{}", feeds.concat())
    };
    valid(&feeds(64));
    let told = invalid(&feeds(65));
    assert_eq!(told.problems.len(), 1, "{}", told.report());
    assert_eq!(told.problems[0].key, "shield.feeds[64]");
}
