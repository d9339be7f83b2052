//! tungstenite on both sides of weir: RFC 6455 as somebody else speaks it, in cleartext and over TLS.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::{ClientConnection, StreamOwned};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};
use weir_lab::pki::SERVER_NAME;
use weir_lab::topology::{HTTPS, gateway_address};
use weir_lab::{Config, Lab, Weir};

use super::clients::source;
use super::{ensure_same, noise};
use crate::{SOON, Test};

/// Either side's stream.
trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}
type Socket = WebSocket<Box<dyn Stream>>;

/// Both kinds of listeners, and everything to the server below.
fn config() -> Config {
    Config {
        interfaces: Vec::new(),
        listen: "\n[[listen]]\naddress = \"[::]:80\"\n".into(),
        site: format!(
            "[[upstream]]\nname = \"peer\"\nservers = [\"http://127.0.0.1:{PORT}\"]\n
[[route]]\npath = \"/ws\"\nupstream = \"peer\"\n"
        ),
        ..Config::default()
    }
}

/// A server behind weir that sends back what it gets and closes when told `bye`. It takes as many connections as are sent
/// for, and tells how each ended.
fn serve(lab: &Lab, connections: usize) -> Result<Receiver<Option<CloseFrame>>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let listener = lab.gateway.run(|| TcpListener::bind(address))??;
    let (ended, endings) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let ended = ended.clone();
            std::thread::spawn(move || {
                // Who waits for the ending of one that failed learns that there is none.
                let _ = stream.map_err(Into::into).and_then(|one| echo(one, &ended));
            });
        }
    });
    Ok(endings)
}

fn echo(stream: TcpStream, ended: &Sender<Option<CloseFrame>>) -> Result<()> {
    stream.set_read_timeout(Some(SOON))?;
    let mut socket = tungstenite::accept(stream)?;
    loop {
        match socket.read()? {
            Message::Text(text) if text == "bye" => socket.close(Some(CloseFrame {
                code: CloseCode::Away,
                reason: "told to".into(),
            }))?,
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message)?,
            Message::Close(frame) => {
                ended.send(frame)?;
                // Sends the answer, if the client closed; that the connection is closed now is no error here.
                let _ = socket.flush();
                return Ok(());
            }
            _ => {}
        }
    }
}

/// A client's connection through weir.
fn connect(lab: &Lab, tls: bool) -> Result<Socket> {
    let weir = gateway_address(source());
    let port = if tls { HTTPS } else { 80 };
    let stream = lab.clients.run(|| TcpStream::connect((weir, port)))??;
    stream.set_read_timeout(Some(SOON))?;
    let stream: Box<dyn Stream> = if tls {
        let name = SERVER_NAME.try_into()?;
        let connection = ClientConnection::new(lab.pki.client_config(b"http/1.1")?, name)?;
        Box::new(StreamOwned::new(connection, stream))
    } else {
        Box::new(stream)
    };
    match tungstenite::client(format!("ws://{SERVER_NAME}/ws"), stream) {
        Ok((socket, _)) => Ok(socket),
        Err(error) => bail!("no WebSocket: {error}"),
    }
}

/// Sends `message` and waits until it comes back.
fn exchange(socket: &mut Socket, message: &Message) -> Result<()> {
    socket.send(message.clone())?;
    let answer = socket.read()?;
    if let (Message::Binary(content), Message::Binary(expected)) = (&answer, message) {
        return ensure_same(content, expected);
    }
    ensure!(answer == *message, "{answer:?} for {message:?}");
    Ok(())
}

fn closed(socket: &mut Socket) -> Result<CloseFrame> {
    match socket.read()? {
        Message::Close(frame) => frame.context("a close with a code"),
        other => bail!("{other:?} instead of a close"),
    }
}

#[test]
fn a_websocket_passes_messages_pings_and_closes_and_outlives_a_reload() -> Test {
    let lab = Lab::new()?;
    let mut config = config();
    let endings = serve(&lab, 4)?;
    let weir = Weir::start(&lab, &config)?;
    for tls in [false, true] {
        let (mut one, mut other) = (connect(&lab, tls)?, connect(&lab, tls)?);
        exchange(&mut one, &Message::text("wörd"))?;
        exchange(&mut one, &Message::binary(noise(3_000_000)))?;
        exchange(&mut one, &Message::text(""))?;
        one.send(Message::Ping("are you there".into()))?;
        ensure!(one.read()? == Message::Pong("are you there".into()));

        // Other settings, and the route is still there.
        config.limits += if tls {
            "idle_timeout = \"50s\"\n"
        } else {
            "header_timeout = \"9s\"\n"
        };
        weir.rewrite(&config.text(&lab))?;
        weir.ok(&["reload"])?;
        exchange(&mut one, &Message::text("after a reload"))?;

        one.close(Some(CloseFrame {
            code: CloseCode::Library(4000),
            reason: "enough".into(),
        }))?;
        let seen = endings.recv_timeout(SOON)?.context("a code")?;
        ensure!(seen.code == CloseCode::Library(4000) && seen.reason == "enough");
        ensure!(closed(&mut one)?.code == CloseCode::Library(4000));

        other.send(Message::text("bye"))?;
        let told = closed(&mut other)?;
        ensure!(told.code == CloseCode::Away && told.reason == "told to");
        other.flush().or_else(|error| match error {
            // The answer to the close is sent, and the connection gone.
            tungstenite::Error::ConnectionClosed => Ok(()),
            error => Err(error),
        })?;
        ensure!(endings.recv_timeout(SOON)?.context("a code")?.code == CloseCode::Away);
    }
    Ok(())
}

const PORT: u16 = 8090;
