//! What was told to whom: a note in the journal.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::message::Message;
use crate::status::{Finding, Severity};

/// The event of the note.
pub const SENT: &str = "alerts-sent";

/// What each channel was told and has not been told the end of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    channels: BTreeMap<String, BTreeMap<String, Told>>,
}

/// A finding that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    last: Timestamp,
    severity: Severity,
    what: String,
}

impl Sent {
    /// What a channel is to know now: what is new, or worse, or was told too long ago; and what is gone.
    pub(super) fn message(
        &self,
        name: &str,
        channel: &Channel,
        findings: &[Finding],
        repository: &str,
        now: Timestamp,
    ) -> Message {
        let none = BTreeMap::new();
        let told = self.channels.get(name).unwrap_or(&none);
        let repeat_every = SignedDuration::try_from(channel.repeat_every).unwrap_or(SignedDuration::MAX);
        let is_to_be_told = |finding: &&Finding| {
            channel.wants(finding)
                && told.get(&key(finding)).is_none_or(|known| {
                    known.severity < finding.severity || now.duration_since(known.last) >= repeat_every
                })
        };
        let is_there =
            |known: &str| findings.iter().any(|finding| channel.wants(finding) && key(finding) == known);
        Message {
            repository: repository.to_owned(),
            time: now,
            findings: findings.iter().filter(is_to_be_told).cloned().collect(),
            resolved: told
                .iter()
                .filter(|(key, _)| !is_there(key))
                .map(|(key, told)| format!("{key}: {}", told.what))
                .collect(),
        }
    }

    /// A channel was told all that there is.
    pub(super) fn told(&mut self, name: &str, findings: &[Finding], channel: &Channel, now: Timestamp) {
        let before = self.channels.remove(name).unwrap_or_default();
        let repeat_every = SignedDuration::try_from(channel.repeat_every).unwrap_or(SignedDuration::MAX);
        let told = findings.iter().filter(|finding| channel.wants(finding)).map(|finding| {
            let key = key(finding);
            let known = before.get(&key).filter(|known| {
                known.severity >= finding.severity && now.duration_since(known.last) < repeat_every
            });
            let last = known.map_or(now, |known| known.last);
            (key, Told { last, severity: finding.severity, what: finding.what.clone() })
        });
        let told: BTreeMap<String, Told> = told.collect();
        if !told.is_empty() {
            self.channels.insert(name.to_owned(), told);
        }
    }
}

/// What makes two findings one: what is said of it changes from day to day.
fn key(finding: &Finding) -> String {
    match &finding.source {
        Some(source) => format!("{source} {}", finding.kind.name()),
        None => finding.kind.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::Address;
    use super::*;
    use crate::config::Text;
    use crate::status::Kind;

    fn finding(kind: Kind, source: &str, what: &str) -> Finding {
        Finding {
            kind,
            severity: kind.severity(),
            source: Some(source.into()),
            since: None,
            what: what.into(),
        }
    }

    #[test]
    fn each_is_told_once_and_again_after_a_time_and_when_it_is_gone() {
        let channel = Channel {
            address: Address::Slack(Text::parse("x")),
            min_severity: Severity::Critical,
            repeat_every: std::time::Duration::from_secs(3600),
            progress_after: None,
        };
        let at = |minute: i64| Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        let mut sent = Sent::default();
        let mut tell = |findings: &[Finding], minute| {
            let message = sent.message("me", &channel, findings, "repo", at(minute));
            sent.told("me", findings, &channel, at(minute));
            let what = message.findings.iter().map(|finding| finding.what.clone());
            (what.collect::<Vec<_>>(), message.resolved)
        };
        let one = [
            finding(Kind::BackupFailed, "db", "failed once"),
            finding(Kind::BackupSlow, "db", "only a warning"),
        ];
        assert_eq!(tell(&one, 0), (vec!["failed once".into()], vec![]));
        let twice = [finding(Kind::BackupFailed, "db", "failed twice")];
        assert_eq!(tell(&twice, 30), (vec![], vec![]));
        assert_eq!(tell(&twice, 60), (vec!["failed twice".into()], vec![]));
        assert_eq!(tell(&twice, 119), (vec![], vec![]));
        let other = [finding(Kind::BackupFailed, "cache", "failed")];
        let gone = vec!["db backup-failed: failed twice".to_owned()];
        assert_eq!(tell(&other, 119), (vec!["failed".into()], gone));
        assert_eq!(tell(&[], 120).1, ["cache backup-failed: failed"]);
        assert_eq!(tell(&[], 121), (vec![], vec![]));
    }
}
