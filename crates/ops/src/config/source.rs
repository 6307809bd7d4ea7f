//! What is backed up, how often, and what is expected of it.

use std::time::Duration;

use serde::Deserialize;

use super::Problem;
use super::assertion::Assertion;
use super::retention::Retention;
use super::schedule::{Cron, duration};
use super::section::Section;
use super::slo::Slo;
use super::task::Task;
use super::text::Node;
use super::value::{Setting, Text, Variable, text};

/// One source. What it does not say, the configuration's own fields of the same name say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    /// Where it begins, from 1.
    pub line: usize,
    /// `postgres`, `redis`, ...; a source without one is backed up by other means, and has its retention here.
    pub engine: Option<String>,
    /// Options of `backup ENGINE`.
    pub options: Vec<Setting>,
    /// Variables of the environment in which it is backed up.
    pub environment: Vec<Variable>,
    /// How its restores are tested.
    pub verify: Option<Task>,
    pub(super) terms: Terms,
}

/// What may be said of one source, or of all.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Terms {
    /// When it is backed up: a cron expression.
    pub(super) schedule: Option<Cron>,
    /// A backup that takes longer is ended, and has failed.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) timeout: Option<Duration>,
    /// How much later than its date it may be begun.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) jitter: Option<Duration>,
    /// What is kept of it.
    pub(super) retention: Option<Retention>,
    /// How old the newest snapshot may become.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) expect_every: Option<Duration>,
    /// How much may be lost: the recovery point objective.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) rpo: Option<Duration>,
    /// How long a restore may take: the recovery time objective.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) rto: Option<Duration>,
    /// How long a backup may take before somebody is told.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) max_duration: Option<Duration>,
    /// By how much a size may differ from what is usual.
    pub(super) max_size_change_percent: Option<u32>,
    /// How old the newest segment of its log may become.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    pub(super) max_wal_lag: Option<Duration>,
    /// What must be true of a restored database.
    pub(super) assertions: Vec<Assertion>,
    /// What share of what is tried is to succeed.
    pub(super) slo: Option<Slo>,
}

impl Terms {
    /// As its fields are called.
    pub(super) const NAMES: [&str; 12] = [
        "schedule",
        "jitter",
        "timeout",
        "retention",
        "expect_every",
        "rpo",
        "rto",
        "max_duration",
        "max_size_change_percent",
        "max_wal_lag",
        "assertions",
        "slo",
    ];
}

impl Source {
    /// Fields that are its own, and no options of its backup.
    pub(super) const OWN: [&str; 3] = ["engine", "environment", "verify"];

    pub(super) fn read(line: usize, node: Node, problems: &mut Vec<Problem>) -> Self {
        let (terms, mut rest) = Section::split(node, &Terms::NAMES, problems);
        let mut source = Self { line, terms: terms.read(problems), ..Self::default() };
        if let Some((_, node)) = rest.take("engine") {
            match text(&node) {
                Some(Text::Literal(engine)) => source.engine = Some(engine),
                _ => problems.push(Problem {
                    line: node.line,
                    what: "`engine` names what is backed up: postgres, redis, files".into(),
                }),
            }
        }
        if let Some((_, node)) = rest.take("environment") {
            source.environment = environment(node, problems);
        }
        if let Some((_, node)) = rest.take("verify") {
            source.verify = Some(Task::read(node, problems));
        }
        source.options = rest.settings(problems);
        if source.engine.is_none()
            && let Some(option) = source.options.first()
        {
            let known = Terms::NAMES.iter().copied().chain(Self::OWN);
            let what = super::text::unknown(&option.name, known);
            problems.push(Problem {
                line: option.line,
                what: format!("{what} (options of a backup need an `engine`)"),
            });
        }
        source
    }
}

/// Variables, and what they are set to.
pub(super) fn environment(node: Node, problems: &mut Vec<Problem>) -> Vec<Variable> {
    let mut variables = Vec::new();
    for (key, node) in Section::new(node, problems).into_fields() {
        match text(&node) {
            Some(_) if key.name.is_empty() || key.name.contains(['=', '\0']) => {
                problems
                    .push(Problem { line: key.line, what: format!("`{}` cannot be a variable", key.name) });
            }
            Some(value) => variables.push(Variable { line: key.line, name: key.name, value }),
            None => problems.push(Problem {
                line: key.line,
                what: format!("`{}` is {}: a variable is a text", key.name, node.kind()),
            }),
        }
    }
    variables
}
