//! Connections: so many at once, each for so long.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Server;
use super::answer::{Peer, answer};

/// At once; one more waits until another ends.
const CONNECTIONS: usize = 256;
/// How long TLS may take to begin, and a request's head to come: of the next request too.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may last, whatever it does.
const LONGEST: Duration = Duration::from_secs(120);
/// What a request's head may have, bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// After the system had no room for one more.
const BREATH: Duration = Duration::from_millis(100);
/// How long answers that are under way may take at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Takes connections until it is told to stop.
pub(super) async fn accept(server: &Arc<Server>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            (server.options.say)(&format!("the web page cannot be served: {error}"));
            return;
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let server = Arc::clone(server);
        tokio::spawn(async move {
            // Whoever is too slow is cut off.
            let _ended = timeout(LONGEST, connection(&server, stream, peer)).await;
            drop(place);
        });
    }
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _all_ended = timeout(FAREWELL, room.acquire_many(all)).await;
}

async fn connection(server: &Arc<Server>, stream: TcpStream, address: SocketAddr) {
    let address = address.ip().to_canonical();
    let Some(tls) = server.tls() else {
        return requests(server, stream, Peer { address, has_certificate: false, is_tls: false }).await;
    };
    match timeout(HEAD, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => {
            // One that was not signed as is said does not come here.
            let has_certificate = stream.get_ref().1.peer_certificates().is_some_and(|all| !all.is_empty());
            requests(server, stream, Peer { address, has_certificate, is_tls: true }).await;
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
        Err(_) => {}
    }
}

async fn requests(server: &Arc<Server>, stream: impl AsyncRead + AsyncWrite + Unpin + Send, peer: Peer) {
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(server, peer, request).await));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(address = %peer.address, %error, "a connection ended early");
    }
}
