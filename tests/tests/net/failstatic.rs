//! What holds whatever happens to weir's process: nothing of blocked sources gets by, and nobody honest is shut out.

use std::io::Read as _;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_lab::tcp::{Echo, connect, echoes, is_timeout, socket};
use weir_lab::topology::{BOTNET_V4, BOTNET_V6, attacker_v4, attacker_v6, client_v4, client_v6};
use weir_lab::{Config, Flood, Kind, Lab, Load, LoadPlan, Protocol, Sources, Weir, until};

use crate::wire::{at_gateway, leaked, watch};
use crate::{SOON, Test};

/// Requests that are tried again until they are answered, as patient clients do.
pub(crate) struct Patient {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Patient {
    pub(crate) fn start(lab: &Lab, source: IpAddr) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let answered = Arc::<AtomicU64>::default();
        let clients = Protocol::ALL.map(|protocol| {
            let client = lab.client(source, protocol)?;
            anyhow::Ok(client.patience(Duration::from_secs(1)))
        });
        let (their_stop, theirs) = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = lab.clients.spawn("patient", move || {
            for client in clients.iter().cycle() {
                let client = client
                    .as_ref()
                    .map_err(|error| anyhow::anyhow!("{error}"))?;
                if their_stop.load(Ordering::Relaxed) {
                    break;
                }
                until(SOON, "an answer", || {
                    Ok(client
                        .get_blocking("/")
                        .is_ok_and(|answer| answer.status == 200))
                })?;
                theirs.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PACE);
            }
            Ok(())
        })?;
        Ok(Self {
            stop,
            answered,
            thread,
        })
    }

    /// Waits for some more answers.
    pub(crate) fn goes_on(&self) -> Result<()> {
        let before = self.answered.load(Ordering::Relaxed);
        until(SOON, "patient clients to be answered", || {
            Ok(self.answered.load(Ordering::Relaxed) > before + 3)
        })
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

/// Everything from the botnet, for as long as a flood may last.
pub(crate) fn botnet() -> Result<Flood> {
    Ok(Flood {
        kinds: vec![Kind::Syn { port: 443 }, UDP, Kind::Echo],
        sources: vec![
            Sources::Within(BOTNET_V4.parse()?),
            Sources::Within(BOTNET_V6.parse()?),
        ],
        rate: Some(20_000),
        ..Flood::syns(Sources::Within(BOTNET_V4.parse()?), 1_000_000)
    })
}

#[test]
fn no_packet_of_a_blocked_source_gets_by_whatever_happens_to_weir() -> Test {
    let lab = Lab::new()?;
    watch(&lab)?;
    // The counter counts: before anything is blocked, all is seen.
    let few = Flood {
        packets: 60,
        ..botnet()?
    };
    few.start(&lab.attackers)?.finish()?;
    until(SOON, "the unguarded gateway to see them", || {
        Ok(leaked(&lab)? == 60)
    })?;

    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", BOTNET_V4, BOTNET_V6])?;
    let before = leaked(&lab)?;
    let flooding = botnet()?.start(&lab.attackers)?;
    let patient = [client_v4(0), client_v6(0)].map(|source| Patient::start(&lab, source));
    let patient = patient.into_iter().collect::<Result<Vec<_>>>()?;
    let all_go_on = || patient.iter().try_for_each(Patient::goes_on);
    all_go_on()?;

    weir.kill()?;
    weir.resume()?;
    all_go_on()?;
    let status = weir.terminate()?;
    ensure!(status.success(), "{status}");
    weir.resume()?;
    all_go_on()?;

    reload_under_load(&lab, &weir)?;
    for client in patient {
        client.finish()?;
    }
    let report = flooding.stop()?;
    until(SOON, "the flood to be counted as blocked", || {
        Ok(weir.counted("blocked")? >= report.sent)
    })?;
    ensure!(report.sent > 10_000, "{report:?}");
    let leaked = leaked(&lab)? - before;
    ensure!(leaked == 0, "{leaked} of {} got by", report.sent);
    Ok(())
}

/// Five reloads, during which not one request fails.
fn reload_under_load(lab: &Lab, weir: &Weir<'_>) -> Result<()> {
    let plan = LoadPlan {
        clients: [client_v4(1), client_v6(1)]
            .into_iter()
            .zip(Protocol::ALL)
            .map(|(source, protocol)| lab.client(source, protocol))
            .collect::<Result<_>>()?,
        paths: vec!["/".into()],
        pace: Duration::from_millis(10),
        requests_per_connection: 20,
        most_requests: 10_000,
    };
    let load = Load::start(&lab.clients, plan)?;
    let text = Config::default().text(lab);
    for burst in 401..=405 {
        let limits = format!("[shield.limits]\nsyn = {{ rate = 200, burst = {burst} }}\n");
        weir.rewrite(&text.replace("[shield.tables]", &format!("{limits}[shield.tables]")))?;
        weir.ok(&["reload"])?;
        let answered = load.peek().total();
        until(SOON, "more answers", || {
            Ok(load.peek().total() > answered + 10)
        })?;
    }
    let stats = load.finish()?;
    ensure!(stats.failed == 0, "{:?}", stats.failures);
    Ok(())
}

#[test]
fn a_block_ends_when_it_should_and_not_before_while_weir_is_dead() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    for source in [attacker_v4(3), attacker_v6(3)] {
        let server = lab
            .gateway
            .run(|| UdpSocket::bind(at_gateway(source, 9000)))??;
        let client = lab.attackers.run(|| UdpSocket::bind((source, 0)))??;
        client.connect(server.local_addr()?)?;
        let begun = Instant::now();
        weir.ok(&["block", &source.to_string(), "--for", "2s"])?;
        let made = Instant::now();
        weir.kill()?;
        let mut refused = 0;
        loop {
            // The clock that ends it ticks 100 times a second or more. What is sent after that has to arrive, however late the
            // machine gets round to it; before, only a look is worth it.
            let is_over = made.elapsed() >= BLOCK + TICK;
            server.set_read_timeout(Some(if is_over { SOON } else { GLANCE }))?;
            client.send(b"?")?;
            match server.recv(&mut [0]) {
                Ok(_) => {
                    ensure!(begun.elapsed() >= BLOCK, "{source} passed too early");
                    break;
                }
                Err(error) if is_timeout(&error) => {
                    ensure!(!is_over, "{source} is still blocked after its time");
                }
                Err(error) => return Err(error.into()),
            }
            refused += 1;
        }
        ensure!(refused > 0);
        weir.resume()?;
    }
    Ok(())
}

#[test]
fn a_block_does_not_end_an_established_session_on_a_failsafe_port() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    for source in [attacker_v4(0), attacker_v6(0)] {
        let ssh = Echo::start(&lab.gateway, at_gateway(source, 22))?;
        let other = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
        let open = |server: &Echo| {
            let address = server.address();
            lab.attackers.run(|| connect((source, 0).into(), address))?
        };
        let (mut session, mut ordinary) = (open(&ssh)?, open(&other)?);
        echoes(&mut session)?;
        echoes(&mut ordinary)?;
        weir.ok(&["block", &source.to_string()])?;
        for _ in 0..5 {
            echoes(&mut session)?;
        }
        ordinary.set_read_timeout(Some(Duration::from_millis(500)))?;
        ensure!(echoes(&mut ordinary).is_err(), "{source}: not failsafe");
        for server in [&ssh, &other] {
            let refused = lab.attackers.run(|| {
                let socket = socket((source, 0).into(), socket2::Protocol::TCP)?;
                anyhow::Ok(
                    socket
                        .connect_timeout(&server.address().into(), SHORT)
                        .is_err(),
                )
            })??;
            ensure!(
                refused,
                "{source}: a new connection to {}",
                server.address()
            );
        }
        weir.kill()?;
        echoes(&mut session)?;
        weir.resume()?;
        echoes(&mut session)?;
        weir.ok(&["unblock", &source.to_string()])?;
        session.shutdown(std::net::Shutdown::Write)?;
        ensure!(session.read(&mut [0])? == 0);
    }
    Ok(())
}

#[test]
fn a_block_of_the_own_ssh_session_takes_force() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    for peer in [client_v4(0), client_v6(0)] {
        let network = peer.to_string();
        let refused = weir.run_over_ssh(peer, &["block", &network])?;
        ensure!(refused.code == 1, "{refused:?}");
        ensure!(
            refused.stderr.contains(&network) && refused.stderr.contains("--force"),
            "{refused:?}"
        );
        ensure!(weir.block_of(&network)?.is_none());
        let forced = weir.run_over_ssh(peer, &["block", &network, "--force"])?;
        ensure!(
            forced.code == 0 && forced.stderr.contains(&network),
            "{forced:?}"
        );
        ensure!(weir.json(&["list", "block"])?["entries"][0].is_object());
        weir.ok(&["unblock", &network])?;
        // Somebody else's session is none of its business.
        let other = weir.run_over_ssh(attacker_v4(0), &["block", &network])?;
        ensure!(other.code == 0, "{other:?}");
        weir.ok(&["unblock", &network])?;
    }
    Ok(())
}

const PORT: u16 = 8080;
/// Of `--for 2s`.
const BLOCK: Duration = Duration::from_secs(2);
/// One of the kernel's, at 100 a second, and as much for `weir` to round.
const TICK: Duration = Duration::from_millis(20);
const GLANCE: Duration = Duration::from_millis(5);
const SHORT: Duration = Duration::from_millis(800);
const PACE: Duration = Duration::from_millis(10);
const UDP: Kind = Kind::Udp {
    port: 9,
    payload: 32,
};
