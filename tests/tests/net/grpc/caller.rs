//! The client: tonic's channel over TLS, from an address of the lab's.

use std::error::Error as _;
use std::net::IpAddr;

use anyhow::Result;
use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;
use weir_lab::Lab;
use weir_lab::pki::SERVER_NAME;
use weir_lab::topology::{HTTPS, gateway_address};

use super::codec::Plain;

/// Calls methods of `weir.Calls`. Connects with the first call, and again when its connection is asked to go.
#[derive(Debug, Clone)]
pub(super) struct Caller(Grpc<Channel>);

impl Caller {
    /// Must be made and used in a runtime inside the namespace that has the address `source`.
    pub(super) fn new(lab: &Lab, source: IpAddr) -> Result<Self> {
        let tls = TlsConnector::from(lab.pki.client_config(b"h2")?);
        let connector = service_fn(move |_| {
            let tls = tls.clone();
            async move {
                let socket = TcpSocket::new_v4()?;
                socket.set_nodelay(true)?;
                socket.bind((source, 0).into())?;
                let server = (gateway_address(source), HTTPS).into();
                let stream = socket.connect(server).await?;
                let name = ServerName::try_from(SERVER_NAME).expect("a constant, valid name");
                tls.connect(name, stream).await.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_shared(format!("https://{SERVER_NAME}"))?;
        let channel = endpoint.connect_with_connector_lazy(connector);
        Ok(Self(Grpc::new(channel)))
    }

    /// One message for one.
    pub(super) async fn unary(
        &mut self,
        method: &'static str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(method);
        self.0.unary(request, path, Plain).await
    }

    /// `Echo` of `message`, over another connection if the call did not leave over the one there was: hyper drops what it
    /// was handed for a connection that is just asked to go, and tonic leaves the transparent retry of gRPC to others.
    pub(super) async fn echo(&mut self, message: &'static str) -> Result<(), Status> {
        loop {
            let request = Request::new(message.into());
            match self.unary("/weir.Calls/Echo", request).await {
                Err(status) if never_left(&status) => {}
                Err(status) => return Err(status),
                Ok(response) if *response.get_ref() == message => return Ok(()),
                Ok(response) => return Err(Status::data_loss(format!("{response:?}"))),
            }
        }
    }

    /// Many messages for one.
    pub(super) async fn client_streaming(
        &mut self,
        method: &'static str,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Response<Bytes>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(method);
        let request = Request::new(messages);
        self.0.client_streaming(request, path, Plain).await
    }

    /// One message for many.
    pub(super) async fn server_streaming(
        &mut self,
        method: &'static str,
        message: Bytes,
    ) -> Result<Streaming<Bytes>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(method);
        let request = Request::new(message);
        let response = self.0.server_streaming(request, path, Plain).await?;
        Ok(response.into_inner())
    }

    /// Many messages for many.
    pub(super) async fn streaming(
        &mut self,
        method: &'static str,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Streaming<Bytes>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(method);
        let response = self
            .0
            .streaming(Request::new(messages), path, Plain)
            .await?;
        Ok(response.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))
    }
}

fn never_left(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let error_of_hyper = error.downcast_ref::<hyper::Error>();
        if error_of_hyper.is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}
