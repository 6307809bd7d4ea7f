//! Which entries are the same file.

use std::collections::HashMap;

use strongroom_format::path::EntryPath;

use super::walk::WalkedEntry;

/// Finds the first path of a file that has several, while a walk goes on.
///
/// It remembers a file only until all its links were seen, so that its size follows the links that are still open
/// (those that lie outside the walk stay open to its end).
#[derive(Debug, Default)]
pub struct HardLinks {
    open: HashMap<(u64, u64), Links>,
}

#[derive(Debug)]
struct Links {
    first: EntryPath,
    unseen: u64,
}

impl HardLinks {
    /// The path under which this entry's file was seen first; `None` for its first path, and for what has one path.
    ///
    /// To be called once an entry, in the walk's order. The caller puts the result into
    /// [`TreeEntry::link_to`](strongroom_format::tree_entry::TreeEntry::link_to).
    pub fn first_path(&mut self, walked: &WalkedEntry) -> Option<EntryPath> {
        if walked.links < 2 || walked.is_directory() {
            return None;
        }
        let identity = (walked.device, walked.inode());
        let Some(links) = self.open.get_mut(&identity) else {
            let links = Links { first: walked.entry.path.clone(), unseen: walked.links - 1 };
            self.open.insert(identity, links);
            return None;
        };
        links.unseen = links.unseen.saturating_sub(1);
        if links.unseen == 0 {
            return self.open.remove(&identity).map(|links| links.first);
        }
        Some(links.first.clone())
    }

    /// Files remembered now.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.open.len()
    }
}
