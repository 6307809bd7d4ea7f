//! Trees of files for this module's tests: listed, restored and compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use strongroom_format::ChunkId;
use strongroom_format::node::ListItem;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};

use super::*;

pub(super) fn entry_path(path: impl AsRef<[u8]>) -> EntryPath {
    EntryPath::new(path.as_ref()).unwrap()
}

/// All of it, checked to ascend.
pub(super) fn walk(roots: &[&Path], options: WalkOptions) -> Vec<Walked> {
    let roots: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
    let walked: Vec<_> = Walk::new(&roots, options).unwrap().collect();
    let paths: Vec<_> = walked
        .iter()
        .filter_map(|walked| match walked {
            Walked::Entry(entry) => Some(&entry.entry.path),
            _ => None,
        })
        .collect();
    assert!(paths.is_sorted_by(|a, b| a < b), "{paths:?}");
    walked
}

/// The entries below `root`, which is left out itself; nothing may fail.
pub(super) fn entries_below(root: &Path, options: WalkOptions) -> Vec<WalkedEntry> {
    let top = entry_path(&root.as_os_str().as_bytes()[1..]);
    walk(&[root], options)
        .into_iter()
        .filter_map(|walked| match walked {
            Walked::Entry(entry) => Some(*entry),
            Walked::Excluded { .. } => None,
            failed @ Walked::Failed { .. } => panic!("{failed:?}"),
        })
        .filter(|entry| entry.entry.path != top && entry.entry.path.is_within(&top))
        .collect()
}

/// `path` seen from `root`.
pub(super) fn below(root: &Path, path: &EntryPath) -> EntryPath {
    entry_path(&path.as_bytes()[root.as_os_str().len()..])
}

/// Paths below `root`, as text.
pub(super) fn names_below(root: &Path, options: WalkOptions) -> Vec<String> {
    entries_below(root, options).iter().map(|entry| below(root, &entry.entry.path).to_string()).collect()
}

/// The tree below `root` for comparison: paths relative, without what no restore brings back; hard links named by
/// the first path, contents beside.
pub(super) fn tree(root: &Path) -> BTreeMap<EntryPath, (TreeEntry, Vec<u8>)> {
    let mut links = HardLinks::default();
    let mut tree = BTreeMap::new();
    for walked in entries_below(root, WalkOptions::default()) {
        let first = links.first_path(&walked).map(|first| below(root, &first));
        let mut entry = walked.entry.clone();
        entry.path = below(root, &entry.path);
        entry.link_to = first;
        let metadata = entry.metadata.as_mut().unwrap();
        (metadata.inode, metadata.ctime_ns) = (0, 0);
        let content = if walked.is_file() { fs::read(&walked.os_path).unwrap() } else { Vec::new() };
        tree.insert(entry.path.clone(), (entry, content));
    }
    tree
}

/// An entry with its content as a backup would have recorded it, and the runs of data.
pub(super) fn read_content(walked: &WalkedEntry) -> (TreeEntry, Vec<(u64, Vec<u8>)>) {
    let mut entry = walked.entry.clone();
    let mut runs = Vec::new();
    if walked.is_file() {
        let mut items = Vec::new();
        let mut file = OpenFile::open(walked).unwrap();
        while let Some(extent) = file.next_extent().unwrap() {
            let (id, length) = match extent {
                Extent::Data { offset, length } => {
                    let mut bytes = vec![0; usize::try_from(length).unwrap()];
                    assert_eq!(file.read_at(&mut bytes, offset).unwrap(), bytes.len());
                    runs.push((offset, bytes));
                    (ChunkId([1; 32]), length)
                }
                Extent::Hole { length, .. } => (ChunkId::HOLE, length),
            };
            items.push(ListItem { id, length: u32::try_from(length).unwrap() });
        }
        assert!(!file.changed_since(walked).unwrap());
        entry.kind = EntryKind::File(Content::Inline(items));
    }
    (entry, runs)
}

/// Backs up what lies below `source` and restores it into `target`. Returns what became of each entry.
pub(super) fn restore(source: &Path, target: &DirectoryTarget) -> Vec<(String, &'static str)> {
    let mut links = HardLinks::default();
    let mut directories = Vec::new();
    let mut done = Vec::new();
    for walked in entries_below(source, WalkOptions::default()) {
        let (mut entry, runs) = read_content(&walked);
        entry.link_to = links.first_path(&walked);
        let path = below(source, &entry.path);
        let outcome = match target.create(&path, &entry).unwrap() {
            Created::File(file) => {
                for (offset, bytes) in &runs {
                    target.write_at(&file, *offset, bytes).unwrap();
                }
                target.finish_file(file, &entry).unwrap();
                "file"
            }
            Created::Done => "done",
            Created::Linked => "linked",
            Created::Skipped => "skipped",
        };
        done.push((path.to_string(), outcome));
        if walked.is_directory() {
            directories.push((path, entry));
        }
    }
    for (path, entry) in directories.iter().rev() {
        target.finish_directory(path, entry).unwrap();
    }
    target.sync().unwrap();
    done
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs `work` on a thread of `nobody`; does nothing if this process cannot become anyone else.
pub(super) fn as_nobody(work: impl FnOnce() + Send) {
    if !is_root() {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (user, group) = (rustix::fs::Uid::from_raw(65534), rustix::fs::Gid::from_raw(65534));
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            work();
        });
    });
}
