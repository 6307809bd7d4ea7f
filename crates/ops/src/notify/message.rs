//! What somebody is told.

use jiff::Timestamp;
use serde_json::json;

use super::letter::{self, Letter};
use crate::status::{Finding, Severity};

/// What is new, and what is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Of which repository.
    pub repository: String,
    /// As of when.
    pub time: Timestamp,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What is found no more.
    pub resolved: Vec<String>,
}

impl Message {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty() && self.resolved.is_empty()
    }

    /// In one line.
    #[must_use]
    pub fn subject(&self) -> String {
        let critical = self.findings.iter().filter(|finding| finding.severity == Severity::Critical).count();
        let what = match (&self.findings[..], critical) {
            ([], _) if self.resolved.len() == 1 => format!("over: {}", self.resolved[0]),
            ([], _) => format!("{} findings are over", self.resolved.len()),
            ([one], _) => format!("{}: {}", one.severity.name(), line(one)),
            (all, 0) => format!("{} warnings", all.len()),
            (all, critical) => format!("{} findings, {critical} critical", all.len()),
        };
        letter::subject(&what)
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\nas of {}\n\n", self.repository, self.time);
        for finding in &self.findings {
            text.push_str(&format!("{:<8} {}", finding.severity.name(), line(finding)));
            if let Some(since) = finding.since {
                text.push_str(&format!(" (since {since})"));
            }
            text.push('\n');
        }
        for resolved in &self.resolved {
            text.push_str(&format!("over     {resolved}\n"));
        }
        text
    }

    pub(super) fn letter(&self) -> Letter {
        let json = json!({
            "type": "strongroom.alert", "repository": self.repository, "time": self.time, "subject": self.subject(),
            "findings": self.findings, "resolved": self.resolved,
        });
        Letter { subject: self.subject(), text: self.text(), json }
    }
}

fn line(finding: &Finding) -> String {
    match &finding.source {
        Some(source) => format!("{source}: {}", finding.what),
        None => finding.what.clone(),
    }
}
