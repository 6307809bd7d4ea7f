//! A folder's tree as a value, so that two can be compared: all that a restore must bring back.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails here")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest attribute value, and list of names, that Linux gives.
const XATTR_BYTES: usize = 1 << 16;

/// One name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// File type and permissions.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Of a device.
    pub device: u64,
    /// Of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// By name; those of the kernel's own making (`security.selinux`) are left out.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of a regular file.
    pub content: Option<Vec<u8>>,
    /// The first path, in order, of the same inode.
    pub same_as: Option<PathBuf>,
}

/// Everything below `root`, by path relative to it; `root` itself is the empty path.
#[must_use]
#[track_caller]
pub fn read(root: &Path) -> BTreeMap<PathBuf, Node> {
    let (mut nodes, mut inodes) = (BTreeMap::new(), HashMap::new());
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let full = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(&path) };
        let metadata = fs::symlink_metadata(&full).expect("cannot look at a file");
        if metadata.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&full)
                .expect("cannot read a folder")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            // The last is taken first: paths come in order.
            names.sort_unstable_by(|a, b| b.cmp(a));
            left.extend(names.into_iter().map(|name| path.join(name)));
        }
        let first = inodes.entry((metadata.dev(), metadata.ino())).or_insert_with(|| path.clone()).clone();
        let same_as = (first != path).then_some(first);
        nodes.insert(path, node(&full, &metadata, same_as));
    }
    nodes
}

fn node(path: &Path, metadata: &Metadata, same_as: Option<PathBuf>) -> Node {
    let kind = metadata.file_type();
    Node {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        mtime_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        device: metadata.rdev(),
        target: kind
            .is_symlink()
            .then(|| fs::read_link(path).expect("cannot read a link").into_os_string().into_vec()),
        xattrs: xattrs(path),
        content: kind.is_file().then(|| fs::read(path).expect("cannot read a file")),
        same_as,
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut buffer = vec![0; XATTR_BYTES];
    let length = rustix::fs::llistxattr(path, &mut buffer[..]).unwrap_or(0);
    let names: Vec<Vec<u8>> = buffer[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let mut found = BTreeMap::new();
    for name in names.into_iter().filter(|name| name != b"security.selinux") {
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(&name), &mut buffer[..])
            .expect("cannot read an attribute");
        found.insert(name, buffer[..length].to_vec());
    }
    found
}

/// Asserts that two folders hold the same, and are the same themselves.
#[track_caller]
pub fn assert_same(expected: &Path, found: &Path) {
    assert_same_trees(&read(expected), &read(found));
}

/// Asserts that two trees are the same; names the first path that is not.
#[track_caller]
pub fn assert_same_trees(expected: &BTreeMap<PathBuf, Node>, found: &BTreeMap<PathBuf, Node>) {
    for (path, node) in expected {
        match found.get(path) {
            Some(other) => {
                assert!(node == other, "{} differs:\n{}\n{}", path.display(), brief(node), brief(other))
            }
            None => panic!("{} is missing", path.display()),
        }
    }
    for path in found.keys() {
        assert!(expected.contains_key(path), "{} should not be there", path.display());
    }
}

fn brief(node: &Node) -> String {
    let length = node.content.as_ref().map(Vec::len);
    format!("{:?}, {length:?} bytes", Node { content: None, ..node.clone() })
}
