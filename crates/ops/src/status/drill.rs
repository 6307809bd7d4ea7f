//! How things stand with drills.

use std::time::Duration;

use jiff::Timestamp;

use super::finding::{Finding, Kind};
use super::source::SourceStatus;
use crate::audit::{Drill, DrillResult};
use crate::config::{Config, When};
use crate::history::History;

/// How things stand with a drill.
#[derive(Debug, Clone)]
pub struct DrillStatus {
    /// As the configuration, or whoever noted it, calls it.
    pub name: String,
    /// What is practised.
    pub what: Option<String>,
    /// When it is due; `None` where nothing says it.
    pub when: Option<When>,
    /// Since when it is expected, where it was never held: since there is something to restore.
    pub expected_since: Option<Timestamp>,
    /// Those that were held, oldest first.
    pub held: Vec<(Timestamp, Drill)>,
}

impl DrillStatus {
    pub(super) fn all(history: &History, config: &Config, sources: &[SourceStatus]) -> Vec<Self> {
        let expected_since =
            sources.iter().filter_map(|source| source.backups.first()).map(|first| first.time).min();
        let mut names: Vec<&str> = config.drills.iter().map(|(name, _)| name.as_str()).collect();
        for (_, drill) in history.drills() {
            if !names.contains(&drill.drill.as_str()) {
                names.push(&drill.drill);
            }
        }
        let of = |name: &str| {
            let plan = config.drills.iter().find(|(known, _)| known == name).map(|(_, plan)| plan);
            let held = history.drills().iter().filter(|(_, drill)| drill.drill == name);
            Self {
                name: name.to_owned(),
                what: plan.and_then(|plan| plan.what()).map(str::to_owned),
                when: plan.and_then(|plan| plan.when(&config.zone)),
                expected_since,
                held: held.cloned().collect(),
            }
        };
        names.into_iter().map(of).collect()
    }

    /// From when on the next one is late.
    #[must_use]
    pub fn missed(&self) -> Option<Timestamp> {
        let last = self.held.last().map(|(held, _)| *held).or(self.expected_since)?;
        self.when.as_ref()?.missed(last, Duration::ZERO)
    }

    pub(super) fn findings(&self, now: Timestamp) -> Vec<Finding> {
        let finding = |kind, since, what: String| Finding::new(kind, &what).about(&self.name).since(since);
        let mut findings = Vec::new();
        if let Some(since) = self.missed().filter(|since| *since < now) {
            findings.push(finding(Kind::DrillMissed, since, format!("the {} drill is due", self.name)));
        }
        if let Some((held, last)) = self.held.last().filter(|(_, last)| last.result == DrillResult::Failed) {
            let text = last.text.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
            let what = format!("the last {} drill was not passed{text}", self.name);
            findings.push(finding(Kind::DrillFailed, *held, what));
        }
        findings
    }
}
