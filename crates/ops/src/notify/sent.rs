//! What was told to whom: a note in the journal.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::message::Message;
use crate::redacted;
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
    /// Whether any of these channels is to know something now.
    #[must_use]
    pub fn has_news(&self, channels: &[(String, Channel)], findings: &[Finding], now: Timestamp) -> bool {
        channels.iter().any(|(name, channel)| !self.message(name, channel, findings, "", now).is_empty())
    }

    /// Whether somebody was told this, and not yet that it is over.
    #[must_use]
    pub fn knows(&self, finding: &Finding) -> bool {
        self.channels.values().any(|told| known(told, finding).is_some())
    }

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
                && known(told, finding).is_none_or(|known| {
                    known.severity < finding.severity || now.duration_since(known.last) >= repeat_every
                })
        };
        let is_there = |key: &str, told: &Told| {
            findings.iter().any(|finding| channel.wants(finding) && is_of(key, told, finding))
        };
        Message {
            repository: redacted(repository),
            time: now,
            findings: findings.iter().filter(is_to_be_told).cloned().collect(),
            resolved: told
                .iter()
                .filter(|(key, told)| !is_there(key, told))
                .map(|(key, told)| format!("{key}: {}", redacted(&told.what)))
                .collect(),
        }
    }

    /// A channel was told all that there is.
    pub(super) fn told(&mut self, name: &str, findings: &[Finding], channel: &Channel, now: Timestamp) {
        let before = self.channels.remove(name).unwrap_or_default();
        let repeat_every = SignedDuration::try_from(channel.repeat_every).unwrap_or(SignedDuration::MAX);
        let told = findings.iter().filter(|finding| channel.wants(finding)).map(|finding| {
            let known = known(&before, finding).filter(|known| {
                known.severity >= finding.severity && now.duration_since(known.last) < repeat_every
            });
            let last = known.map_or(now, |known| known.last);
            (finding.key(), Told { last, severity: finding.severity, what: finding.what.clone() })
        });
        let told: BTreeMap<String, Told> = told.collect();
        if !told.is_empty() {
            self.channels.insert(name.to_owned(), told);
        }
    }
}

/// What was told of a finding.
fn known<'t>(told: &'t BTreeMap<String, Told>, finding: &Finding) -> Option<&'t Told> {
    told.iter().find(|(key, told)| is_of(key, told, finding)).map(|(_, told)| told)
}

/// Whether that was told of a finding. Notes of before knew of tasks and drills by what was said alone.
fn is_of(key: &str, told: &Told, finding: &Finding) -> bool {
    let is_named = |subject: &String| told.what.contains(subject.as_str());
    key == finding.key() || (key == finding.kind.name() && finding.subject.as_ref().is_some_and(is_named))
}

#[cfg(test)]
mod tests {
    use super::super::channel::Address;
    use super::*;
    use crate::config::Text;
    use crate::status::Kind;

    fn finding(kind: Kind, source: &str, what: &str) -> Finding {
        Finding::new(kind, what).of(source)
    }

    fn channel(min_severity: Severity) -> Channel {
        let address = Address::Slack(Text::parse("x"));
        let repeat_every = std::time::Duration::from_secs(3600);
        Channel { address, min_severity, repeat_every, progress_after: None, lines: Vec::new() }
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    #[test]
    fn each_is_told_once_and_again_after_a_time_and_when_it_is_gone() {
        let channel = channel(Severity::Critical);
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

    #[test]
    fn drills_and_tasks_are_told_each_by_itself_and_those_of_older_notes_once() {
        let channel = channel(Severity::Warning);
        let drill =
            |name: &str| Finding::new(Kind::DrillMissed, &format!("the {name} drill is due")).about(name);
        // As it was noted when the kind alone was the name.
        let mut sent: Sent =
            serde_json::from_value(serde_json::json!({ "channels": { "me": { "drill-missed": {
            "last": at(0), "severity": "warning", "what": "the monthly drill is due",
        } } } }))
            .unwrap();
        assert!(sent.knows(&drill("monthly")) && !sent.knows(&drill("quarterly")));
        let mut tell = |findings: &[Finding], minute| {
            let message = sent.message("me", &channel, findings, "repo", at(minute));
            sent.told("me", findings, &channel, at(minute));
            let what = message.findings.iter().map(|finding| finding.what.clone());
            (what.collect::<Vec<_>>(), message.resolved)
        };
        let none = (vec![], vec![]);
        assert_eq!(tell(&[drill("monthly")], 1), none);
        let both = [drill("monthly"), drill("quarterly")];
        assert_eq!(tell(&both, 2), (vec!["the quarterly drill is due".into()], vec![]));
        let over = vec!["monthly drill-missed: the monthly drill is due".to_owned()];
        assert_eq!(tell(&[drill("quarterly")], 3), (vec![], over));
    }
}
