use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use strongroom_format::ChunkId;
use strongroom_format::node::ListItem;
use strongroom_format::tree_entry::{Content, EntryKind, Metadata};
use tempfile::tempdir;

use super::super::super::test_tree::entry_path;
use super::super::{Created, TargetOptions};
use super::*;

fn entry(path: &str, kind: EntryKind) -> TreeEntry {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let metadata = Metadata { mode: 0o740, uid, gid, mtime_ns: 1_000_000_000, ..Metadata::default() };
    TreeEntry { path: entry_path(path), kind, metadata: Some(metadata), link_to: None }
}

fn file(path: &str, length: u32) -> TreeEntry {
    entry(path, EntryKind::File(Content::Inline(vec![ListItem { id: ChunkId([1; 32]), length }])))
}

fn open(path: &Path) -> DirectoryTarget {
    let options = TargetOptions { overwrite: Overwrite::Delta, ..TargetOptions::default() };
    DirectoryTarget::open(path, options).unwrap()
}

fn created(target: &DirectoryTarget, entry: &TreeEntry) -> TargetFile {
    match target.create(&entry.path, entry).unwrap() {
        Created::File(file) => file,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_written_into_and_reads_as_zeros_where_it_has_holes() {
    let root = tempdir().unwrap();
    let path = root.path().join("file");
    fs::write(&path, [7; 10_000]).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    let target = open(root.path());
    let entry = file("file", 9000);
    let opened = created(&target, &entry);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "while it is restored");
    let mut there = Vec::new();
    assert!(target.read_there(&opened, 5000, 4000, &mut there));
    assert_eq!(there, [7; 4000]);
    assert!(!target.read_there(&opened, 9000, 1001, &mut there), "there is less");
    target.hole(&opened, 10, 4980).unwrap();
    target.write_at(&opened, 4990, b"new").unwrap();
    target.hole(&opened, 20_000, 5).unwrap();
    target.finish_file(opened, &entry).unwrap();
    let now = fs::read(&path).unwrap();
    assert_eq!(now.len(), 9000);
    assert_eq!((&now[..10], &now[10..4990], &now[4990..4993]), (&[7; 10][..], &[0; 4980][..], &b"new"[..]));
    assert_eq!(now[4993..], [7; 4007]);
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.ino(), metadata.mode() & 0o777, metadata.mtime()), (before, 0o740, 1));
}

#[test]
fn a_file_with_another_name_or_of_another_owner_is_made_anew() {
    let (root, outside) = (tempdir().unwrap(), tempdir().unwrap());
    let elsewhere = outside.path().join("kept");
    fs::write(&elsewhere, b"kept").unwrap();
    fs::hard_link(&elsewhere, root.path().join("linked")).unwrap();
    symlink(&elsewhere, root.path().join("symlink")).unwrap();
    fs::write(root.path().join("foreign"), b"before").unwrap();
    let mut names = vec!["linked", "symlink"];
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(root.path().join("foreign"), Some(12345), None).unwrap();
        names.push("foreign");
    }
    let target = open(root.path());
    for name in names {
        let entry = file(name, 4);
        let opened = created(&target, &entry);
        assert!(!target.read_there(&opened, 0, 4, &mut Vec::new()), "{name}");
        target.write_at(&opened, 0, b"mine").unwrap();
        target.finish_file(opened, &entry).unwrap();
        assert_eq!(fs::read(root.path().join(name)).unwrap(), b"mine");
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), b"kept");
}

#[test]
fn what_does_not_belong_there_goes_and_nothing_outside_does() {
    let (root, outside) = (tempdir().unwrap(), tempdir().unwrap());
    let at = |name: &str| root.path().join(name);
    fs::write(outside.path().join("kept"), b"kept").unwrap();
    for folder in ["folder/old/deep", "was-folder/below", "gone"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::write(at("folder/old/deep/file"), b"").unwrap();
    fs::write(at("was-folder/below/file"), b"").unwrap();
    symlink(outside.path(), at("folder/link")).unwrap();
    symlink(outside.path(), at("was-link")).unwrap();
    fs::create_dir(at("lost+found")).unwrap();

    let target = open(root.path());
    for path in ["folder", "folder/new", "was-link"] {
        let entry = entry(path, EntryKind::Directory);
        assert!(matches!(target.create(&entry.path, &entry).unwrap(), Created::Done));
    }
    for path in ["folder/kept", "was-folder", "was-link/file"] {
        let entry = file(path, 3);
        let opened = created(&target, &entry);
        target.write_at(&opened, 0, b"new").unwrap();
        target.finish_file(opened, &entry).unwrap();
    }
    assert_eq!(target.delete_others().unwrap(), 3, "folder/old, folder/link, gone");
    let mut left: Vec<_> = fs::read_dir(at("folder")).unwrap().map(|one| one.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["kept", "new"]);
    assert!(at("lost+found").exists() && !at("gone").exists());
    assert_eq!(fs::read(at("was-link/file")).unwrap(), b"new");
    let outside: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(outside, ["kept"]);
}

#[test]
fn folders_without_entries_stay_with_what_was_restored_into_them() {
    let root = tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/old")).unwrap();
    let target = open(root.path());
    // As streams are: their names have folders, and these have no entries.
    for path in ["a/b/stream", "c/stream"] {
        let entry = file(path, 3);
        let opened = created(&target, &entry);
        target.write_at(&opened, 0, b"new").unwrap();
        target.finish_file(opened, &entry).unwrap();
    }
    assert_eq!(target.delete_others().unwrap(), 1, "a/old");
    assert_eq!(fs::read(root.path().join("a/b/stream")).unwrap(), b"new");
    assert_eq!(fs::read(root.path().join("c/stream")).unwrap(), b"new");
}
