//! What is done now and then beside backups: restore tests, forgetting, expiring, copying, pruning, checking.

use std::time::Duration;

use serde::Deserialize;

use super::Problem;
use super::schedule::{Cron, When, Zone, duration};
use super::section::Section;
use super::text::Node;
use super::value::Setting;

/// When, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Task {
    /// Where it begins, from 1; 0 where nothing is said of it.
    pub line: usize,
    due: Due,
    /// Options of its command.
    pub options: Vec<Setting>,
}

/// When something is due (by neither, only by hand), and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Due {
    /// When it is due: a cron expression.
    pub(super) schedule: Option<Cron>,
    /// So long after the last time it is due.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) every: Option<Duration>,
    /// What takes longer is ended, and has failed.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) timeout: Option<Duration>,
}

impl Due {
    /// `None` where it says nothing.
    pub(super) fn when(&self, zone: &Zone) -> Option<When> {
        // It was read before.
        let at = self.schedule.as_ref().and_then(|cron| cron.within(zone).ok());
        at.or(self.every.map(When::Every))
    }
}

impl Task {
    pub(super) const OWN: [&str; 3] = ["schedule", "every", "timeout"];

    pub(super) fn read(node: Node, problems: &mut Vec<Problem>) -> Self {
        let line = node.line;
        let (own, rest) = Section::split(node, &Self::OWN, problems);
        let due: Due = own.read(problems);
        if due.schedule.is_some() && due.every.is_some() {
            problems.push(Problem { line, what: "either `schedule` or `every` says when it is due".into() });
        }
        Self { line, due, options: rest.settings(problems) }
    }

    /// When it is due.
    #[must_use]
    pub fn when(&self, zone: &Zone) -> Option<When> {
        self.due.when(zone)
    }

    /// After how long it is ended, and has failed.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.due.timeout
    }
}
