//! One command of a run: begun and ended by a note in the journal, so that it is done once and all know of it.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use strongroom_keys::random::{OsRandom, Random as _};
use strongroom_ops::config::{Config, Task, Text, Variable};
use strongroom_ops::history::History;
use strongroom_ops::run::{Began, Due, Ended, Job, RunResult, Work};
use strongroom_ops::{Cause, redacted};
use strongroom_repository::Repository;

use super::child::{self, Said};
use super::lock;
use super::progress::Teller;
use crate::audit;
use crate::configured::{self, Words};
use crate::context::{Context, host_of_run};
use crate::exit::PARTLY;
use crate::{clock, signals};

/// What is done, of what.
pub(in crate::commands) struct Step<'s, 'g> {
    pub(in crate::commands) context: &'s Context<'g>,
    pub(in crate::commands) config: &'s Config,
    /// Where the configuration is.
    pub(in crate::commands) path: &'s Path,
    pub(in crate::commands) work: Work,
    pub(in crate::commands) source: Option<&'s str>,
    /// By which date, where a schedule asks for it.
    pub(in crate::commands) due: Option<&'s Due>,
}

impl Step<'_, '_> {
    /// Does it. Whatever goes wrong is how it ended: the next is done all the same.
    pub(in crate::commands) fn run(
        &self,
        repository: &mut Repository,
        history: &mut History,
    ) -> anyhow::Result<Ended> {
        let began = self.began()?;
        let since = Instant::now();
        let begun = clock::now();
        let ended = |result, error: Option<String>| Ended {
            run: began.run.clone(),
            work: self.work,
            source: self.source.map(str::to_owned),
            host: began.host.clone(),
            result,
            exit_code: None,
            seconds: since.elapsed().as_secs_f64(),
            snapshot: None,
            error,
            left_out: None,
            cause: None,
        };
        let mut teller = Teller::new(self, &began, history, since)?;
        // Held until it has ended.
        let locked = lock::take(self.context, self.work, self.source)
            .and_then(|lock| Ok((lock, lock::domain(self.context)?)));
        let (_lock, domain) = match locked {
            Ok((Some(lock), domain)) => (lock, domain),
            Ok((None, _)) => {
                let why = "it is running already on this host".into();
                return Ok(ended(RunResult::Skipped, Some(why)));
            }
            Err(error) => return Ok(ended(RunResult::Failed, Some(format!("{error:#}")))),
        };
        let noted = Began { domain: Some(domain), ..began.clone() };
        let end = match self.running_before(repository, history, &noted) {
            Ok(None) => match self.words() {
                Ok(words) => self.go(repository, &noted, words, &mut teller, ended),
                Err(why) => ended(RunResult::Failed, Some(why)),
            },
            Ok(Some(who)) => ended(RunResult::Skipped, Some(who)),
            Err(error) => ended(RunResult::Failed, Some(format!("{error:#}"))),
        };
        // It goes into the journal, to channels, and onto the terminal.
        let error = end.error.as_deref().map(redacted);
        let end = Ended { left_out: self.left_out(&end, begun), error, ..end };
        let (event, detail) = end.to_note();
        self.context.note(repository, event, None, &detail);
        teller.finish(&end);
        Ok(end)
    }

    fn began(&self) -> anyhow::Result<Began> {
        let mut run = [0; 8];
        OsRandom.fill(&mut run)?;
        Ok(Began {
            run: hex::encode(run),
            work: self.work,
            source: self.source.map(str::to_owned),
            host: host_of_run(),
            pid: std::process::id(),
            date: self.due.and_then(|due| due.date),
            domain: None,
            lease_seconds: Began::lease_after(Duration::ZERO).as_secs(),
        })
    }

    /// The next date, where it came before this ended: nobody makes up for it.
    fn left_out(&self, end: &Ended, begun: Timestamp) -> Option<Timestamp> {
        let did_run = matches!(end.result, RunResult::Done | RunResult::Partly | RunResult::Failed);
        let job = Job { work: self.work, source: self.source.map(str::to_owned) };
        job.left_out(self.config, begun, clock::now()).filter(|_| did_run)
    }

    /// Says in the journal that it begins; gives who does the same elsewhere, and came first.
    fn running_before(
        &self,
        repository: &mut Repository,
        history: &mut History,
        own: &Began,
    ) -> anyhow::Result<Option<String>> {
        let (event, mut detail) = own.to_note();
        audit::sign(&mut detail);
        let number = repository.note(event, None, &detail.to_string())?;
        history.read_on(repository)?;
        if self.due.is_some_and(|due| due.is_done(history)) {
            return Ok(Some("it was done elsewhere meanwhile".into()));
        }
        Ok(history.running_before(own, number).map(|running| {
            let (host, since, until) = (&running.began.host, running.since, running.until());
            format!("it is running already on {host}, since {since}; if it was killed there, it can begin after {until}")
        }))
    }

    fn go(
        &self,
        repository: &mut Repository,
        began: &Began,
        mut words: Words,
        teller: &mut Teller,
        ended: impl Fn(RunResult, Option<String>) -> Ended,
    ) -> Ended {
        if teller.is_wanted() {
            words.arguments.retain(|word| !word.starts_with("--progress="));
            words.arguments.push("--progress=always".into());
        }
        let (arguments, variables) = words.into_arguments();
        let timeout = self.config.timeout(self.work, self.source);
        let since = Instant::now();
        let (mut last, mut lease) = (since, began.lease());
        let goes_on = |figures| {
            teller.look(figures);
            if last.elapsed() > lease / 2 {
                last = Instant::now();
                lease = Began::lease_after(since.elapsed());
                let again = Began { lease_seconds: lease.as_secs(), ..began.clone() };
                let (event, detail) = again.to_note();
                self.context.note(repository, event, None, &detail);
            }
        };
        match child::run(&arguments, &variables, timeout, goes_on) {
            Ok(said) => {
                teller.came(said.figures.clone());
                self.judged(&said, timeout, ended)
            }
            Err(error) => ended(RunResult::Failed, Some(format!("{error:#}"))),
        }
    }

    fn judged(
        &self,
        said: &Said,
        timeout: Option<Duration>,
        ended: impl Fn(RunResult, Option<String>) -> Ended,
    ) -> Ended {
        let code = said.status.code();
        let result = match code {
            Some(0) => RunResult::Done,
            Some(code) if code == i32::from(PARTLY) => RunResult::Partly,
            _ if signals::is_interrupted() && !said.timed_out => RunResult::Interrupted,
            _ => RunResult::Failed,
        };
        let why = || match said.last("error").and_then(|error| error["message"].as_str()) {
            Some(message) => message.to_owned(),
            None => said.how(),
        };
        let error = match (result, timeout.filter(|_| said.timed_out)) {
            (RunResult::Done | RunResult::Partly, _) => None,
            (RunResult::Interrupted, _) => Some("it was told to stop before it was done".into()),
            (_, Some(timeout)) => Some(format!("it was ended after {} s (timeout)", timeout.as_secs())),
            _ => Some(why()),
        };
        let cause = match (&error, timeout.filter(|_| said.timed_out)) {
            (None, _) => None,
            (Some(_), Some(_)) => Some(Cause::Timeout),
            (Some(_), None) => said.last("error").and_then(|error| error["cause"].as_str()).map(Cause::parse),
        };
        let id = said.last("backup").and_then(|backup| backup["snapshot"].as_str());
        Ended { exit_code: code, cause, snapshot: id.map(str::to_owned), ..ended(result, error) }
    }

    /// The command.
    pub(super) fn words(&self) -> Result<Words, String> {
        let command = configured::command();
        let mut words = match (self.work, self.source) {
            (Work::Backup, Some(source)) => self.backup(&command, source)?,
            (Work::Verify, Some(source)) => {
                let task = self.config.verify(source);
                self.task(&command, Words::new(["verify", "--source", source]), task)?
            }
            (Work::Forget, _) => {
                let words = Words::new(["forget", "--reason", "the configuration's retention"]);
                self.task(&command, words, Some(&self.config.forget))?
            }
            (Work::Backup | Work::Verify, None) => {
                return Err(format!("{} is of a source", self.work.name()));
            }
            (work, _) => {
                let words = Words::new(work.command().iter().copied());
                self.task(&command, words, self.config.task(work))?
            }
        };
        let config = self.path.display().to_string();
        words.arguments.extend(["--json".into(), "--config".into(), config]);
        words.arguments.extend(self.context.global.own_words.iter().cloned());
        Ok(words)
    }

    fn backup(&self, command: &clap::Command, source: &str) -> Result<Words, String> {
        let words = configured::backup_words(command, self.config, source, &Text::resolve);
        let mut words = words
            .ok_or_else(|| "the configuration does not say how it is backed up".to_owned())?
            .map_err(|problems| listed(&problems))?;
        let variables = self.config.source(source).map(|source| &source.environment[..]);
        for Variable { name, value, .. } in variables.unwrap_or_default() {
            let value = value.resolve().map_err(|error| format!("environment.{name}: {error}"))?;
            words.variables.push((name.clone(), value));
        }
        Ok(words)
    }

    fn task(&self, command: &clap::Command, words: Words, task: Option<&Task>) -> Result<Words, String> {
        configured::task_words(command, self.work, words, task).map_err(|problems| listed(&problems))
    }
}

fn listed(problems: &[strongroom_ops::config::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
