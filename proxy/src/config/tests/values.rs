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
            "[shield]\nfeed = []",
            "9: shield.feed = []: unknown key (hint: did you mean `feeds`? This version of weir does not support it)",
        ),
        (
            // A key after a table belongs to that table.
            "shield = 3",
            "8: route[0].shield = 3: unknown key (hint: keys here: host, path, upstream, cache, reveal_origin)",
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
