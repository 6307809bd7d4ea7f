//! Snapshots of which something is lost: marked, so that people and backups know, until they are whole again.

use std::collections::BTreeMap;

use strongroom_format::SnapshotId;

use super::DAMAGED_TAG;
use crate::check::{CheckOptions, CheckReport, Finding, Severity};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::repository::Repository;

/// What marking snapshots found and did, or would do.
#[derive(Debug, Clone)]
pub struct SnapshotsReport {
    /// What the check found.
    pub check: CheckReport,
    /// Snapshots of which something cannot be read, and the findings that touch each.
    pub damaged: BTreeMap<SnapshotId, Vec<usize>>,
    /// Of those, the ones that were not marked before.
    pub marked: Vec<SnapshotId>,
    /// Snapshots that were marked, and of which everything can be read again.
    pub whole_again: Vec<SnapshotId>,
}

impl Repository {
    /// Checks, and tags the snapshots that damage touches; takes the tag off those that are whole again.
    ///
    /// # Errors
    /// As [`Repository::check_beside_prunes`]; `NoSigner`.
    pub fn mark_damaged(
        &mut self,
        options: &CheckOptions,
        dry_run: bool,
        monitor: &dyn Monitor,
    ) -> Result<SnapshotsReport, RepositoryError> {
        self.refresh()?;
        let check = self.check_beside_prunes(options, monitor)?;
        let mut damaged: BTreeMap<SnapshotId, Vec<usize>> = BTreeMap::new();
        // A damaged entry takes nothing from what a snapshot holds, as long as a checkpoint tells of it.
        let is_damage = |(_, finding): &(usize, &Finding)| {
            finding.severity == Severity::Damage && !finding.object.starts_with("journal/")
        };
        for (at, finding) in check.findings.iter().enumerate().filter(is_damage) {
            for snapshot in &finding.snapshots {
                damaged.entry(*snapshot).or_default().push(at);
            }
        }
        let (mut marked, mut whole_again) = (Vec::new(), Vec::new());
        for snapshot in &self.state.snapshots {
            let is_marked = snapshot.state.tags.iter().any(|tag| tag == DAMAGED_TAG);
            match (damaged.contains_key(&snapshot.id()), is_marked) {
                (true, false) => marked.push(snapshot.id()),
                (false, true) => whole_again.push(snapshot.id()),
                _ => {}
            }
        }
        if !dry_run {
            let tag = [DAMAGED_TAG.to_owned()];
            for id in &marked {
                self.tag(*id, &tag, &[])?;
            }
            for id in &whole_again {
                self.tag(*id, &[], &tag)?;
            }
        }
        Ok(SnapshotsReport { check, damaged, marked, whole_again })
    }
}
