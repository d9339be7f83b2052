//! Values that are fine by themselves but not together.

use super::{BASE, invalid, report, valid};

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
            "[[listen]]\naddress = \"[::]:81\"\nsni = \"strict\"",
            "10: listen[1].sni = \"strict\": this listener does not speak TLS (hint: add tls = true, or remove it)",
        ),
        (
            "[[listen]]\naddress = \"[::]:81\"\nclient_auth = { ca = \"/c\", mode = \"required\" }",
            "10: listen[1].client_auth: this listener does not speak TLS (hint: add tls = true, or remove it)",
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
            "[[shield.feeds]]\nname = \"a\"\nfile = \"/a\"\n[[shield.feeds]]\nname = \"a\"\nfile = \"/b\"",
            "12: shield.feeds[1].name = \"a\": the same as shield.feeds[0].name on line 9 \
             (hint: remove or change one of them)",
        ),
        (
            "[[shield.feeds]]\nname = \"a\"\nfile = \"/a\"\n[[shield.feeds]]\nname = \"b\"\nfile = \"/a\"",
            "13: shield.feeds[1].file = \"/a\": the same as shield.feeds[0].file on line 10 \
             (hint: remove or change one of them)",
        ),
        (
            "[shield.limits]\nsyn = { rate = 200, burst = 3 }",
            "9: shield.limits.syn.burst = 3: less than 20 ms of the rate: the kernel's clock steps by up to 10 ms, \
             and what comes within a step comes at once (hint: write a value from 4 to 6000, or change the rate)",
        ),
        (
            "[shield.limits]\nudp = { rate = 51, burst = 1 }",
            "9: shield.limits.udp.burst = 1: less than 20 ms of the rate: the kernel's clock steps by up to 10 ms, \
             and what comes within a step comes at once (hint: write a value from 2 to 1530, or change the rate)",
        ),
        (
            "[shield.limits.icmp]\nburst = 1_501\nrate = 50",
            "9: shield.limits.icmp.burst = 1_501: more than 30 s of the rate, which is as far as the kernel keeps \
             account (hint: write a value from 1 to 1500, or change the rate)",
        ),
        (
            "[shield.limits]\nbytes = { rate = \"100MiB\", burst = \"1MiB\" }",
            "9: shield.limits.bytes.burst = \"1MiB\": less than 20 ms of the rate: the kernel's clock steps by up to \
             10 ms, and what comes within a step comes at once \
             (hint: write a value from \"2MiB\" to \"3000MiB\", or change the rate)",
        ),
        (
            "[cache]\nmemory = \"1MiB\"\nmax_object = \"2MiB\"",
            "10: cache.max_object = \"2MiB\": larger than cache.memory, which is 1MiB \
             (hint: lower it, or raise cache.memory)",
        ),
        (
            "[[detect]]\nname = \"r\"\ncount = \"requests\"\nlimit = 1\nwindow = \"1s\"\nwhere = { status = [401] }",
            "13: detect[0].where.status = [401]: only responses have a status \
             (hint: write count = \"responses\", or remove status)",
        ),
        (
            "[[detect]]\nname = \"r\"\ncount = \"tls-failures\"\nlimit = 1\nwindow = \"1s\"\nwhere = { path = \"/\" }",
            "13: detect[0].where.path = \"/\": only requests and responses have a path \
             (hint: remove it, or write count = \"requests\")",
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
    // The allowlist has half the room.
    for (name, room) in [("allow", 32), ("block", 64)] {
        assert_eq!(
            report(&list(name)),
            format!(
                "8: shield: {name} has 65 IPv4 prefixes, and there is room for {room} \
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
fn an_upstream_has_at_most_256_servers() {
    let servers = |count: usize| {
        let urls: Vec<String> = (0..count)
            .map(|n| format!("\"http://10.0.0.1:{}\"", n + 1))
            .collect();
        format!(
            "{BASE}[[upstream]]\nname = \"b\"\nservers = [{}]",
            urls.join(", ")
        )
    };
    valid(&servers(256));
    let told = invalid(&servers(257));
    assert_eq!(told.problems.len(), 1);
    assert_eq!(told.problems[0].key, "upstream[1].servers[256]");
}

#[test]
fn what_only_one_policy_or_check_uses_is_refused_beside_another() {
    let upstream =
        |line: &str| format!("[[upstream]]\nname = \"b\"\nservers = [\"http://b\"]\n{line}");
    for (line, expected) in [
        (
            "hash_on = \"uri\"",
            "11: upstream[1].hash_on = \"uri\": only balance = \"maglev\" hashes (hint: set that, or remove it)",
        ),
        (
            "health = { expect = [200] }",
            "11: upstream[1].health.expect = [200]: a check that only connects asks for nothing \
             (hint: add path = \"/healthz\", or remove it)",
        ),
    ] {
        assert_eq!(report(&upstream(line)), expected);
    }
}

#[test]
fn routes_that_differ_in_methods_or_headers_alone_are_different_routes() {
    let settings = valid(&format!(
        "{BASE}[[route]]\nmethods = [\"GET\"]\nupstream = \"app\"\n\
         [[route]]\nheaders = {{ x-a = \"1\" }}\nupstream = \"app\""
    ));
    assert_eq!(settings.routes.len(), 3);
    assert!(settings.warnings.is_empty());
}

#[test]
fn a_route_that_is_never_taken_is_warned_of_with_both_places() {
    let settings = valid(&format!(
        "{BASE}[[route]]\nmethods = [\"GET\", \"PUT\"]\nupstream = \"app\"\n\
         [[route]]\nmethods = [\"GET\"]\nupstream = \"app\""
    ));
    let told: Vec<_> = settings.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "route[2]: never taken: route[1] on line 8 takes every request that it would \
             (hint: remove it, or change one of them)"
        ]
    );
    assert_eq!(settings.warnings[0].line, 11);
}

#[test]
fn conditions_of_routes_that_no_request_meets_are_refused() {
    for (line, expected) in [
        (
            "methods = []",
            "9: route[1].methods = []: no request has one of no methods \
             (hint: write methods such as [\"GET\", \"HEAD\"], or remove it)",
        ),
        (
            "methods = [\"get\"]",
            "9: route[1].methods[0] = \"get\": methods are case-sensitive (hint: write \"GET\")",
        ),
        (
            "headers = { x-a = \"1\", X-A = \"2\" }",
            "9: route[1].headers: the same field twice: names of fields are case-insensitive \
             (hint: remove one of them)",
        ),
        (
            "headers = { \"x a\" = \"1\" }",
            "9: route[1].headers.\"x a\" = \"1\": not the name of a field \
             (hint: write it as in requests, such as x-tenant)",
        ),
        (
            "headers = \"x\"",
            "9: route[1].headers = \"x\": expected a table, found a string (hint: write headers = { … })",
        ),
        (
            "path = \"~^a\"",
            "9: route[1].path = \"~^a\": matches no path: every path begins with / (hint: write \"~^/a\")",
        ),
    ] {
        assert_eq!(
            report(&format!("[[route]]\n{line}\nupstream = \"app\"")),
            expected
        );
    }
}
