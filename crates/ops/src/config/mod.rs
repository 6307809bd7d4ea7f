//! The configuration, `strongroom.toml` (or YAML, or JSON): what is backed up when, what is to be kept of it, and what is expected.

mod assertion;
mod audit;
mod doubt;
mod drill;
mod duration;
mod import;
mod problem;
mod retention;
mod schedule;
mod schema;
mod section;
mod serve;
mod size;
mod slo;
mod source;
mod storage;
mod suggestion;
mod task;
mod text;
mod value;
mod variables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use strongroom_repository::retention::Keep;

pub use self::assertion::Assertion;
pub use self::audit::AuditRules;
pub use self::drill::DrillPlan;
pub use self::duration::parse_duration;
pub use self::import::{Imported, import};
pub use self::problem::Problem;
use self::retention::Retention;
pub(crate) use self::schedule::duration;
pub use self::schedule::{Times, When, Zone};
pub(crate) use self::schema::Span;
pub use self::schema::{Known, schema};
use self::section::Section;
pub use self::serve::Serve;
pub use self::size::parse_bytes;
pub use self::slo::Slo;
pub use self::source::Source;
use self::source::Terms;
pub use self::storage::Storage;
pub use self::suggestion::{meant, suggestion};
pub use self::task::Task;
use self::text::{Node, Value};
pub use self::value::{OptionValue, ReferenceError, Setting, Text, Variable};
pub use self::variables::{FromEnvironment, VARIABLES};
use crate::notify::Channel;
use crate::run::Work;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what a configuration is; says where.
    #[error("the configuration {path} is wrong:{}", problem::listed(.problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// By their lines.
        problems: Vec<Problem>,
    },
}

/// What is expected of a source; what is not said is not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expectations {
    /// How old the newest snapshot may become.
    pub expect_every: Option<Duration>,
    /// How much may be lost: the recovery point objective.
    pub rpo: Option<Duration>,
    /// How long a restore may take: the recovery time objective.
    pub rto: Option<Duration>,
    /// How long a backup may take.
    pub max_duration: Option<Duration>,
    /// By how much a snapshot's size may differ from what is usual.
    pub max_size_change_percent: Option<u32>,
    /// For how long nothing may be archived of its log.
    pub max_wal_lag: Option<Duration>,
}

/// What a configuration says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// How large the repository may become.
    pub storage: Storage,
    /// How `serve` listens.
    pub serve: Serve,
    /// Whom to tell what was found.
    pub notify: Vec<(String, Channel)>,
    /// What people practise, by its name.
    pub drills: Vec<(String, DrillPlan)>,
    /// What is demanded of the audit trail.
    pub audit: AuditRules,
    /// Who is to open the repository, as `init` takes it.
    pub recipients: Vec<String>,
    /// Where they stand, from 1.
    pub recipients_line: usize,
    /// Nothing is to be done by schedules or `run`: `BACKUP_ENABLED=false`.
    pub is_off: bool,
    /// Options of every command: where the repository is, and how it is opened. `url` is where.
    pub repository: Vec<Setting>,
    /// Variables of the environment of every command.
    pub environment: Vec<Variable>,
    /// Of all schedules.
    pub zone: Zone,
    /// What is taken out of the repository when, by the retention of each source.
    pub forget: Task,
    /// When what no base backup needs of log archives is given up; without it, by hand alone.
    pub wal_expire: Option<Task>,
    /// When what is new is copied to a second repository, and which; without it, by hand alone.
    pub sync: Option<Task>,
    /// When what no snapshot needs is freed.
    pub prune: Task,
    /// When the repository is checked.
    pub check: Task,
    /// In the order of the file.
    pub sources: Vec<(String, Source)>,
    /// Of sources that say nothing else.
    verify: Option<Task>,
    terms: Terms,
}

impl Config {
    /// Fields of the configuration itself, beside those that a source may have as well.
    const KEYS: [&str; 16] = [
        "repository",
        "environment",
        "storage",
        "serve",
        "notify",
        "time_zone",
        "verify",
        "forget",
        "wal_expire",
        "sync",
        "prune",
        "check",
        "sources",
        "drills",
        "audit",
        "recipients",
    ];

    /// Reads a file.
    ///
    /// # Errors
    /// `Unreadable`; `Invalid`, with all that is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let (config, problems) = Self::look(path)?;
        match problems.is_empty() {
            true => Ok(config),
            false => Err(ConfigError::Invalid { path: path.to_owned(), problems }),
        }
    }

    /// What a file says, and what is wrong with it; what is wrong says nothing.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn look(path: &Path) -> Result<(Self, Vec<Problem>), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Ok(Self::parse(&text, path))
    }

    fn parse(text: &str, path: &Path) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let config = match Node::parse(text, path) {
            Ok(node) => Self::of_node(node, &mut problems),
            Err(wrong) => {
                problems = wrong;
                Self::default()
            }
        };
        problems.sort();
        problems.dedup();
        (config, problems)
    }

    fn of_node(node: Node, problems: &mut Vec<Problem>) -> Self {
        let (terms, rest) = Section::split(node, &Terms::NAMES, problems);
        let mut config = Self { terms: terms.read(problems), ..Self::default() };
        for (key, node) in rest.into_fields() {
            match key.name.as_str() {
                "repository" => config.repository = repository(node, problems),
                "environment" => config.environment = source::environment(node, problems),
                "time_zone" => match serde::Deserialize::deserialize(node) {
                    Ok(zone) => config.zone = zone,
                    Err(problem) => problems.push(problem),
                },
                "notify" => {
                    for (key, node) in Section::new(node, problems).into_fields() {
                        let known = problems.len();
                        let section = Section::new(node, problems);
                        let lines = section.lines();
                        match Channel::new(section.read(problems), lines) {
                            _ if problems.len() > known => {}
                            Ok(channel) => config.notify.push((key.name, channel)),
                            Err(what) => problems.push(Problem { line: key.line, what: what.into() }),
                        }
                    }
                }
                "serve" => config.serve = Serve::read(node, problems),
                "drills" => {
                    for (key, node) in Section::new(node, problems).into_fields() {
                        match serde::Deserialize::deserialize(node) {
                            Ok(plan) => config.drills.push((key.name, plan)),
                            Err(Problem { line, what }) => {
                                problems
                                    .push(Problem { line: if line == 0 { key.line } else { line }, what });
                            }
                        }
                    }
                }
                "audit" => config.audit = Section::new(node, problems).read(problems),
                "recipients" => match serde::Deserialize::deserialize(node) {
                    Ok(recipients) => (config.recipients, config.recipients_line) = (recipients, key.line),
                    Err(problem) => problems.push(problem),
                },
                "storage" => config.storage = Section::new(node, problems).read(problems),
                "verify" => config.verify = Some(Task::read(node, problems)),
                "forget" => config.forget = Task::read(node, problems),
                "wal_expire" => config.wal_expire = Some(Task::read(node, problems)),
                "sync" => config.sync = Some(Task::read(node, problems)),
                "prune" => config.prune = Task::read(node, problems),
                "check" => config.check = Task::read(node, problems),
                "sources" => {
                    for (key, node) in Section::new(node, problems).into_fields() {
                        let source = Source::read(key.line, node, problems);
                        config.sources.push((key.name, source));
                    }
                }
                name => {
                    let known = Self::KEYS.into_iter().chain(Terms::NAMES);
                    problems.push(Problem { line: key.line, what: text::unknown(name, known) });
                }
            }
        }
        config
    }

    /// The source of a name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|(known, _)| known == name).map(|(_, source)| source)
    }

    /// What a restore test of a source asks.
    #[must_use]
    pub fn assertions(&self, source: &str) -> &[Assertion] {
        self.source(source).map(|source| source.terms.assertions.as_slice()).unwrap_or_default()
    }

    /// What is kept of a source; `None` where nothing is said, so that all is.
    #[must_use]
    pub fn keep(&self, source: &str) -> Option<Keep> {
        self.term(source, |terms| terms.retention.as_ref()).map(Retention::keep)
    }

    /// When a source is backed up; `None` where only by hand, or by another's schedule.
    #[must_use]
    pub fn schedule(&self, source: &str) -> Option<When> {
        // It was read before.
        self.term(source, |terms| terms.schedule.as_ref())?.within(&self.zone).ok()
    }

    /// How a restore of a source is tested; `None` where it is not.
    #[must_use]
    pub fn verify(&self, source: &str) -> Option<&Task> {
        self.source(source).and_then(|source| source.verify.as_ref()).or(self.verify.as_ref())
    }

    /// When something is done of the repository, and how; `None` where it is not known what to do.
    #[must_use]
    pub fn task(&self, work: Work) -> Option<&Task> {
        match work {
            Work::Forget => Some(&self.forget),
            Work::WalExpire => self.wal_expire.as_ref(),
            Work::Sync => self.sync.as_ref(),
            Work::Prune => Some(&self.prune),
            Work::Check => Some(&self.check),
            Work::Backup | Work::Verify => None,
        }
    }

    /// What is expected of a source.
    #[must_use]
    pub fn expectations(&self, source: &str) -> Expectations {
        Expectations {
            expect_every: self.term(source, |terms| terms.expect_every),
            rpo: self.term(source, |terms| terms.rpo),
            rto: self.term(source, |terms| terms.rto),
            max_duration: self.term(source, |terms| terms.max_duration),
            max_size_change_percent: self.term(source, |terms| terms.max_size_change_percent),
            max_wal_lag: self.term(source, |terms| terms.max_wal_lag),
        }
    }

    /// How much later than its date a source may be begun, or without one what is done of the repository.
    #[must_use]
    pub fn jitter(&self, source: Option<&str>) -> Option<Duration> {
        self.term(source.unwrap_or_default(), |terms| terms.jitter)
    }

    /// Whether a source says for itself what else holds for all.
    #[must_use]
    pub fn says_itself(&self, source: &str, field: &str) -> bool {
        self.source(source).is_some_and(|source| match field {
            "schedule" => source.terms.schedule.is_some(),
            "retention" => source.terms.retention.is_some(),
            _ => false,
        })
    }

    /// Whether a source is to archive its log: it says itself how late that may be, or all do and it is a cluster's base backup.
    #[must_use]
    pub fn expects_log(&self, source: &str) -> bool {
        let is_physical = |source: &Source| {
            let is_on =
                |option: &Setting| option.name == "physical" && option.value == OptionValue::Flag(true);
            source.engine.as_deref() == Some("postgres") && source.options.iter().any(is_on)
        };
        self.source(source).is_some_and(|source| {
            source.terms.max_wal_lag.is_some() || (self.terms.max_wal_lag.is_some() && is_physical(source))
        })
    }

    /// What share of what is tried of a source is to succeed.
    #[must_use]
    pub fn slo(&self, source: &str) -> Slo {
        self.term(source, |terms| terms.slo).unwrap_or_default()
    }

    /// When a source is backed up, as it is written.
    #[must_use]
    pub fn schedule_text(&self, source: &str) -> Option<&str> {
        self.term(source, |terms| terms.schedule.as_ref()).map(schedule::Cron::text)
    }

    /// After how long something is ended, and has failed: what its own table says; of a backup, and of a restore test that says nothing
    /// itself, what is said of the source.
    #[must_use]
    pub fn timeout(&self, work: Work, source: Option<&str>) -> Option<Duration> {
        let of_source = || self.term(source?, |terms| terms.timeout);
        match work {
            Work::Backup => of_source(),
            Work::Verify => self.verify(source?).and_then(Task::timeout).or_else(of_source),
            work => self.task(work)?.timeout(),
        }
    }

    fn term<'c, T>(&'c self, source: &str, of: impl Fn(&'c Terms) -> Option<T>) -> Option<T> {
        self.source(source).and_then(|source| of(&source.terms)).or_else(|| of(&self.terms))
    }
}

/// A text alone is where it is.
fn repository(node: Node, problems: &mut Vec<Problem>) -> Vec<Setting> {
    match node.value {
        Value::Text(text) => {
            let value = OptionValue::One(Text::parse(&text));
            vec![Setting { line: node.line, name: "url".into(), value }]
        }
        _ => Section::new(node, problems).settings(problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn parse(text: &str) -> (Config, Vec<Problem>) {
        Config::parse(text, Path::new("strongroom.toml"))
    }

    #[test]
    fn a_source_says_for_itself_or_the_default_does() {
        let (config, problems) = parse(
            r#"
            time_zone = "Europe/Berlin"
            schedule = "0 2 * * *"

            [retention]
            days = 30

            [sources.ledger.retention]
            days = 30
            compliance_days = 2555
            keep_monthly = 12

            [sources.scratch]
            schedule = "@hourly"
            "#,
        );
        assert_eq!(problems, []);
        let operational = config.keep("coordinator-db").unwrap();
        assert_eq!(operational.within, Some(30 * DAY));
        assert_eq!(config.keep("scratch").unwrap(), operational);
        let ledger = config.keep("ledger").unwrap();
        assert_eq!(ledger.tags_within, [("compliance".to_owned(), 2555 * DAY)]);
        assert_eq!(ledger.periods.values().collect::<Vec<_>>(), [&12]);
        assert_eq!(Config::default().keep("ledger"), None);
        let next = |source| config.schedule(source).unwrap().next("2026-07-01T01:30:00Z".parse().unwrap());
        assert_eq!(next("ledger"), Some("2026-07-02T00:00:00Z".parse().unwrap()));
        assert_eq!(next("scratch"), Some("2026-07-01T02:00:00Z".parse().unwrap()));
    }

    #[test]
    fn each_thing_that_is_done_has_a_timeout_of_its_own() {
        let (config, problems) = parse(
            "timeout = \"6h\"\n[verify]\ntimeout = \"2h\"\n[check]\ntimeout = \"1d\"\nsample = 10\n[sync]\nto_repo = \"x\"\n\
             timeout = \"5h\"\n[sources.a]\ntimeout = \"1h\"\n[sources.b.verify]\nevery = \"1d\"\n",
        );
        assert_eq!(problems, []);
        let hours = |work, source| config.timeout(work, source).map(|timeout| timeout.as_secs() / 3600);
        assert_eq!([hours(Work::Backup, Some("a")), hours(Work::Backup, Some("b"))], [Some(1), Some(6)]);
        assert_eq!([hours(Work::Verify, Some("a")), hours(Work::Verify, Some("b"))], [Some(2), Some(6)]);
        assert_eq!([hours(Work::Check, None), hours(Work::Sync, None)], [Some(24), Some(5)]);
        // A check of all there is may well take longer than any backup.
        assert_eq!([hours(Work::Prune, None), hours(Work::WalExpire, None)], [None, None]);
        assert_eq!(config.check.options.len(), 1);
        let (_, problems) = parse("[prune]\ntimeout = \"3 moons\"");
        assert_eq!((problems.len(), problems[0].line), (1, 2), "{problems:?}");
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text = "[retention]\nday = 30\n\n[sources.a]\ntypo = 1\nretention = 5\n\n[sources.b.retention]\nkeep_within = \"3 moons\"\n\n\
                    [[sources.b.assertions]]\nname = \"x\"\n\n[typo]\nschedle = 1\n";
        let (_, problems) = parse(text);
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 5, 6, 9, 11, 14], "{problems:?}");
        assert!(problems[0].what.contains("is `days` meant?"), "{problems:?}");
        assert!(problems[3].what.contains("3 moons") && problems[4].what.contains("sql"), "{problems:?}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            ("[retention]\nday = 30", "days"),
            ("[retention]\nkeep_within = \"30 moons\"", "30 moons"),
            ("\n[retention]\n", "keeps nothing"),
            ("[retention]\ndays = 0", "0"),
            ("\ntime_zone = \"Mars\"", "IANA"),
            ("\nschedule = \"0 25 * * *\"", "0..=23"),
            ("\nschedle = \"0 2 * * *\"", "is `schedule` meant?"),
            ("[verify]\nevery = \"1d\"\nschedule = \"@daily\"", "either"),
            ("[serve]\nlisten = \"localhost\"", "127.0.0.1:9898"),
            ("[serve]\ntoken = \"s3cret\"", "env:NAME"),
            ("[serve]\ntls_key = \"k.pem\"", "belong together"),
            ("[serve]\ntokn = \"x\"", "is `token` meant?"),
        ] {
            let (_, problems) = parse(text);
            let [problem] = &problems[..] else { panic!("one problem: {problems:?}") };
            assert!(problem.what.contains(said) && problem.line <= 2, "{text}: {problem}");
        }
    }

    #[test]
    fn options_are_those_of_commands_and_secrets_are_elsewhere() {
        let (config, problems) = parse(
            r#"
            repository = "s3://backups/strongroom"
            [environment]
            AWS_SECRET_ACCESS_KEY = "file:/run/secrets/aws"
            [sources.shop]
            engine = "postgres"
            dbname = "env:DATABASE_URL"
            exclude_table = ["audit.*", "tmp_*"]
            physical = false
            dumps = 4
            [sources.shop.environment]
            PGSSLMODE = "require"
            [sources.shop.verify]
            every = "1d"
            scratch_dir = "/scratch"
            "#,
        );
        assert_eq!(problems, []);
        assert_eq!(config.repository[0].value, OptionValue::One(Text::parse("s3://backups/strongroom")));
        assert_eq!(config.environment[0].value, Text::File("/run/secrets/aws".into()));
        let shop = config.source("shop").unwrap();
        assert_eq!(shop.engine.as_deref(), Some("postgres"));
        assert_eq!(shop.options[0].value, OptionValue::One(Text::Environment("DATABASE_URL".into())));
        assert_eq!(
            shop.options[1].value,
            OptionValue::Many(vec![Text::parse("audit.*"), Text::parse("tmp_*")])
        );
        assert_eq!(shop.options[2].value, OptionValue::Flag(false));
        assert_eq!(shop.options[3].value, OptionValue::One(Text::parse("4")));
        let verify = config.verify("shop").unwrap();
        assert!(matches!(verify.when(&config.zone), Some(When::Every(DAY))));
        assert_eq!(verify.options[0].name, "scratch_dir");
    }
}
