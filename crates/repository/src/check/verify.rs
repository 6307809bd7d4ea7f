//! Whether the journal is what it was: every entry signed and following the one before, every checkpoint the state that
//! folding gives, and the whole of it the one that somebody has noted the head of.

use strongroom_format::ContentHash;
use strongroom_store::ObjectName;

use super::head::{JournalHead, Mark};
use super::{CheckOptions, Checked, Checker, Finding, FindingKind, Severity};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::repository::Repository;
use crate::state::{State, VoidReason};

/// What is known of a journal from elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// A head that was noted.
    pub head: Option<JournalHead>,
    /// The last entry that a host has seen, and the hash of its stored bytes: [`crate::cache::remembered_head`].
    pub remembered: Option<(u64, ContentHash)>,
}

/// What verifying a journal found.
#[derive(Debug, Clone)]
pub struct JournalReport {
    /// Its head now: to be noted elsewhere, and expected the next time.
    pub head: JournalHead,
    /// What is wrong, in an order that depends on the repository only.
    pub findings: Vec<Finding>,
    /// What was looked at: entries and checkpoints.
    pub checked: Checked,
}

impl JournalReport {
    /// Whether nothing is damaged and nothing suspicious.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Info)
    }
}

impl Repository {
    /// Folds the journal from its first entry, read from the store past all caches, compares checkpoints with it, and it
    /// with what is expected. Nothing in the store is changed. Only a repository that was opened without a cache of its
    /// own believes nothing local at all.
    ///
    /// # Errors
    /// `Store` when the store itself fails, not when an object does; `Unlock` when a metadata key that a policy put in
    /// force does not open; `Interrupted`; `NewerFormat` and `UnknownFeature`.
    pub fn verify_journal(
        &self,
        expected: &Expected,
        monitor: &dyn Monitor,
    ) -> Result<JournalReport, RepositoryError> {
        let mut checker = Checker::new(self, &CheckOptions::default(), monitor);
        let numbers = [expected.head.map(|head| head.number), expected.remembered.map(|(number, _)| number)];
        numbers.into_iter().flatten().for_each(|number| checker.chain.mark(number));
        checker.config()?;
        let state = checker.fold_journal()?;
        let odd = first_odd(state.as_ref());
        if let Some(head) = expected.head {
            checker.expect(head.number, "was noted", odd, |mark| mark.chain == head.chain)?;
        }
        if let Some((number, hash)) = expected.remembered {
            checker.expect(number, "this host has seen", odd, |mark| mark.entry_hash == hash)?;
        }
        Ok(JournalReport {
            head: checker.chain.head(),
            findings: checker.findings.finish(),
            checked: checker.checked,
        })
    }
}

/// The first entry that is damaged, or follows others than those that are there.
fn first_odd(state: Option<&State>) -> Option<u64> {
    let Some(state) = state else { return Some(0) };
    let forked = VoidReason::PreviousHash.to_string();
    let damaged = state.damaged.iter().map(|(number, _)| *number);
    let voids = state.voids.iter().filter(|void| void.reason == forked).map(|void| void.number);
    damaged.chain(voids).min()
}

impl Checker<'_> {
    /// Holds the journal against what somebody knows of an entry of it.
    fn expect(
        &mut self,
        number: u64,
        known: &str,
        odd: Option<u64>,
        is_same: impl Fn(&Mark) -> bool,
    ) -> Result<(), RepositoryError> {
        let head = self.chain.head();
        let Some(mark) = self.chain.marked(number) else {
            let detail = format!(
                "the journal ends at entry {}, but entry {number} {known}: it was rolled back, or cut short",
                head.number
            );
            let missing: ObjectName = names::entry(head.number.saturating_add(1))?;
            self.damage(FindingKind::Missing, missing.as_str(), detail);
            return Ok(());
        };
        if is_same(&mark) {
            return Ok(());
        }
        let which = match odd.filter(|odd| *odd <= number.saturating_add(1)) {
            Some(odd) => format!("the first that does not fit is entry {odd}"),
            None => {
                "what is there fits together, so it is another history, or void entries were replaced".into()
            }
        };
        let detail = format!(
            "up to here the chain is {}, but another {known}: entries up to this one were replaced or removed; {which}",
            mark.chain
        );
        self.damage(FindingKind::Contradiction, names::entry(number)?.as_str(), detail);
        Ok(())
    }
}
