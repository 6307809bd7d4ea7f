//! What a configuration says that is in order, and probably not meant.

use std::time::Duration;

use super::{Config, Problem};
use crate::words::length;

/// What begins later by less is not spread.
const SHORTEST_JITTER: Duration = Duration::from_secs(60);

impl Config {
    /// What should be looked at, by lines; 0 where it stands in none.
    #[must_use]
    pub fn doubts(&self) -> Vec<Problem> {
        let mut doubts = Vec::new();
        let mut doubt = |line, what: String| doubts.push(Problem { line, what });
        for (name, source) in self.sources.iter().filter(|(_, source)| source.engine.is_some()) {
            let expected = self.expectations(name);
            let is_expected = expected.expect_every.or(expected.rpo).is_some();
            if self.schedule(name).is_none() && !is_expected {
                let what = "nothing says when it is backed up, so nobody is told when it is not: say `schedule`, or `expect_every`";
                doubt(source.line, format!("sources.{name}: {what}"));
            }
        }
        let has_retention = self.sources.iter().any(|(name, _)| self.keep(name).is_some());
        if has_retention && self.forget.when(&self.zone).is_none() {
            let what =
                "nothing is taken out by itself: `[forget]` with `schedule` or `every` applies the retention";
            doubt(self.forget.line, format!("retention: {what}"));
        }
        let names = self.sources.iter().map(|(name, source)| (Some(name.as_str()), source.line));
        let mut known = None;
        for (name, line) in std::iter::once((None, 0)).chain(names) {
            let jitter = self.jitter(name).filter(|jitter| *jitter < SHORTEST_JITTER && !jitter.is_zero());
            if let Some(jitter) = jitter.filter(|jitter| known.replace(*jitter) != Some(*jitter)) {
                let (is, seconds) = (length(jitter), jitter.as_secs());
                doubt(line, format!("jitter is {is}: is `{seconds}m` meant?"));
            }
        }
        doubts
    }
}
