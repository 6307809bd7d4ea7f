//! A server that is further away.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http::server::Server;

/// Adds a delay to each request, as a round trip would; bodies flow at full speed, and requests on different
/// connections do not wait for each other.
#[derive(Debug)]
pub struct DelayProxy {
    server: Server,
}

impl DelayProxy {
    /// In front of `upstream`.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(upstream: SocketAddr, delay: Duration) -> Result<Self> {
        let server = Server::start(Some(upstream), move |exchange| {
            std::thread::sleep(delay);
            exchange.forward()
        });
        Ok(Self { server: server.context("no port for a proxy")? })
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::http::message::{Request, Response};
    use crate::http::{Answer, send};
    use crate::patience::wait_for;

    #[test]
    fn requests_wait_side_by_side() {
        const SENDERS: usize = 32;
        let arrived = Arc::new(AtomicUsize::new(0));
        // None is answered before all are there: one after the other they would wait in vain.
        let here = Arc::clone(&arrived);
        let echo = Server::start(None, move |exchange| {
            let body = exchange.body()?.to_vec();
            here.fetch_add(1, Ordering::SeqCst);
            wait_for("all requests are waited for", || here.load(Ordering::SeqCst) == SENDERS);
            exchange.answer(&Answer { head: Response::new(200), body })
        })
        .unwrap();
        let delay = Duration::from_millis(50);
        let proxy = DelayProxy::start(echo.address(), delay).unwrap();
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    let answer = send(proxy.address(), &Request::new("PUT", "/"), b"abc").unwrap();
                    assert_eq!(answer.text(), "abc");
                });
            }
        });
        assert!(started.elapsed() >= delay);
    }
}
