//! What is to be done now: a pure function of the configuration, of what was done, and of the time.

use jiff::Timestamp;

use super::note::Work;
use crate::config::{Config, Source, When};
use crate::history::History;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// These sources; none: all that the configuration backs up.
    pub sources: Vec<String>,
    /// Only this, and now; none: backups now, all else when it is due.
    pub only: Vec<Work>,
    /// Nothing that is not due.
    pub due: bool,
}

/// Something that may be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// What.
    pub work: Work,
    /// Of which source, where it is of one.
    pub source: Option<String>,
}

impl Job {
    /// When it is due; `None` where only by hand.
    #[must_use]
    pub fn when(&self, config: &Config) -> Option<When> {
        let source = self.source.as_deref();
        let task = match self.work {
            Work::Backup => return config.schedule(source?),
            Work::Verify => config.verify(source?),
            work => config.task(work),
        };
        task?.when(&config.zone)
    }

    /// The next date after it was begun, where it has come by now: what still ran then leaves it out.
    #[must_use]
    pub fn left_out(&self, config: &Config, begun: Timestamp, now: Timestamp) -> Option<Timestamp> {
        self.when(config)?.next(begun).filter(|next| *next <= now)
    }

    /// All that a configuration has, in the order in which it is done.
    #[must_use]
    pub fn all(config: &Config) -> Vec<Self> {
        let mut all = Vec::new();
        for (name, _) in config.sources.iter().filter(|(_, source)| is_backed_up(source)) {
            all.extend([Work::Backup, Work::Verify].map(|work| Self { work, source: Some(name.clone()) }));
        }
        all.extend(Work::OF_REPOSITORY.map(|work| Self { work, source: None }));
        all
    }
}

impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.work.name())?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, " of {source}"))
    }
}

/// What is done, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What, and of which source.
    pub steps: Vec<(Work, Option<String>)>,
}

impl Plan {
    /// What is to be done now.
    #[must_use]
    pub fn new(config: &Config, history: &History, chosen: &Chosen, now: Timestamp) -> Self {
        let is_asked = |work| chosen.only.is_empty() || chosen.only.contains(&work);
        let is_named = |name: &String| chosen.sources.is_empty() || chosen.sources.contains(name);
        let now_or_due = |work: Work, is_due: bool| {
            let is_always = (work == Work::Backup || !chosen.only.is_empty()) && !chosen.due;
            is_asked(work) && (is_always || is_due)
        };
        let is_due = |work, source: Option<&str>| {
            let when = Job { work, source: source.map(str::to_owned) }.when(config);
            when.is_some_and(|when| when.is_due(history.last(work, source), now))
        };
        let mut steps = Vec::new();
        for (name, source) in config.sources.iter().filter(|(name, _)| is_named(name)) {
            if !is_backed_up(source) {
                continue;
            }
            if now_or_due(Work::Backup, is_due(Work::Backup, Some(name))) {
                steps.push((Work::Backup, Some(name.clone())));
            }
            if now_or_due(Work::Verify, is_due(Work::Verify, Some(name))) {
                steps.push((Work::Verify, Some(name.clone())));
            }
        }
        if !chosen.sources.is_empty() {
            return Self { steps };
        }
        for work in Work::OF_REPOSITORY {
            if config.task(work).is_some() && now_or_due(work, is_due(work, None)) {
                steps.push((work, None));
            }
        }
        Self { steps }
    }
}

fn is_backed_up(source: &Source) -> bool {
    source.engine.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        schedule = "0 2 * * *"
        [verify]
        every = "7d"
        [forget]
        schedule = "30 2 * * *"
        [wal_expire]
        keep_within = "7d"
        [check]
        every = "30d"
        [sources.shop]
        engine = "postgres"
        [sources.cache]
        engine = "redis"
        schedule = "@hourly"
        [sources.elsewhere]
    "#;

    fn plan(chosen: &Chosen) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, CONFIG).unwrap();
        let config = Config::read(&file).unwrap();
        let mut history = History::default();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        history.done(Work::Backup, Some("shop".into()), at("2026-11-22T02:00:05Z"));
        history.done(Work::Backup, Some("cache".into()), at("2026-11-22T02:00:05Z"));
        history.done(Work::Verify, Some("shop".into()), at("2026-11-22T02:10:00Z"));
        history.done(Work::Forget, None, at("2026-11-22T02:30:00Z"));
        let plan = Plan::new(&config, &history, chosen, at("2026-11-22T03:00:00Z"));
        plan.steps
            .iter()
            .map(|(work, source)| format!("{} {}", work.name(), source.as_deref().unwrap_or_default()))
            .collect()
    }

    #[test]
    fn backups_are_done_and_all_else_when_it_is_due() {
        let all = Chosen::default();
        assert_eq!(plan(&all), ["backup shop", "backup cache", "verify cache", "check "]);
        let due = Chosen { due: true, ..all.clone() };
        assert_eq!(plan(&due), ["backup cache", "verify cache", "check "]);
        let shop = Chosen { sources: vec!["shop".into()], ..all };
        assert_eq!(plan(&shop), ["backup shop"]);
    }

    #[test]
    fn what_is_asked_for_is_done() {
        let only = |work: &[Work]| Chosen { only: work.to_vec(), ..Chosen::default() };
        assert_eq!(plan(&only(&[Work::Verify, Work::Prune])), ["verify shop", "verify cache", "prune "]);
        let due = Chosen { due: true, ..only(&[Work::Verify]) };
        assert_eq!(plan(&due), ["verify cache"]);
        assert_eq!(plan(&only(&[Work::Forget])), ["forget "]);
        // What has no table does not know what to do.
        assert_eq!(plan(&only(&[Work::Prune, Work::Sync, Work::WalExpire])), ["wal-expire ", "prune "]);
    }
}
