//! What differs between two snapshots.

use std::cmp::Ordering;

use strongroom_format::tree_entry::{EntryKind, TreeEntry};

use crate::error::RepositoryError;
use crate::reader::Reader;
use crate::state::Snapshot;
use crate::tree::EntryCursor;

/// A difference at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Only in the second snapshot.
    Added(TreeEntry),
    /// Only in the first.
    Removed(TreeEntry),
    /// In both, with other content or of another kind.
    Changed(TreeEntry, TreeEntry),
    /// In both, the same but for metadata.
    Metadata(TreeEntry, TreeEntry),
}

/// Calls `visit` with every difference, in path order.
///
/// # Errors
/// As [`EntryCursor::next_entry`].
pub fn compare(
    reader: &Reader<'_>,
    first: &Snapshot,
    second: &Snapshot,
    mut visit: impl FnMut(Difference),
) -> Result<(), RepositoryError> {
    if first.manifest.tree == second.manifest.tree {
        return Ok(());
    }
    let mut old = EntryCursor::new(reader, &first.manifest.tree)?;
    let mut new = EntryCursor::new(reader, &second.manifest.tree)?;
    let (mut a, mut b) = (old.next_entry()?, new.next_entry()?);
    loop {
        let order = match (&a, &b) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.path.cmp(&b.path),
        };
        match order {
            Ordering::Less => {
                visit_some(a.take(), Difference::Removed, &mut visit);
                a = old.next_entry()?;
            }
            Ordering::Greater => {
                visit_some(b.take(), Difference::Added, &mut visit);
                b = new.next_entry()?;
            }
            Ordering::Equal => {
                if let (Some(was), Some(is)) = (a.take(), b.take())
                    && let Some(difference) = difference(was, is)
                {
                    visit(difference);
                }
                (a, b) = (old.next_entry()?, new.next_entry()?);
            }
        }
    }
}

fn visit_some(
    entry: Option<TreeEntry>,
    difference: fn(TreeEntry) -> Difference,
    visit: &mut impl FnMut(Difference),
) {
    if let Some(entry) = entry {
        visit(difference(entry));
    }
}

fn difference(was: TreeEntry, is: TreeEntry) -> Option<Difference> {
    let same_content = match (was.content(), is.content()) {
        (Some(a), Some(b)) => a == b && std::mem::discriminant(&was.kind) == std::mem::discriminant(&is.kind),
        _ => was.kind == is.kind,
    };
    if !same_content {
        return Some(Difference::Changed(was, is));
    }
    // Inode and change time are how a backup recognises files, not what a user changed.
    let plain = |entry: &TreeEntry| {
        let mut metadata = entry.metadata.clone().unwrap_or_default();
        (metadata.inode, metadata.ctime_ns) = (0, 0);
        if matches!(entry.kind, EntryKind::Directory) {
            metadata.mtime_ns = 0;
        }
        metadata
    };
    (plain(&was) != plain(&is)).then_some(Difference::Metadata(was, is))
}
