//! Tells the configuration's channels what the reader found, on a thread of its own: who does not answer holds up nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use strongroom_ops::config::Config;
use strongroom_ops::notify::{SENT, Sent};
use strongroom_ops::status::Finding;
use strongroom_repository::monitor::Monitor as _;

use super::reader::Shared;
use crate::arguments::Global;
use crate::commands::alerts::{self, Untold, WithoutAccess};
use crate::context::Context;

/// For how long a finding stands before it is told: what waits for its turn, or is away for a moment, is none.
const STANDS: SignedDuration = SignedDuration::from_mins(1);
/// Nobody is told anything sooner after the last time.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// What the reader found.
pub(super) struct News {
    /// As of when.
    pub(super) now: Timestamp,
    /// What stands in the repository, or why it cannot be read.
    pub(super) found: Result<Found, String>,
}

/// In the repository.
pub(super) struct Found {
    /// What somebody should know.
    pub(super) findings: Vec<Finding>,
    /// What of it was told.
    pub(super) sent: Sent,
}

/// Tells it until this process ends.
pub(super) struct Alerter {
    pub(super) global: Global,
    pub(super) shared: Arc<Shared>,
    /// Whether it does so where the configuration says nothing.
    pub(super) by_default: bool,
    /// `--no-alerts`
    pub(super) never: bool,
}

impl Alerter {
    /// Begins; tells of what is sent to what this gives.
    pub(super) fn start(self) -> anyhow::Result<Sender<News>> {
        let (news, received) = channel();
        let thread = std::thread::Builder::new().name("strongroom-alerts".into());
        thread.spawn(move || self.tell_on(&received)).context("nobody can be told what is found")?;
        Ok(news)
    }

    fn tell_on(&self, received: &Receiver<News>) {
        let context = Context::of(&self.global);
        let mut known = match WithoutAccess::read(&context) {
            Ok(without_access) => Known {
                without_access,
                unnoted: None,
                standing: Standing::default(),
                told: None,
                warned: BTreeSet::new(),
            },
            Err(error) => return context.terminal.warn(&format!("nobody is told what is found: {error:#}")),
        };
        while let Ok(first) = received.recv() {
            // While somebody did not answer, the reader read on.
            let newest = received.try_iter().last().unwrap_or(first);
            let config = self.shared.config();
            if self.never || !config.serve.alerts.unwrap_or(self.by_default) {
                continue;
            }
            if let Err(error) = self.look(&context, &config, &newest, &mut known) {
                known.warn(&context, String::new(), &format!("nobody was told what was found: {error:#}"));
            }
        }
    }

    fn look(
        &self,
        context: &Context<'_>,
        config: &Config,
        news: &News,
        known: &mut Known,
    ) -> anyhow::Result<()> {
        let now = news.now;
        let found = match &news.found {
            Ok(found) => found,
            Err(why) => {
                let sent = &known.without_access.sent;
                let findings = known.standing.of(vec![alerts::no_access(why)], sent, now);
                return known.tell_without_access(context, config, &findings, now);
            }
        };
        // What was told of that is over.
        known.tell_without_access(context, config, &[], now)?;
        let sent = known.unnoted.as_ref().unwrap_or(&found.sent);
        let findings = known.standing.of(found.findings.clone(), sent, now);
        if !sent.has_news(&config.notify, &findings, now) || !known.may_tell(now) {
            return Ok(());
        }
        // Another host, or a `monitor`, may have told it since the journal was read.
        let mut repository = context.open()?;
        let mut history = self.shared.history().map(|history| (*history).clone()).unwrap_or_default();
        history.read_on(&repository)?;
        let mut sent = known.unnoted.take().unwrap_or_else(|| history.sent().clone());
        known.told = Some(now);
        let untold = alerts::tell(context, config, &findings, &mut sent, now)?;
        known.warn_of(context, untold);
        if sent != *history.sent()
            && let Err(error) = context.write_note(&mut repository, SENT, None, serde_json::to_value(&sent)?)
        {
            // A host that may not write: this process at least does not tell it again.
            let what = format!("the journal does not know what was told: {error:#}");
            known.warn(context, SENT.to_owned(), &what);
            known.unnoted = Some(sent);
        }
        Ok(())
    }
}

/// What this process knows beside the journal.
struct Known {
    without_access: WithoutAccess,
    /// What was told and could not be noted.
    unnoted: Option<Sent>,
    standing: Standing,
    /// When anybody was told anything.
    told: Option<Timestamp>,
    /// Of whom it was said that they cannot be reached: once, and not every minute.
    warned: BTreeSet<String>,
}

impl Known {
    fn may_tell(&self, now: Timestamp) -> bool {
        self.told.is_none_or(|told| now < told || now.duration_since(told) >= PAUSE)
    }

    fn tell_without_access(
        &mut self,
        context: &Context<'_>,
        config: &Config,
        findings: &[Finding],
        now: Timestamp,
    ) -> anyhow::Result<()> {
        if !self.without_access.sent.has_news(&config.notify, findings, now) || !self.may_tell(now) {
            return Ok(());
        }
        self.told = Some(now);
        let untold = self.without_access.tell(context, config, findings, now)?;
        self.warn_of(context, untold);
        Ok(())
    }

    fn warn_of(&mut self, context: &Context<'_>, untold: Vec<Untold>) {
        self.warned.retain(|name| untold.iter().any(|untold| untold.name == *name));
        for untold in untold {
            let what = untold.to_string();
            self.warn(context, untold.name, &what);
        }
    }

    fn warn(&mut self, context: &Context<'_>, name: String, what: &str) {
        if self.warned.insert(name) {
            context.terminal.warn(what);
        }
    }
}

/// Since when each finding stands.
#[derive(Default)]
struct Standing(BTreeMap<String, Timestamp>);

impl Standing {
    /// Those that stand for long enough to be told, or of which somebody knows already.
    fn of(&mut self, mut findings: Vec<Finding>, sent: &Sent, now: Timestamp) -> Vec<Finding> {
        self.0.retain(|key, _| findings.iter().any(|finding| finding.key() == *key));
        findings.retain(|finding| {
            let since = *self.0.entry(finding.key()).or_insert(now);
            // A clock that was set back tells nothing.
            let stands = now < since || now.duration_since(since) >= STANDS;
            stands || sent.knows(finding)
        });
        findings
    }
}

#[cfg(test)]
mod tests {
    use strongroom_ops::status::Kind;

    use super::*;

    #[test]
    fn what_is_gone_within_a_minute_is_told_to_nobody() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let missed = || Finding::new(Kind::BackupMissed, "late").of("db");
        let failed = || Finding::new(Kind::BackupFailed, "failed").of("db");
        let mut standing = Standing::default();
        let none = Sent::default();
        let mut of = |findings: Vec<Finding>, second| {
            standing.of(findings, &none, at(second)).iter().map(Finding::key).collect::<Vec<_>>()
        };
        assert_eq!(of(vec![missed(), failed()], 0), [""; 0]);
        assert_eq!(of(vec![failed()], 15), [""; 0]);
        // It begins anew.
        assert_eq!(of(vec![missed(), failed()], 60), ["db backup-failed"]);
        assert_eq!(of(vec![missed(), failed()], 120), ["db backup-missed", "db backup-failed"]);
        // What somebody was told before this process began is no news, and is not over either.
        let told = serde_json::json!({ "last": at(0), "severity": "critical", "what": "failed" });
        let sent = serde_json::json!({ "channels": { "me": { "db backup-failed": told } } });
        let sent: Sent = serde_json::from_value(sent).unwrap();
        let known = Standing::default().of(vec![missed(), failed()], &sent, at(0));
        assert_eq!(known.iter().map(Finding::key).collect::<Vec<_>>(), ["db backup-failed"]);
    }
}
