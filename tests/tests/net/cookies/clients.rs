//! How Linux clients connect, and connect again.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Protocol as Transport, SockRef};
use weir_lab::tcp::{Echo, connect, echoes, socket};
use weir_lab::topology::{client_v4, client_v6};
use weir_lab::{Lab, Weir, within};

use super::{PORT, cookies};
use crate::wire::{Answering, at_gateway};
use crate::{SOON, Test};

/// Lets `connect` use a server in the gateway, in the namespace of the clients, and sees that the shield answered.
fn answered_for_both_families(connect: impl Fn(&Clients<'_>) -> Result<()>) -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let weir = Weir::start(lab, &cookies("always", true))?;
    for source in [client_v4(0), client_v6(0)] {
        let server = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
        let before = weir.counted("syn-cookie")?;
        let server = server.address();
        connect(&Clients {
            lab,
            source,
            server,
        })
        .with_context(|| source.to_string())?;
        ensure!(weir.counted("syn-cookie")? > before, "{source}");
    }
    Ok(())
}

/// Who connects, and whom to.
struct Clients<'a> {
    lab: &'a Lab,
    source: IpAddr,
    server: SocketAddr,
}

impl Clients<'_> {
    /// Runs `work` where the clients are.
    fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.lab.clients.run(work)?
    }
}

#[test]
fn multipath_clients_fall_back_and_are_answered() -> Test {
    answered_for_both_families(|clients| {
        clients.run(|| {
            let socket = socket((clients.source, 0).into(), Transport::MPTCP)?;
            socket.connect_timeout(&clients.server.into(), SOON)?;
            echoes(&mut TcpStream::from(socket))
        })
    })
}

#[test]
fn clients_that_open_fast_are_answered() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    // Both sides may, and no listener has to ask for it.
    for namespace in [&lab.clients, &lab.gateway] {
        namespace.sysctl("net/ipv4/tcp_fastopen", "1027")?;
    }
    let weir = Weir::start(lab, &cookies("off", true))?;
    for source in [client_v4(0), client_v6(0)] {
        let server = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
        // Without cookies first, so that the client knows one of fast open's own.
        for mode in ["off", "always"] {
            weir.rewrite(&cookies(mode, true).text(lab))?;
            weir.ok(&["reload"])?;
            let before = weir.counted("syn-cookie")?;
            for _ in 0..3 {
                lab.clients.run(|| open_fast(source, server.address()))??;
            }
            let answered = weir.counted("syn-cookie")? > before;
            ensure!(answered == (mode == "always"), "{source}, {mode}");
        }
    }
    Ok(())
}

/// Connects in both ways that there are of sending content in the SYN, and sees that it is echoed.
fn open_fast(source: IpAddr, server: SocketAddr) -> Result<()> {
    let with_message = socket((source, 0).into(), Transport::TCP)?;
    with_message.send_to_with_flags(b"hello", &server.into(), MSG_FASTOPEN)?;
    let with_connect = socket((source, 0).into(), Transport::TCP)?;
    setsockopt(&with_connect, sockopt::TcpFastOpenConnect, &true)?;
    with_connect.connect(&server.into())?;
    with_connect.send(b"hello")?;
    for socket in [with_message, with_connect] {
        let mut answer = [0; 5];
        TcpStream::from(socket).read_exact(&mut answer)?;
        ensure!(&answer == b"hello");
    }
    Ok(())
}

#[test]
fn a_port_is_used_again_while_the_server_remembers_its_last_connection() -> Test {
    answered_for_both_families(|clients| {
        for _ in 0..30 {
            clients.run(|| {
                let mut stream = connect((clients.source, 40_000).into(), clients.server)?;
                echoes(&mut stream)?;
                // It closes first, and keeps the pair of addresses in TIME-WAIT.
                stream.write_all(b"!")?;
                ensure!(stream.read(&mut [0])? == 0);
                Ok(())
            })?;
        }
        Ok(())
    })
}

#[test]
fn a_port_is_used_again_at_once_when_nobody_remembers_its_last_connection() -> Test {
    answered_for_both_families(|clients| {
        for _ in 0..30 {
            clients.run(|| {
                let mut stream = connect((clients.source, 40_000).into(), clients.server)?;
                echoes(&mut stream)?;
                // A reset, after which neither end is in TIME-WAIT.
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                Ok(())
            })?;
        }
        Ok(())
    })
}

#[test]
fn a_port_is_used_again_while_the_client_remembers_its_last_connection() -> Test {
    answered_for_both_families(|clients| {
        // As hosts with many connections to one server have it.
        clients.lab.clients.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
        for _ in 0..3 {
            clients.run(|| {
                // Linux gives up what it remembers when it is a second old.
                let mut stream = within(SOON, "the port to be free", || {
                    let socket = socket((clients.source, 40_000).into(), Transport::TCP)?;
                    match socket.connect_timeout(&clients.server.into(), SOON) {
                        Ok(()) => Ok(Some(TcpStream::from(socket))),
                        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Ok(None),
                        Err(error) => Err(error.into()),
                    }
                })?;
                echoes(&mut stream)?;
                // The client closes first, and keeps the pair of addresses in TIME-WAIT.
                stream.shutdown(Shutdown::Write)?;
                ensure!(stream.read(&mut [0])? == 0);
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// `linux/socket.h`
const MSG_FASTOPEN: i32 = 0x2000_0000;
