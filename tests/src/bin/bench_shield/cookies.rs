//! Cases of SYN cookies: what an answer costs, beside the responder in C.
//!
//! Everything runs in a namespace of its own with a listener, because a look-up of sockets searches the namespace that
//! `BPF_PROG_TEST_RUN` is called from. Each packet is a fresh SYN from a random source of 198.18.0.0/15 or
//! `2001:db8::/32`.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use anyhow::{Context as _, Result};
use aya::EbpfLoader;
use socket2::{Domain, Socket, Type};
use weir_common::Outcome;
use weir_lab::Namespace;

use crate::frames::{ALL_OPTIONS, MSS, PORT, SYN, TCP, bare, frame, ipv4, ipv6, tcp};
use crate::lists::share;
use crate::live::{WINDOW_SCALE, answer_with_cookies, namespace};
use crate::reference::{Loaded, References};
use crate::report::{Figure, Report, Row, Target};
use crate::shield::{Ability, Answers, Capacity, Settings, Shield};
use crate::step::{Frame, Sources, costs};

/// Measures them.
pub(crate) fn run(references: &References, report: &Report) -> Result<()> {
    report.group("SYN cookies: one SYN answered, BPF_PROG_TEST_RUN")?;
    let server = namespace("cookies")?;
    answer_with_cookies(&server)?;
    let _listeners = server.run(listen)??;
    let mut shield = Shield::load(Capacity::Default)?;
    for case in cases() {
        measure(references, report, &server, &mut shield, &case)?;
    }
    Ok(())
}

struct Case {
    name: &'static str,
    syn: Vec<u8>,
    sources: Sources,
    answers: Answers,
    /// At most this many times the reference.
    target: Option<f64>,
}

fn cases() -> [Case; 5] {
    let syn = |options| tcp(SYN, options);
    let v4 = |options| ipv4(Ipv4Addr::new(198, 18, 0, 7), TCP, &syn(options));
    let v6 = |options| {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
        ipv6(source, TCP, &syn(options))
    };
    let case = |name, syn, sources, answers, target| Case {
        name,
        syn,
        sources,
        answers,
        target,
    };
    let full = Answers::Full(WINDOW_SCALE);
    [
        case(
            "MSS only, IPv4",
            bare(&v4(&MSS)),
            SPOOFED4,
            Answers::MssOnly,
            Some(110.0 / 102.0),
        ),
        case(
            "MSS only, IPv4, padded to 60 bytes",
            frame(&v4(&MSS)),
            SPOOFED4,
            Answers::MssOnly,
            None,
        ),
        case(
            "all options, IPv4",
            frame(&v4(&ALL_OPTIONS)),
            SPOOFED4,
            full,
            Some(145.0 / 138.0),
        ),
        case(
            "MSS only, IPv6",
            frame(&v6(&MSS)),
            SPOOFED6,
            Answers::MssOnly,
            None,
        ),
        case(
            "all options, IPv6",
            frame(&v6(&ALL_OPTIONS)),
            SPOOFED6,
            full,
            Some(180.0 / 174.0),
        ),
    ]
}

/// weir beside the responder that looks the listener up as well, and that one beside the one that does not.
fn measure(
    references: &References,
    report: &Report,
    server: &Namespace,
    shield: &mut Shield,
    case: &Case,
) -> Result<()> {
    shield.settings(Settings::Cookies(case.answers))?;
    let reference = responder(references, case.answers)?;
    let can = shield.can(Ability::Cookies);
    let mut programs = vec![reference.program(LOOKUP)?, reference.program(RAW)?];
    if can {
        programs.push(shield.program()?);
    }
    let before = shield.counted(Outcome::SynCookie)?;
    let syn = Frame::Restored(&case.syn);
    let costs = server.run(|| costs(references, syn, case.sources, &programs))??;
    let counted = shield.counted(Outcome::SynCookie)? - before;
    let mut note = share("C", &costs, reference.count("ANSWERED")? / 2);
    if can {
        note += &share("weir", &costs, counted);
    }
    report.row(&Row {
        case: case.name.to_owned(),
        weir: costs.ns.get(2).copied().map(Figure::Ns),
        reference: Some(("C, with look-up", Figure::Ns(costs.ns[0]))),
        target: case.target.map_or(Target::None, Target::AtMost),
        note,
    })?;
    report.row(&Row {
        case: String::new(),
        weir: costs.ns.get(2).copied().map(Figure::Ns),
        reference: Some(("C, raw", Figure::Ns(costs.ns[1]))),
        target: Target::None,
        note: String::new(),
    })
}

/// Loads the responder in C.
pub(crate) fn responder(references: &References, answers: Answers) -> Result<Loaded> {
    let (full, window_scale) = match answers {
        Answers::MssOnly => (0_u32, 0_u32),
        Answers::Full(window_scale) => (1, window_scale.into()),
    };
    let mut loader = EbpfLoader::new();
    loader
        .override_global("FULL_OPTIONS", &full, true)
        .override_global("WINDOW_SCALE", &window_scale, true);
    references.cookie.load_with(&mut loader, &[RAW, LOOKUP])
}

/// One listener for each IP version.
fn listen() -> Result<[TcpListener; 2]> {
    let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("listening on IPv4")?;
    let v6 = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    v6.set_only_v6(true)?;
    v6.bind(&std::net::SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
    v6.listen(128).context("listening on IPv6")?;
    Ok([v4, v6.into()])
}

/// The responder that looks the listener up.
pub(crate) const LOOKUP: &str = "cookie_lookup";
const RAW: &str = "cookie_raw";
const SPOOFED4: Sources = Sources::Random {
    base: Ipv4Addr::new(198, 18, 0, 0),
    mask: 0x1_ffff,
};
const SPOOFED6: Sources = Sources::Random {
    base: Ipv4Addr::UNSPECIFIED,
    mask: u32::MAX,
};
