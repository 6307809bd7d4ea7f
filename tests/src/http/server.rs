//! A server that answers by a function, or passes on to another server: the frame of every proxy of the tests.
//!
//! Each client connection has a thread and, once something is passed on, a connection of its own to the other
//! server, so that whatever keeps connections apart in front keeps them apart behind.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::Answer;
use super::connection::Connection;
use super::message::{Framing, Request, Response};

/// What becomes of the client's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It waits for the next request.
    KeepAlive,
    /// It ends in order, after what was written.
    Close,
    /// It breaks: what was written may be lost.
    Reset,
}

/// Decides what happens with one request.
type Handler = dyn Fn(&mut Exchange<'_>) -> io::Result<Next> + Send + Sync;

/// A listener on a free loopback port; dropping it cuts every connection.
pub struct Server {
    address: SocketAddr,
    upstream: Option<SocketAddr>,
    handler: Arc<Handler>,
    running: Mutex<Option<Running>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).field("upstream", &self.upstream).finish()
    }
}

struct Running {
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    next: AtomicU64,
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl Server {
    /// Starts it. A handler that fails closes the connection it was called for.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(
        upstream: Option<SocketAddr>,
        handler: impl Fn(&mut Exchange<'_>) -> io::Result<Next> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let server = Self { address, upstream, handler: Arc::new(handler), running: Mutex::new(None) };
        server.listen(listener);
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a slash at the end.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts every connection and refuses new ones.
    pub fn stop(&self) {
        let Some(running) = locked(&self.running).take() else { return };
        running.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then closes the listener.
        let _woken = TcpStream::connect(self.address);
        let _ended = running.acceptor.join();
        for stream in locked(&running.shared.open).values() {
            let _cut = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again on the port that it had before [`Server::stop`].
    ///
    /// # Errors
    /// When somebody else has the port now.
    pub fn resume(&self) -> io::Result<()> {
        if locked(&self.running).is_none() {
            self.listen(TcpListener::bind(self.address)?);
        }
        Ok(())
    }

    fn listen(&self, listener: TcpListener) {
        let shared = Arc::new(Shared::default());
        let (upstream, handler) = (self.upstream, Arc::clone(&self.handler));
        let of_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, upstream, &handler, &of_acceptor));
        *locked(&self.running) = Some(Running { shared, acceptor });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(
    listener: &TcpListener,
    upstream: Option<SocketAddr>,
    handler: &Arc<Handler>,
    shared: &Arc<Shared>,
) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let Ok(clone) = stream.try_clone() else { continue };
        locked(&shared.open).insert(number, clone);
        let (handler, shared) = (Arc::clone(handler), Arc::clone(shared));
        std::thread::spawn(move || {
            let next = Connection::over(stream).and_then(|mut client| {
                let served = serve(&mut client, upstream, &*handler);
                if let Ok(Next::Reset) = served {
                    set_socket_linger(client.stream(), Some(Duration::ZERO))?;
                }
                Ok(served)
            });
            // The last descriptor of the connection: now it ends, in order or not.
            locked(&shared.open).remove(&number);
            drop(next);
        });
    }
}

fn serve(client: &mut Connection, upstream: Option<SocketAddr>, handler: &Handler) -> io::Result<Next> {
    let mut upstream = Upstream { address: upstream, connection: None };
    while let Some(request) = client.read_request()? {
        let closes = request.headers.says_close();
        let mut exchange = Exchange { request, client, upstream: &mut upstream, body: Body::Waiting };
        let next = handler(&mut exchange)?;
        if next != Next::KeepAlive || closes {
            return Ok(next);
        }
    }
    Ok(Next::Close)
}

struct Upstream {
    address: Option<SocketAddr>,
    connection: Option<Connection>,
}

impl Upstream {
    /// The connection of the last request if it is still good, else a new one.
    fn take(&mut self) -> io::Result<Connection> {
        if let Some(connection) = self.connection.take().filter(Connection::is_idle) {
            return Ok(connection);
        }
        Connection::open(self.address.ok_or(io::ErrorKind::NotConnected)?)
    }
}

/// One request, to be answered, passed on, or dropped.
pub struct Exchange<'a> {
    /// Its head; what is passed on is the head as the handler left it.
    pub request: Request,
    client: &'a mut Connection,
    upstream: &'a mut Upstream,
    body: Body,
}

enum Body {
    /// Still to be read from the client.
    Waiting,
    Held(Vec<u8>),
    Gone,
}

impl Exchange<'_> {
    /// The body of the request, without its transfer encoding; [`Exchange::forward`] still sends it.
    ///
    /// # Errors
    /// When the client ends early.
    pub fn body(&mut self) -> io::Result<&[u8]> {
        if let Body::Waiting = self.body {
            self.ask_for_body()?;
            let body = self.client.read_body(self.request.framing()?)?;
            self.request.headers.remove("Transfer-Encoding");
            self.request.headers.set("Content-Length", &body.len().to_string());
            self.body = Body::Held(body);
        }
        match &self.body {
            Body::Held(body) => Ok(body),
            Body::Waiting | Body::Gone => Ok(&[]),
        }
    }

    /// Passes on another body in place of the client's, which was read before.
    pub fn replace_body(&mut self, body: Vec<u8>) {
        self.request.headers.set("Content-Length", &body.len().to_string());
        self.body = Body::Held(body);
    }

    /// Passes the request on and the answer back, both as they come.
    ///
    /// # Errors
    /// When either side ends early; the client then sees its connection end.
    pub fn forward(&mut self) -> io::Result<Next> {
        self.forward_unless(|_| None)
    }

    /// As [`Exchange::forward`], unless `replace` gives another answer for a head that came back.
    ///
    /// # Errors
    /// When either side ends early; the client then sees its connection end.
    pub fn forward_unless(&mut self, replace: impl FnOnce(&Response) -> Option<Answer>) -> io::Result<Next> {
        let (mut connection, mut head) = self.pass_on()?;
        if let Some(answer) = replace(&head) {
            return self.answer(&answer);
        }
        let framing = head.framing(&self.request.method)?;
        let reusable = !head.headers.says_close() && framing != Framing::UntilClose;
        head.headers.remove("Connection");
        head.headers.remove("Keep-Alive");
        if framing == Framing::UntilClose {
            head.headers.add("Connection", "close");
        }
        self.client.write_response(&head)?;
        connection.copy_body(framing, &mut self.client.stream())?;
        if reusable {
            self.upstream.connection = Some(connection);
        }
        Ok(if framing == Framing::UntilClose { Next::Close } else { Next::KeepAlive })
    }

    /// Passes the request on and gives the whole answer to the handler.
    ///
    /// # Errors
    /// When either side ends early.
    pub fn fetch(&mut self) -> io::Result<Answer> {
        let (mut connection, mut head) = self.pass_on()?;
        let framing = head.framing(&self.request.method)?;
        let body = connection.read_body(framing)?;
        if !head.headers.says_close() && framing != Framing::UntilClose {
            self.upstream.connection = Some(connection);
        }
        for name in ["Connection", "Keep-Alive", "Transfer-Encoding"] {
            head.headers.remove(name);
        }
        Ok(Answer { head, body })
    }

    /// Answers the client. A body of the request that nobody wanted is read first, or not asked for.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn answer(&mut self, answer: &Answer) -> io::Result<Next> {
        let mut head = answer.head.clone();
        let is_head = self.request.method == "HEAD";
        if !is_head && head.status != 204 {
            head.headers.set("Content-Length", &answer.body.len().to_string());
        }
        let next = self.discard_body()?;
        if next != Next::KeepAlive {
            head.headers.set("Connection", "close");
        }
        self.client.write_response(&head)?;
        if !is_head {
            self.client.stream().write_all(&answer.body)?;
        }
        Ok(next)
    }

    /// Answers with the head of `answer` and only so many bytes of its body; the head is not adapted to that. What
    /// becomes of the connection is the handler's to say.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn answer_in_part(&mut self, answer: &Answer, body_bytes: usize) -> io::Result<()> {
        let mut head = answer.head.clone();
        if self.request.method != "HEAD" {
            head.headers.set("Content-Length", &answer.body.len().to_string());
        }
        self.discard_body()?;
        self.client.write_response(&head)?;
        self.client.stream().write_all(&answer.body[..body_bytes.min(answer.body.len())])
    }

    /// Writes the first half of the head of `answer`: no client can take that for an answer.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn answer_with_half_a_head(&mut self, answer: &Answer) -> io::Result<()> {
        let text = answer.head.text();
        self.discard_body()?;
        self.client.stream().write_all(&text[..text.len() / 2])
    }

    fn discard_body(&mut self) -> io::Result<Next> {
        if !matches!(std::mem::replace(&mut self.body, Body::Gone), Body::Waiting) {
            return Ok(Next::KeepAlive);
        }
        if self.request.expects_continue() {
            // It is not on its way yet, and may never be.
            return Ok(Next::Close);
        }
        self.client.copy_body(self.request.framing()?, &mut io::sink())?;
        Ok(Next::KeepAlive)
    }

    fn ask_for_body(&mut self) -> io::Result<()> {
        if self.request.expects_continue() {
            self.client.write_response(&Response::new(100))?;
        }
        Ok(())
    }

    fn pass_on(&mut self) -> io::Result<(Connection, Response)> {
        let mut connection = self.upstream.take()?;
        connection.write_request(&self.request)?;
        let mut writer = Patient { stream: connection.stream(), failed: None };
        match std::mem::replace(&mut self.body, Body::Gone) {
            Body::Waiting => {
                self.ask_for_body()?;
                self.client.copy_body(self.request.framing()?, &mut writer)?;
            }
            Body::Held(body) => {
                writer.write_all(&body)?;
                self.body = Body::Held(body);
            }
            Body::Gone => {}
        }
        let failed = writer.failed;
        let head = connection.read_response().map_err(|error| failed.unwrap_or(error))?;
        Ok((connection, head))
    }
}

/// Writes until it cannot: who refuses a request without reading its body closes early, and has answered.
struct Patient<'a> {
    stream: &'a TcpStream,
    failed: Option<io::Error>,
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none() {
            match self.stream.write(bytes) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => self.failed = Some(error),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handler that panicked fails its own test; the others go on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::send;

    /// Answers with the method, the target and the body.
    fn echo() -> Server {
        Server::start(None, |exchange| {
            let mut text = format!("{} {} ", exchange.request.method, exchange.request.target).into_bytes();
            text.extend_from_slice(exchange.body()?);
            exchange.answer(&Answer { head: Response::new(200), body: text })
        })
        .unwrap()
    }

    fn passing_on(to: &Server) -> Server {
        Server::start(Some(to.address()), |exchange| exchange.forward()).unwrap()
    }

    #[test]
    fn requests_pass_through() {
        let echo = echo();
        let proxy = passing_on(&echo);
        let body = vec![b'x'; 3 << 20];
        let answer = send(proxy.address(), &Request::new("PUT", "/a?b"), &body).unwrap();
        assert_eq!(answer.head.status, 200);
        assert!(answer.body == [&b"PUT /a?b "[..], &body].concat());
        // Several on one connection, one of them chunked.
        let mut connection = Connection::open(proxy.address()).unwrap();
        for _ in 0..3 {
            let request = Request::new("POST", "/c").with("Transfer-Encoding", "chunked");
            connection.write_request(&request).unwrap();
            connection.stream().write_all(b"3\r\nabc\r\n0\r\n\r\n").unwrap();
            assert_eq!(connection.read_answer("POST").unwrap().text(), "POST /c abc");
        }
    }

    #[test]
    fn a_client_that_waits_is_told_to_go_on() {
        let echo = echo();
        let proxy = passing_on(&echo);
        let mut connection = Connection::open(proxy.address()).unwrap();
        let request = Request::new("PUT", "/a").with("Content-Length", "2").with("Expect", "100-continue");
        connection.write_request(&request).unwrap();
        // Nothing of the body is sent before the interim answer is there.
        let mut interim = [0; 25];
        io::Read::read_exact(&mut connection.stream(), &mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        connection.stream().write_all(b"ok").unwrap();
        assert_eq!(connection.read_answer("PUT").unwrap().text(), "PUT /a ok");
    }

    #[test]
    fn a_refusal_before_the_body_reaches_the_client() {
        let refusing = Server::start(None, |exchange| {
            let refusal = Answer { head: Response::new(403), body: b"no".to_vec() };
            exchange.answer_in_part(&refusal, 2)?;
            Ok(Next::Close)
        })
        .unwrap();
        let proxy = passing_on(&refusing);
        let answer = send(proxy.address(), &Request::new("PUT", "/a"), &vec![0; 8 << 20]).unwrap();
        assert_eq!((answer.head.status, answer.text().as_str()), (403, "no"));
    }

    #[test]
    fn it_stops_and_comes_back() {
        let server = echo();
        let request = Request::new("GET", "/");
        assert!(send(server.address(), &request, b"").is_ok());
        let mut open = Connection::open(server.address()).unwrap();
        server.stop();
        assert!(send(server.address(), &request, b"").is_err());
        assert!(open.write_request(&request).and_then(|()| open.read_response()).is_err());
        server.resume().unwrap();
        assert!(send(server.address(), &request, b"").is_ok());
    }

    #[test]
    fn a_server_that_is_not_there_is_an_early_end() {
        let gone = echo().address();
        let proxy = Server::start(Some(gone), |exchange| exchange.forward()).unwrap();
        assert!(send(proxy.address(), &Request::new("GET", "/"), b"").is_err());
    }
}
