//! The lab's map: five namespaces and the links between them.
//!
//! ```text
//! clients   eth0 ──── pub0 ┐         ┌ org0 ──── eth0 origin-1
//!                          ├ gateway ┤
//! attackers eth0 ──── pub1 ┘  weir   └ org1 ──── eth0 origin-2
//! ```
//!
//! Attackers have a link of their own: a veth ring holds 256 frames, and a flood must not push the clients' frames out
//! before weir sees them. IPv4 is 10.77.0.0/16, IPv6 `fd77::/48`; no namespace has a default route or another link.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::cleanup::{Guard, PREFIX, Resource, sweep_dead_labs, uninterrupted};
use crate::client::{Answer, Client, Protocol};
use crate::names::NameServer;
use crate::namespace::{Namespace, require_root};
use crate::origin::Origin;
use crate::pki::Pki;

/// The lab. Dropping it removes everything it made.
#[derive(Debug)]
pub struct Lab {
    // Fields drop in order: what lives inside the namespaces and the directory goes before them.
    /// The origin servers, running: two, unless more were asked for.
    pub origins: Vec<Origin>,
    /// Where honest clients are.
    pub clients: Namespace,
    /// Where attackers are.
    pub attackers: Namespace,
    /// Where weir runs.
    pub gateway: Namespace,
    /// Certificates.
    pub pki: Pki,
    _bpffs: Guard,
    directory: PathBuf,
    _directory_guard: Guard,
}

impl Lab {
    /// Builds everything and starts two origins. Needs root.
    pub fn new() -> Result<Self> {
        Self::with_origins(2)
    }

    /// The same with `count` origins, `origin-1` to at most `origin-100`.
    pub fn with_origins(count: u8) -> Result<Self> {
        require_root()?;
        sweep_dead_labs();
        let id = format!(
            "{PREFIX}{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(&id);
        let directory_guard = Guard::new(Resource::Directory(directory.clone()));
        uninterrupted(|| {
            ["bpf", "run", "state"]
                .iter()
                .try_for_each(|part| std::fs::create_dir_all(directory.join(part)))
        })
        .with_context(|| format!("making {}", directory.display()))?;
        let bpffs = mount_bpffs(&directory.join("bpf"))?;
        let pki = Pki::create(&directory)?;

        let namespace = |label: &str| Namespace::create(format!("{id}-{label}"));
        let gateway = namespace("gw")?;
        let clients = namespace("cl")?;
        let attackers = namespace("at")?;
        forgive_spoofing(&gateway)?;
        link_public(&gateway, &clients, 1, CLIENT_HOSTS)?;
        link_public(&gateway, &attackers, 2, ATTACKER_HOSTS)?;
        route_spoofed_back(&gateway)?;
        let origin = |number: u8| {
            let namespace = namespace(&format!("o{number}"))?;
            link_origin(&gateway, &namespace, number)?;
            Origin::start(format!("origin-{number}"), namespace)
        };
        let origins = (1..=count).map(origin).collect::<Result<_>>()?;
        Ok(Self {
            origins,
            clients,
            attackers,
            gateway,
            pki,
            _bpffs: bpffs,
            directory,
            _directory_guard: directory_guard,
        })
    }

    /// Starts a name server in the gateway; a weir that starts after this asks it and no other.
    pub fn name_server(&self) -> Result<NameServer> {
        let server = NameServer::start(&self.gateway)?;
        let file = self.resolv_conf();
        uninterrupted(|| {
            std::fs::write(file, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        })?;
        Ok(server)
    }

    /// What weir has in place of the host's `/etc/resolv.conf`, if it is there.
    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.directory.join("resolv.conf")
    }

    /// The lab's directory: `bpf` is a bpffs of its own, `run` and `state` are weir's.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the gateway's two public links share one receive queue (receive packet steering), served by the last core
    /// and a thousand frames long, as they would share that of a small machine's network card: what passes the shield
    /// is queued there, and what finds the queue full is lost, whoever sent it. Without this, a flood's sender does the
    /// gateway's work in its own time and hurts nobody but itself.
    pub fn share_receive_queue(&self) -> Result<()> {
        let last = std::thread::available_parallelism()?.get().min(32) - 1;
        let mask = format!("{:x}", 1_u32 << last);
        let point = self.directory.join("sys");
        uninterrupted(|| std::fs::create_dir_all(&point))?;
        self.gateway.run(|| {
            // The gateway's view of /sys/class/net needs a sysfs mounted from inside; it goes with this thread.
            unshare(CloneFlags::CLONE_NEWNS).context("leaving the mount namespace")?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            mount(Some("sysfs"), &point, Some("sysfs"), MsFlags::empty(), none)?;
            for interface in [CLIENT_SIDE, ATTACKER_SIDE] {
                let file = format!("class/net/{interface}/queues/rx-0/rps_cpus");
                std::fs::write(point.join(&file), &mask)
                    .with_context(|| format!("writing {mask} to {file}"))?;
            }
            Ok(())
        })?
    }

    /// A client at `source`, which decides where it sits and which of weir's addresses it speaks to.
    pub fn client(&self, source: IpAddr, protocol: Protocol) -> Result<Client> {
        let server = (gateway_address(source), HTTPS).into();
        Client::new(&self.pki, source, server, protocol)
    }

    /// The namespace that has the address `source`.
    pub fn namespace_of(&self, source: IpAddr) -> &Namespace {
        if link_of(source) == 1 {
            &self.clients
        } else {
            &self.attackers
        }
    }

    /// One request on a new connection from `source`.
    pub fn get(&self, source: IpAddr, protocol: Protocol, path: &str) -> Result<Answer> {
        let client = self.client(source, protocol)?;
        self.namespace_of(source)
            .run(|| client.get_blocking(path))?
    }

    /// Requests over both protocols in turn until `count` have been answered with 200.
    pub fn get_many(&self, source: IpAddr, path: &str, count: usize) -> Result<Vec<Answer>> {
        (0..count)
            .map(|i| {
                let answer = self.get(source, Protocol::ALL[i % 2], path)?;
                anyhow::ensure!(answer.status == 200, "request {i}: {answer:?}");
                Ok(answer)
            })
            .collect()
    }
}

/// Address of the `index`th honest client (0 to 7), IPv4.
pub fn client_v4(index: u8) -> IpAddr {
    host_v4(1, FIRST_HOST + index)
}

/// Address of the `index`th honest client (0 to 7), IPv6. All are in one /64.
pub fn client_v6(index: u8) -> IpAddr {
    host_v6(1, FIRST_HOST + index)
}

/// Address of the `index`th attacker (0 to 7), IPv4.
pub fn attacker_v4(index: u8) -> IpAddr {
    host_v4(2, FIRST_HOST + index)
}

/// Address of the `index`th attacker (0 to 7), IPv6. All are in one /64.
pub fn attacker_v6(index: u8) -> IpAddr {
    host_v6(2, FIRST_HOST + index)
}

/// The gateway's address on the link that `peer` is on, of the same family.
pub fn gateway_address(peer: IpAddr) -> IpAddr {
    if peer.is_ipv4() {
        host_v4(link_of(peer), 1)
    } else {
        gateway_v6(link_of(peer))
    }
}

/// What the origin `number` (from 1) listens on.
pub fn origin_url(number: u8) -> String {
    format!("http://{}:{}", origin_address(number), crate::origin::PORT)
}

/// Address of the origin `number` (from 1).
pub fn origin_address(number: u8) -> IpAddr {
    host_v4(10 + number, 2)
}

/// Link-layer address of the gateway's `pub0` (link 1) or `pub1` (link 2).
pub const fn gateway_mac(link: u8) -> [u8; 6] {
    [0x02, 0x77, 0, 0, link, 1]
}

/// Where weir listens.
pub const HTTPS: u16 = 443;
/// The gateway's interface towards the honest clients.
pub const CLIENT_SIDE: &str = "pub0";
/// The gateway's interface towards the attackers.
pub const ATTACKER_SIDE: &str = "pub1";
/// The attackers' prefix that no socket uses: sources of raw frames.
pub const BOTNET_V4: &str = "10.77.2.128/25";
/// The same, IPv6.
pub const BOTNET_V6: &str = "fd77:0:0:2:b07::/80";
/// Where spoofed IPv4 sources come from (RFC 2544, RFC 6890: benchmarking).
pub const SPOOFED_V4: &str = "198.18.0.0/15";
/// Where spoofed IPv6 sources come from (RFC 3849: documentation).
pub const SPOOFED_V6: &str = "2001:db8::/32";

fn host_v4(link: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, link, host).into()
}

fn host_v6(link: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(0xfd77, 0, 0, link.into(), 0, 0, 0, host.into()).into()
}

/// In a /64 of its own: weir spares the /64 that it is in itself, and clients on the internet are in another, too.
fn gateway_v6(link: u8) -> IpAddr {
    Ipv6Addr::new(0xfd77, 0, 1, link.into(), 0, 0, 0, 1).into()
}

fn link_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[2],
        IpAddr::V6(v6) => v6.octets()[7],
    }
}

/// The gateway must not judge sources by its routes: that is weir's task, and packets that pass it must reach the stack.
fn forgive_spoofing(gateway: &Namespace) -> Result<()> {
    gateway.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
    gateway.sysctl("net/ipv4/conf/default/rp_filter", "0")
}

fn link_public(gateway: &Namespace, peer: &Namespace, link: u8, hosts: u8) -> Result<()> {
    let interface = format!("pub{}", link - 1);
    let (gateway_mac, peer_mac) = (mac(gateway_mac(link)), mac([0x02, 0x77, 0, 0, link, 2]));
    let peer_name = peer.name();
    let (gateway_v4, gateway_v6) = (host_v4(link, 1), gateway_v6(link));
    let hosts_v6 = host_v6(link, 0);
    gateway.ip(&format!(
        "link add {interface} address {gateway_mac} type veth peer name eth0 netns {peer_name} address {peer_mac}
addr add {gateway_v4}/24 dev {interface}
addr add {gateway_v6}/64 dev {interface} nodad
link set {interface} up
route add {hosts_v6}/64 dev {interface}
"
    ))?;
    let mut commands = String::new();
    for host in FIRST_HOST..FIRST_HOST + hosts {
        let (v4, v6) = (host_v4(link, host), host_v6(link, host));
        writeln!(commands, "addr add {v4}/24 dev eth0")?;
        writeln!(commands, "addr add {v6}/64 dev eth0 nodad")?;
    }
    commands += "link set eth0 up\n";
    writeln!(commands, "route add {gateway_v6}/128 dev eth0")?;
    peer.ip(&commands)?;
    // Neighbours are fixed: an answer to a spoofed source must not end in a failing neighbour look-up.
    let mut neighbours = String::new();
    for host in FIRST_HOST..FIRST_HOST + hosts {
        for address in [host_v4(link, host), host_v6(link, host)] {
            writeln!(
                neighbours,
                "neigh replace {address} lladdr {peer_mac} dev {interface} nud permanent"
            )?;
        }
    }
    gateway.ip(&neighbours)?;
    peer.ip(&format!(
        "neigh replace {gateway_v4} lladdr {gateway_mac} dev eth0 nud permanent
neigh replace {gateway_v6} lladdr {gateway_mac} dev eth0 nud permanent
"
    ))
}

/// Answers to raw frames go back to the attackers' namespace, which drops what it did not ask for.
fn route_spoofed_back(gateway: &Namespace) -> Result<()> {
    let (via_v4, via_v6) = (attacker_v4(0), attacker_v6(0));
    gateway.ip(&format!(
        "route add {SPOOFED_V4} via {via_v4} dev {ATTACKER_SIDE}
route add {BOTNET_V4} via {via_v4} dev {ATTACKER_SIDE}
route add {SPOOFED_V6} via {via_v6} dev {ATTACKER_SIDE}
route add {BOTNET_V6} via {via_v6} dev {ATTACKER_SIDE}
"
    ))
}

fn link_origin(gateway: &Namespace, origin: &Namespace, number: u8) -> Result<()> {
    let (link, interface, name) = (10 + number, format!("org{}", number - 1), origin.name());
    let (near, far) = (host_v4(link, 1), host_v4(link, 2));
    gateway.ip(&format!(
        "link add {interface} type veth peer name eth0 netns {name}
addr add {near}/24 dev {interface}
link set {interface} up
"
    ))?;
    origin.ip(&format!("addr add {far}/24 dev eth0\nlink set eth0 up\n"))
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn mount_bpffs(point: &Path) -> Result<Guard> {
    let guard = Guard::new(Resource::Mount(point.to_owned()));
    uninterrupted(|| {
        let none = None::<&str>;
        mount(Some("bpf"), point, Some("bpf"), MsFlags::empty(), none)
    })
    .with_context(|| format!("mounting a bpffs at {}", point.display()))?;
    Ok(guard)
}

const FIRST_HOST: u8 = 11;
const CLIENT_HOSTS: u8 = 8;
const ATTACKER_HOSTS: u8 = 8;
static NEXT: AtomicU32 = AtomicU32::new(0);
