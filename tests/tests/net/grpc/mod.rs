//! gRPC end to end with a peer that others wrote: tonic's client over TLS in front of weir, tonic's server behind it.

mod caller;
mod codec;
mod service;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::BinaryMetadataValue;
use tonic::{Code, Request, Status, Streaming};
use weir_lab::topology::client_v4;
use weir_lab::{Config, Lab, Weir, client, until};

use crate::{SOON, Test};
use caller::Caller;
use service::{BYE, DETAILS, MESSAGE, Service, Transport};

/// Everything to the service.
fn config(lab: &Lab, transport: Transport, more: &str) -> Config {
    Config {
        interfaces: Vec::new(),
        site: format!(
            "[[upstream]]\nname = \"calls\"\n{}{more}\n[[route]]\npath = \"/weir.Calls/\"\nupstream = \"calls\"\n",
            transport.upstream(lab)
        ),
        ..Config::default()
    }
}

/// Calls from a client of the lab's.
fn with_caller<T: Send>(
    lab: &Lab,
    calls: impl AsyncFnOnce(Caller) -> Result<T> + Send,
) -> Result<T> {
    lab.clients.run(|| {
        client::blocking(async {
            let caller = Caller::new(lab, client_v4(0))?;
            let outcome = tokio::time::timeout(2 * SOON, calls(caller)).await;
            outcome.context("the calls do not end")?
        })
    })?
}

/// A side of a call that is spoken to message by message.
fn questions() -> (mpsc::Sender<Bytes>, ReceiverStream<Bytes>) {
    let (questions, messages) = mpsc::channel(1);
    (questions, ReceiverStream::new(messages))
}

/// Says something and waits until it comes back.
async fn exchange(
    questions: &mpsc::Sender<Bytes>,
    answers: &mut Streaming<Bytes>,
    message: &'static str,
) -> Result<()> {
    questions.send(message.into()).await?;
    let answer = answers.message().await?.context("the answers ended")?;
    ensure!(answer == message, "{answer:?}");
    Ok(())
}

fn is_refusal(status: &Status) -> Result<()> {
    ensure!(status.code() == Code::FailedPrecondition, "{status:?}");
    ensure!(status.message() == MESSAGE, "{status:?}");
    ensure!(status.details() == DETAILS, "{status:?}");
    let why = status.metadata().get_bin("why-bin").context("no why-bin")?;
    ensure!(why.to_bytes()? == DETAILS.as_slice(), "{status:?}");
    Ok(())
}

#[test]
fn all_four_kinds_of_calls_pass_over_both_transports() -> Test {
    let lab = Lab::new()?;
    for transport in [Transport::Cleartext, Transport::Tls] {
        let service = Service::start(&lab, transport, None)?;
        let _weir = Weir::start(&lab, &config(&lab, transport, ""))?;
        with_caller(&lab, async |mut caller| {
            let mut request = Request::new(Bytes::from_static(b"hello"));
            let trace = BinaryMetadataValue::from_bytes(&DETAILS);
            request.metadata_mut().insert_bin("trace-bin", trace);
            let response = caller.unary("/weir.Calls/Echo", request).await?;
            let trace = response.metadata().get_bin("trace-bin");
            let trace = trace.context("no trace-bin")?.to_bytes()?;
            ensure!(trace == DETAILS.as_slice(), "{trace:?}");
            ensure!(response.into_inner() == "hello");

            let parts = ["he", "", "llo"].map(Bytes::from);
            let parts = tokio_stream::iter(parts);
            let joined = caller.client_streaming("/weir.Calls/Join", parts).await?;
            ensure!(joined.into_inner() == "hello");

            // Far more than a window.
            let large = Bytes::from(vec![b'x'; 3 << 20]);
            let request = Request::new(large.clone());
            let echoed = caller.unary("/weir.Calls/Echo", request).await?;
            ensure!(echoed.into_inner() == large);

            let method = "/weir.Calls/Count";
            let mut answers = caller.server_streaming(method, "hello".into()).await?;
            for byte in b"hello" {
                let answer = answers.message().await?.context("too few answers")?;
                ensure!(*answer == [*byte], "{answer:?}");
            }
            ensure!(answers.message().await?.is_none());

            let (questions, messages) = questions();
            let mut answers = caller.streaming("/weir.Calls/Chat", messages).await?;
            for message in ["one", "two", BYE] {
                exchange(&questions, &mut answers, message).await?;
            }
            drop(questions);
            ensure!(answers.message().await?.is_none());
            Ok(())
        })
        .with_context(|| format!("{transport:?}"))?;
        ensure!(service.finished() == 1, "{service:?}");
    }
    Ok(())
}

#[test]
fn a_status_arrives_with_its_message_and_binary_metadata_with_and_without_content_before_it() -> Test
{
    let lab = Lab::new()?;
    let _service = Service::start(&lab, Transport::Cleartext, None)?;
    let _weir = Weir::start(&lab, &config(&lab, Transport::Cleartext, ""))?;
    with_caller(&lab, async |mut caller| {
        let request = Request::new(Bytes::new());
        let refused = caller.unary("/weir.Calls/Refuse", request).await;
        is_refusal(&refused.err().context("refused")?)?;

        let method = "/weir.Calls/Break";
        let mut answers = caller.server_streaming(method, "half".into()).await?;
        ensure!(answers.message().await?.context("one message")? == "half");
        is_refusal(&answers.message().await.err().context("then a status")?)?;

        let request = Request::new(Bytes::new());
        let unknown = caller.unary("/weir.Calls/Unknown", request).await;
        let status = unknown.err().context("there is no such method")?;
        ensure!(status.code() == Code::Unimplemented, "{status:?}");
        Ok(())
    })
}

#[test]
fn calls_that_the_client_gives_up_or_whose_time_is_up_end_at_the_server() -> Test {
    let lab = Lab::new()?;
    let service = Service::start(&lab, Transport::Cleartext, None)?;
    let _weir = Weir::start(&lab, &config(&lab, Transport::Cleartext, ""))?;
    with_caller(&lab, async |mut caller| {
        caller.echo("connected").await?;
        // Before an answer has begun.
        let mut request = Request::new(Bytes::new());
        request.set_timeout(Duration::from_secs(1));
        let status = caller.unary("/weir.Calls/Hang", request).await.err();
        let status = status.context("its time is up")?;
        let codes = [Code::Cancelled, Code::DeadlineExceeded];
        ensure!(codes.contains(&status.code()), "{status:?}");
        settle(|| service.left() == 1).await?;

        // In the middle of one.
        let method = "/weir.Calls/Watch";
        let mut answers = caller.server_streaming(method, "ready".into()).await?;
        ensure!(answers.message().await?.context("one message")? == "ready");
        drop(answers);
        settle(|| service.left() == 2).await?;

        // None of it has hurt the connection.
        caller.echo("still there").await?;

        // In the middle of both sides, by going away.
        let (questions, messages) = questions();
        let mut answers = caller.streaming("/weir.Calls/Chat", messages).await?;
        exchange(&questions, &mut answers, "hello").await?;
        ensure!(service.left() == 2, "{service:?}");
        Ok(())
    })?;
    until(SOON, "the last call to end", || Ok(service.left() == 3))?;
    ensure!(
        service.connections() <= 2,
        "one for each worker: {service:?}"
    );
    ensure!(service.finished() == 0, "{service:?}");
    Ok(())
}

/// Waits while the client's connection goes on.
async fn settle(mut done: impl FnMut() -> bool) -> Result<()> {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(tokio::time::timeout(SOON, wait).await?)
}

#[test]
fn a_quiet_call_outlives_the_limits_of_requests_and_a_reload_in_the_middle_of_it() -> Test {
    let lab = Lab::new()?;
    let service = Service::start(&lab, Transport::Cleartext, None)?;
    let short = "timeouts = { response = \"4s\" }\n";
    let mut config = config(&lab, Transport::Cleartext, short);
    config.limits += "body_timeout = \"4s\"\nmin_body_rate = 1_000_000\nidle_timeout = \"4s\"\n";
    let weir = Weir::start(&lab, &config)?;
    with_caller(&lab, async |mut caller| {
        let method = "/weir.Calls/Watch";
        let mut watched = caller.server_streaming(method, "ready".into()).await?;
        ensure!(watched.message().await?.context("one message")? == "ready");
        let (questions, messages) = questions();
        let mut answers = caller.streaming("/weir.Calls/Chat", messages).await?;
        exchange(&questions, &mut answers, "before").await?;
        tokio::time::sleep(Duration::from_secs(9)).await;
        exchange(&questions, &mut answers, "after a while").await?;

        // Other limits, and another policy: connections from before are asked to go.
        config.limits += "header_timeout = \"9s\"\n";
        let policy = "tls = true\ntrust_forwarded_from = [\"192.0.2.0/24\"]\n";
        weir.rewrite(&config.text(&lab).replacen("tls = true\n", policy, 1))?;
        weir.ok(&["reload"])?;
        exchange(&questions, &mut answers, "after a reload").await?;
        // A call that comes now goes over another connection.
        caller.echo("new").await?;
        exchange(&questions, &mut answers, BYE).await?;
        drop(questions);
        ensure!(answers.message().await?.is_none());
        ensure!(service.left() == 0, "somebody still watches: {service:?}");
        drop(watched);
        settle(|| service.left() == 1).await
    })?;
    ensure!(service.finished() == 1, "{service:?}");
    Ok(())
}

#[test]
fn no_call_is_lost_when_connections_on_either_side_are_asked_to_go() -> Test {
    const CALLERS: usize = 4;
    let lab = Lab::new()?;
    let age = Some(Duration::from_millis(200));
    let service = Service::start(&lab, Transport::Cleartext, age)?;
    let config = config(&lab, Transport::Cleartext, "");
    let weir = Weir::start(&lab, &config)?;
    with_caller(&lab, async |caller| {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let calls: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (mut caller, stopped) = (caller.clone(), stopped.clone());
                tokio::spawn(async move {
                    let mut count = 0_u32;
                    while !*stopped.borrow() {
                        caller.echo("call").await?;
                        count += 1;
                    }
                    Ok::<_, Status>(count)
                })
            })
            .collect();
        for number in 0..5 {
            // Another policy: the client's connections are asked to go.
            let policy = format!("tls = true\ntrust_forwarded_from = [\"192.0.2.{number}/32\"]\n");
            weir.rewrite(&config.text(&lab).replacen("tls = true\n", &policy, 1))?;
            weir.ok(&["reload"])?;
            let before = service.connections();
            settle(|| {
                service.connections() > before + 1
                    || calls.iter().any(tokio::task::JoinHandle::is_finished)
            })
            .await?;
        }
        stop.send(true)?;
        for call in calls {
            let count = call.await?.context("a call was lost")?;
            ensure!(count > 5, "{count}");
        }
        Ok(())
    })
}
