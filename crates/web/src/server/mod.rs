//! Answers requests from what was published last. One thread, one runtime of its own: nothing of the repository is ever read here, so
//! that a store that is away keeps nobody waiting.

mod answer;
mod connection;
mod form;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::ServerConfig;
use strongroom_ops::metrics;
use tokio::sync::watch;

pub use self::tls::{TlsFiles, tls};
use crate::access::{Access, AccessError, Gate};
use crate::view::{Reading, View};

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nobody, or everybody, would be let in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The address cannot be had.
    #[error("cannot listen on {listen}")]
    Listen {
        /// It.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("{path} cannot be used for TLS: {what}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The system gives no thread.
    #[error("the web server cannot be started")]
    Start(#[source] io::Error),
}

/// How to serve.
pub struct ServerOptions {
    /// Who may look.
    pub access: Access,
    /// With which certificate; without one by plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// How often somebody means to publish: what is three times as old is old.
    pub refresh: Duration,
    /// What a person should know of those who ask.
    pub say: Box<dyn Fn(&str) + Send + Sync>,
    /// The time that is shown.
    pub clock: fn() -> Timestamp,
    /// Random bytes, of which nobody can guess any.
    pub random: fn(&mut [u8]) -> io::Result<()>,
}

/// What is published, and who may see it.
pub struct Server {
    options: ServerOptions,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    gate: Mutex<Gate>,
    known: Mutex<Known>,
    alive: Mutex<(Instant, usize)>,
}

#[derive(Default)]
struct Known {
    view: Option<Arc<View>>,
    metrics: Arc<str>,
    reading: Reading,
    /// By this process's own clock, which nobody sets.
    read: Option<Instant>,
}

/// A server that listens; it ends with this.
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The longest that the scheduler may stand still before this process is said to be dead.
const STILL: Duration = Duration::from_secs(60);

impl Server {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(mut options: ServerOptions) -> Arc<Self> {
        let tls = options.tls.take();
        let gate = Gate::new(options.access);
        let known = Known { metrics: metrics::without_access().into(), ..Known::default() };
        let alive = (Instant::now(), 0);
        Arc::new(Self {
            options,
            tls: Mutex::new(tls),
            gate: Mutex::new(gate),
            known: Mutex::new(known),
            alive: Mutex::new(alive),
        })
    }

    /// Shows this from now on. Nothing in it is secret any more afterwards.
    pub fn publish(&self, view: View) {
        let view = view.redacted();
        let metrics = metrics::exposition(&view.status, &view.bucket).into();
        let reading = Reading { last: Some(view.status.now), error: None };
        *locked(&self.known) =
            Known { view: Some(Arc::new(view)), metrics, reading, read: Some(Instant::now()) };
    }

    /// It could not be read; what was known is shown as that.
    pub fn failed(&self, why: &str) {
        locked(&self.known).reading.error = Some(strongroom_ops::redacted(why));
    }

    /// The scheduler moves, and has begun so many runs that have not ended.
    pub fn beat(&self, running: usize) {
        *locked(&self.alive) = (Instant::now(), running);
    }

    /// Lets others in from now on, and shows another certificate.
    pub fn change(&self, access: Access, tls: Option<Arc<ServerConfig>>) {
        locked(&self.gate).change(access);
        *locked(&self.tls) = tls;
    }

    /// Begins to answer.
    ///
    /// # Errors
    /// `Access`, `Listen`, `Start`.
    pub fn listen(self: &Arc<Self>, listen: SocketAddr) -> Result<Listening, ServerError> {
        self.options.access.check(listen)?;
        let at = |source| ServerError::Listen { listen, source };
        let listener = TcpListener::bind(listen).map_err(at)?;
        listener.set_nonblocking(true).map_err(at)?;
        let address = listener.local_addr().map_err(at)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServerError::Start)?;
        let (stop, stopped) = watch::channel(false);
        let server = Arc::clone(self);
        let thread = std::thread::Builder::new().name("strongroom-web".into()).spawn(move || {
            runtime.block_on(connection::accept(&server, listener, stopped));
        });
        Ok(Listening { address, stop, thread: Some(thread.map_err(ServerError::Start)?) })
    }

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        locked(&self.tls).clone()
    }

    /// What there is to show: the view, the metrics, how reading went.
    fn known(&self) -> (Option<Arc<View>>, Arc<str>, Reading) {
        let known = locked(&self.known);
        (known.view.clone(), Arc::clone(&known.metrics), self.reading(&known))
    }

    /// Somebody who reads and does not come back is a failure too.
    fn reading(&self, known: &Known) -> Reading {
        let old = self.options.refresh.saturating_mul(3).max(Duration::from_secs(30));
        let is_old = known.read.is_some_and(|read| read.elapsed() > old);
        let late = || {
            format!(
                "reading it has not come to an end: the last time was {} s ago",
                known.read.map_or(0, |read| read.elapsed().as_secs())
            )
        };
        let error = known.reading.error.clone().or_else(|| is_old.then(late));
        Reading { error, ..known.reading.clone() }
    }

    /// For how long the scheduler has stood still, where that is too long; and how many runs there are.
    fn stood_still(&self) -> (Option<Duration>, usize) {
        let (last, running) = *locked(&self.alive);
        (Some(last.elapsed()).filter(|still| *still > STILL), running)
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        locked(&self.gate)
    }
}

impl Listening {
    /// Takes no more connections, and ends those that are there within a second or two.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _nobody_listens = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whoever panicked while it held it left it whole: nothing here is changed in two steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
