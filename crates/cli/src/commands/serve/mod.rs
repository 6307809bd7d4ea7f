//! `serve`: what the configuration wants done, when it is due, until it is told to stop.
//!
//! Four threads, and one for each run: this one decides what is begun and never waits for the store; one reads the journal on; one
//! answers requests from what that one published; one tells people what was found. A run opens the repository for itself, looks once more whether somebody else has
//! done it, and is a process of its own, as those of `run` are.

mod alerter;
mod reader;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use strongroom_keys::random::{OsRandom, Random as _};
use strongroom_ops::config::Config;
use strongroom_ops::history::History;
use strongroom_ops::run::{Due, Ended, Scheduler};
use strongroom_repository::monitor::Monitor as _;
use strongroom_web::{Listening, Server, ServerOptions};

use self::alerter::Alerter;
use self::reader::{Reader, Shared};
use self::settings::Settings;
pub(super) use self::settings::wrong as wrong_settings;
use super::run::{Step, tell};
use crate::arguments::{Global, Serve};
use crate::context::{Context, host_of_run};
use crate::exit::Outcome;
use crate::{clock, configured, exit, signals};

/// How often it is asked what is due.
const TICK: Duration = Duration::from_millis(250);

pub(crate) fn run(context: &Context<'_>, arguments: &Serve) -> anyhow::Result<Outcome> {
    let path = configured::path(context.global.config.as_ref());
    let (config, _) = configured::read(&path)?;
    let settings = Settings::new(arguments, &config)?;
    signals::be_patient().context("cannot listen for signals")?;
    let server = Server::new(ServerOptions {
        access: settings.access,
        tls: settings.tls.clone(),
        refresh: settings.refresh,
        say: say(context.global),
        clock: clock::now,
        random: |out| OsRandom.fill(out).map_err(std::io::Error::other),
    });
    let listening = server.listen(settings.listen)?;
    tell_listening(context, &settings, &listening);
    let shared = Arc::new(Shared::default());
    if config.is_off {
        context.terminal.warn("nothing is run: BACKUP_ENABLED says that backups are off");
    }
    let schedules = !arguments.no_schedule && !config.is_off;
    shared.set_config(config);
    let alerter = Alerter {
        global: context.global.clone(),
        shared: Arc::clone(&shared),
        by_default: schedules,
        never: arguments.no_alerts,
    };
    let reader = Reader {
        global: context.global.clone(),
        shared: Arc::clone(&shared),
        server: Arc::clone(&server),
        refresh: settings.refresh,
        schedules,
        alerts: alerter.start()?,
    };
    let wake = reader.start()?;
    let (done, ended) = channel();
    let domain = if schedules { Some(super::run::lock_domain(context)?) } else { None };
    let scheduler = Scheduler::new(&host_of_run(), domain, settings.parallel);
    let mut serving = Serving {
        context,
        arguments,
        path,
        shared,
        server,
        scheduler,
        settings,
        schedules,
        wake,
        done,
        ended,
    };
    serving.until_told_to_stop();
    serving.finish();
    listening.stop();
    signals::settle();
    Ok(Outcome::Done)
}

fn say(global: &Global) -> Box<dyn Fn(&str) + Send + Sync> {
    let global = global.clone();
    Box::new(move |what| Context::of(&global).terminal.warn(what))
}

fn tell_listening(context: &Context<'_>, settings: &Settings, listening: &Listening) {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listening.address);
    if context.global.json {
        context.json(&json!({ "type": "serve", "url": url, "address": listening.address.to_string() }));
    }
    context.terminal.say(&format!("listening on {url}"));
    if settings.tls.is_none() && !listening.address.ip().is_loopback() {
        context.terminal.warn("the token crosses the network unencrypted: give --tls-cert and --tls-key, or put a proxy with TLS before it");
    }
}

/// How a run went.
enum Went {
    Ended(Ended),
    /// Somebody else had done it.
    DoneElsewhere,
    /// Nobody but this process knows that it was to be.
    NotBegun(String),
}

struct Serving<'s, 'g> {
    context: &'s Context<'g>,
    arguments: &'s Serve,
    path: PathBuf,
    shared: Arc<Shared>,
    server: Arc<Server>,
    scheduler: Scheduler,
    settings: Settings,
    schedules: bool,
    wake: SyncSender<()>,
    done: Sender<(Due, Went)>,
    ended: Receiver<(Due, Went)>,
}

impl Serving<'_, '_> {
    fn until_told_to_stop(&mut self) {
        while !signals::is_interrupted() {
            if signals::take_reload() {
                self.reload();
            }
            self.server.beat(self.scheduler.running());
            // What has just been done is not known to be before the journal is read again; this scheduler knows what it began.
            if let Some(history) = self.shared.history().filter(|_| self.schedules) {
                let config = self.shared.config();
                for due in self.scheduler.due(&config, &history, clock::now()) {
                    self.begin(due, &config, &history);
                }
            }
            self.take_ended();
        }
    }

    /// Those that run have been told to stop, and are killed when they do not.
    fn finish(&mut self) {
        let running = self.scheduler.running();
        if running > 0 {
            if self.context.global.json {
                self.context.json(&json!({ "type": "stopping", "running": running }));
            }
            self.context.terminal.say(&format!("waiting for {running} to stop"));
        }
        while self.scheduler.running() > 0 {
            self.server.beat(self.scheduler.running());
            self.take_ended();
        }
    }

    fn begin(&mut self, due: Due, config: &Arc<Config>, history: &Arc<History>) {
        let (global, path, done) = (self.context.global.clone(), self.path.clone(), self.done.clone());
        let (config, history, run) = (Arc::clone(config), Arc::clone(history), due.clone());
        let thread = std::thread::Builder::new().name(due.job.to_string());
        let begun = thread.spawn(move || {
            let context = Context::of(&global);
            let went = go(&context, &config, &path, &run, &history);
            let went = went.unwrap_or_else(|error| Went::NotBegun(exit::describe(&error).0));
            // Whoever waits for it is there as long as it runs.
            let _nobody = done.send((run, went));
        });
        match begun {
            Ok(_) => self.scheduler.began(due.job, clock::now()),
            Err(error) => {
                self.context
                    .terminal
                    .warn(&format!("{} cannot be begun, and is tried again: {error}", due.job));
                self.scheduler.not_begun(&due.job, clock::now());
            }
        }
    }

    fn take_ended(&mut self) {
        let first = match self.ended.recv_timeout(TICK) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        };
        let rest: Vec<_> = self.ended.try_iter().collect();
        for (due, went) in std::iter::once(first).chain(rest) {
            match went {
                Went::Ended(end) => {
                    tell(self.context, &end);
                    if let Some(date) = end.left_out {
                        let what = format!(
                            "{} took longer than it is to its next date: {date} is left out",
                            due.job
                        );
                        self.context.terminal.warn(&what);
                    }
                    self.scheduler.ended(&due.job, &self.shared.config(), clock::now());
                }
                Went::DoneElsewhere => {
                    self.scheduler.ended(&due.job, &self.shared.config(), clock::now());
                }
                Went::NotBegun(why) => {
                    let what = format!("{} cannot be begun, and is tried again in a minute: {why}", due.job);
                    self.context.terminal.warn(&what);
                    self.scheduler.not_begun(&due.job, clock::now());
                }
            }
        }
        // It reads already where this is full.
        let _full = self.wake.try_send(());
    }

    /// A configuration that is wrong leaves all as it was.
    fn reload(&mut self) {
        let read = configured::read(&self.path);
        let read = read.and_then(|(config, _)| {
            let settings = Settings::new(self.arguments, &config)?;
            // It listens where it did.
            settings.access.check(self.settings.listen)?;
            Ok((settings, config))
        });
        let (settings, config) = match read {
            Ok(read) => read,
            Err(error) => {
                let (what, _) = exit::describe(&error);
                self.context.terminal.warn(&format!("the configuration stays as it was: {what}"));
                return;
            }
        };
        let before = self.shared.config();
        let fixed = [
            ("serve.listen", settings.listen != self.settings.listen),
            ("serve.refresh", settings.refresh != self.settings.refresh),
            ("serve.parallel", settings.parallel != self.settings.parallel),
            ("[serve] tls_cert (TLS was off, or is)", settings.tls.is_some() != self.settings.tls.is_some()),
            ("[repository]", config.repository != before.repository),
            ("[environment]", config.environment != before.environment),
        ];
        for (what, _) in fixed.iter().filter(|(_, changed)| *changed) {
            self.context.terminal.warn(&format!("{what} changed: that needs a new start"));
        }
        let tls = settings
            .tls
            .clone()
            .filter(|_| self.settings.tls.is_some())
            .or_else(|| self.settings.tls.clone());
        self.server.change(settings.access, tls);
        self.shared.set_config(config);
        self.context.terminal.say("the configuration was read again");
        if self.context.global.json {
            self.context.json(&json!({ "type": "reload" }));
        }
        let _full = self.wake.try_send(());
    }
}

fn go(
    context: &Context<'_>,
    config: &Config,
    path: &std::path::Path,
    due: &Due,
    history: &History,
) -> anyhow::Result<Went> {
    let mut repository = context.open()?;
    let mut history = history.clone();
    history.read_on(&repository)?;
    if due.is_done(&history) {
        return Ok(Went::DoneElsewhere);
    }
    let (work, source) = (due.job.work, due.job.source.as_deref());
    let step = Step { context, config, path, work, source, due: Some(due) };
    Ok(Went::Ended(step.run(&mut repository, &mut history)?))
}
