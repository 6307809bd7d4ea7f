use std::error::Error;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use rustix::fs::{Gid, Timespec, Timestamps, Uid, XattrFlags};
use strongroom_format::ChunkId;
use strongroom_format::node::ListItem;
use strongroom_format::tree_entry::Content;
use tempfile::{TempDir, tempdir};

use super::super::test_tree::*;
use super::super::{Attribute, Found};
use super::*;

const OLD_NS: i64 = 1_000_000_000_123_456_789;

fn options(overwrite: Overwrite) -> TargetOptions {
    TargetOptions { overwrite, ..TargetOptions::default() }
}

fn over(path: &Path) -> DirectoryTarget {
    DirectoryTarget::open(path, options(Overwrite::Always)).unwrap()
}

fn set_mtime(path: &Path, mtime_ns: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 5, tv_nsec: 0 },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn metadata() -> Metadata {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Metadata { mode: 0o640, uid, gid, mtime_ns: OLD_NS, ..Metadata::default() }
}

fn entry(path: &str, kind: EntryKind) -> TreeEntry {
    TreeEntry { path: entry_path(path), kind, metadata: Some(metadata()), link_to: None }
}

fn file(path: &str, length: u32) -> TreeEntry {
    let items = if length == 0 { vec![] } else { vec![ListItem { id: ChunkId([1; 32]), length }] };
    entry(path, EntryKind::File(Content::Inline(items)))
}

fn directory(path: &str) -> TreeEntry {
    entry(path, EntryKind::Directory)
}

/// Restores one file with `content`.
fn put(target: &DirectoryTarget, entry: &TreeEntry, content: &[u8]) -> Result<&'static str, TargetError> {
    Ok(match target.create(&entry.path, entry)? {
        Created::File(file) => {
            target.write_at(&file, 0, content)?;
            target.finish_file(file, entry)?;
            "file"
        }
        Created::Done => "done",
        Created::Linked => "linked",
        Created::Skipped => "skipped",
    })
}

fn in_the_way(result: Result<impl Sized, TargetError>) -> (PathBuf, Found) {
    match result {
        Err(TargetError::InTheWay { path, found }) => (path, found),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was restored"),
    }
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    match rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()) {
        Ok(()) => true,
        Err(Errno::NOTSUP | Errno::PERM) => false,
        Err(error) => panic!("{name}: {error}"),
    }
}

/// A tree with one of everything that this process may make.
fn sample() -> TempDir {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("a/b/empty")).unwrap();
    fs::write(at("a.b"), b"beside").unwrap();
    fs::write(at("a/b/c"), b"deep").unwrap();
    fs::write(at("empty"), b"").unwrap();
    fs::write(root.path().join(OsStr::from_bytes(b"a/\xff\n")), b"bytes").unwrap();
    fs::hard_link(at("a.b"), at("a/link")).unwrap();
    symlink("/etc/passwd", at("absolute")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    rustix::fs::mkfifoat(CWD, at("fifo"), Mode::RUSR).unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.write_all_at(b"island", 1 << 20).unwrap();
    sparse.set_len((3 << 20) + 1).unwrap();
    set_xattr(&at("a/b/c"), "user.note", b"kept \0 whole");
    set_xattr(&at("a/b"), "user.folder", b"");
    let acl = |arguments: &[&str], path: &Path| {
        let _ = Command::new("setfacl").args(arguments).arg(path).status();
    };
    acl(&["-m", "u:12345:rx,g:2:-"], &at("a.b"));
    acl(&["-d", "-m", "u:12345:rwx"], &at("a/b/empty"));
    if is_root() {
        let chown = |name: &str, user, group| {
            let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
            rustix::fs::chownat(CWD, at(name), user, group, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        };
        chown("a/b/c", 12345, 54321);
        chown("absolute", 12345, 54321);
        chown("a/b", 1, 2);
        chown("empty", 3, 4);
        set_xattr(&at("dangling"), "trusted.link", b"of a link");
        let device = rustix::fs::makedev(1, 3);
        let _ = rustix::fs::mknodat(CWD, at("null"), FileType::CharacterDevice, Mode::RUSR, device);
        let _ = rustix::fs::mknodat(CWD, at("ram"), FileType::BlockDevice, Mode::RUSR, device);
    }
    for (name, mode) in [("empty", 0o6755), ("a/b/c", 0o444), ("a/b", 0o2550), ("fifo", 0o622), ("a", 0o1777)]
    {
        fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
    }
    set_mtime(&at("dangling"), -1);
    set_mtime(&at("a/b/c"), OLD_NS);
    set_mtime(&at("a/b/empty"), OLD_NS);
    set_mtime(&at("a/b"), 0);
    set_mtime(&at("fifo"), OLD_NS);
    root
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let source = sample();
    let parent = tempdir().unwrap();
    let path = parent.path().join("made/on/the/way");
    let target = DirectoryTarget::open(&path, TargetOptions::default()).unwrap();
    let done = restore(source.path(), &target);
    assert_eq!(target.take_warnings().list.len(), 0);
    let restored = tree(&path);
    assert_eq!(restored, tree(source.path()));
    let xattrs = |path: &str| restored[&entry_path(path)].0.metadata.as_ref().unwrap().xattrs.len();
    if Command::new("setfacl").arg("--version").output().is_ok() {
        // As the source has them, this shows that there was something to compare.
        assert_eq!((xattrs("a.b"), xattrs("a/b/c"), xattrs("a/b/empty")), (1, 1, 1));
    }
    assert!(done.contains(&("a/link".to_owned(), "file")) && done.contains(&("a.b".to_owned(), "linked")));
    assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_tree_comes_back_over_itself_whatever_the_policy() {
    let source = sample();
    let folder = tempdir().unwrap();
    for overwrite in [Overwrite::Always, Overwrite::IfChanged, Overwrite::IfNewer, Overwrite::Always] {
        let target = DirectoryTarget::open(folder.path(), options(overwrite)).unwrap();
        let done = restore(source.path(), &target);
        assert_eq!(target.take_warnings().list.len(), 0);
        assert_eq!(tree(folder.path()), tree(source.path()), "{overwrite:?}");
        let outcome = &done.iter().find(|(path, _)| path == "sparse").unwrap().1;
        assert_eq!(*outcome == "skipped", matches!(overwrite, Overwrite::IfChanged | Overwrite::IfNewer));
    }
}

#[test]
fn sockets_are_left_out() {
    let folder = tempdir().unwrap();
    let socket = entry("socket", EntryKind::Socket);
    assert_eq!(put(&over(folder.path()), &socket, b"").unwrap(), "skipped");
    assert_eq!(names_below(folder.path(), Default::default()), [""; 0]);
}

#[test]
fn holes_and_zeros_take_no_space() {
    let folder = tempdir().unwrap();
    let length = 4 << 20;
    let mut content = vec![0; length];
    content[1_000_000] = 1;
    content[length - 1] = 2;
    let allocated = |name: &str, sparse, runs: &[(usize, usize)]| {
        let target =
            DirectoryTarget::open(folder.path(), TargetOptions { sparse, ..options(Overwrite::Always) });
        let (target, file) = (target.unwrap(), file(name, 4 << 20));
        let Created::File(made) = target.create(&file.path, &file).unwrap() else { panic!() };
        for (start, end) in runs {
            target.write_at(&made, *start as u64, &content[*start..*end]).unwrap();
        }
        target.finish_file(made, &file).unwrap();
        target.sync().unwrap();
        assert!(fs::read(folder.path().join(name)).unwrap() == content);
        fs::metadata(folder.path().join(name)).unwrap().blocks() * 512
    };
    assert!(allocated("whole", false, &[(0, length)]) >= length as u64);
    assert!(allocated("zeros", true, &[(0, 70_001), (70_001, 2_000_000), (2_000_000, length)]) < 100_000);
    assert!(allocated("holes", false, &[(1_000_000, 1_000_001), (length - 1, length)]) < 100_000);
}

#[test]
fn runs_of_data_cover_all_but_zero_blocks() {
    let mut bytes = vec![0; 5 * 4096];
    assert_eq!(runs_of_data(0, &bytes), []);
    bytes[4096] = 1;
    bytes[2 * 4096 + 5] = 1;
    bytes[5 * 4096 - 1] = 1;
    assert_eq!(runs_of_data(0, &bytes), [(4096, 3 * 4096), (4 * 4096, 5 * 4096)]);
    // Blocks are those of the file: here they start at 1, 4097, 8193, ...
    assert_eq!(runs_of_data(4095, &bytes), [(1, 4097), (8193, 12289), (16385, 20480)]);
    assert_eq!(runs_of_data(0, b""), []);
}

#[test]
fn a_target_that_holds_something_is_refused() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    DirectoryTarget::open(folder.path(), TargetOptions::default()).unwrap();
    fs::write(folder.path().join("x"), b"").unwrap();
    let opened = DirectoryTarget::open(folder.path(), TargetOptions::default());
    assert!(matches!(opened, Err(TargetError::NotEmpty { path }) if path == folder.path()));
    let opened = DirectoryTarget::open(&folder.path().join("x"), TargetOptions::default());
    assert!(matches!(opened, Err(TargetError::Exists { .. } | TargetError::Io { .. })));
}

#[test]
fn nothing_is_overwritten_that_came_meanwhile() {
    let folder = tempdir().unwrap();
    let target = DirectoryTarget::open(folder.path(), TargetOptions::default()).unwrap();
    fs::write(folder.path().join("f"), b"theirs").unwrap();
    assert!(matches!(put(&target, &file("f", 4), b"ours"), Err(TargetError::Exists { .. })));
    assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"theirs");
}

#[test]
fn overwrite_policies() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("f");
    let outcome = |overwrite, there: &[u8], mtime_ns| {
        let _ = fs::remove_file(&path);
        fs::write(&path, there).unwrap();
        set_mtime(&path, mtime_ns);
        let target = DirectoryTarget::open(folder.path(), options(overwrite)).unwrap();
        let outcome = put(&target, &file("f", 4), b"ours").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().mode() & 0o777 == 0o640,
            outcome == "file" || overwrite == Overwrite::IfChanged
        );
        assert_eq!(fs::read(&path).unwrap() == b"ours", outcome == "file");
        outcome
    };
    assert_eq!(outcome(Overwrite::IfChanged, b"same", OLD_NS), "skipped");
    assert_eq!(outcome(Overwrite::IfChanged, b"same", OLD_NS + 1), "file");
    assert_eq!(outcome(Overwrite::IfChanged, b"longer", OLD_NS), "file");
    assert_eq!(outcome(Overwrite::IfNewer, b"same", OLD_NS), "skipped");
    assert_eq!(outcome(Overwrite::IfNewer, b"newer", OLD_NS + 1), "skipped");
    assert_eq!(outcome(Overwrite::IfNewer, b"older", OLD_NS - 1), "file");
    assert_eq!(outcome(Overwrite::Always, b"same", OLD_NS + 1), "file");
}

#[test]
fn a_file_put_there_by_another_is_not_given_privileges() {
    let folder = tempdir().unwrap();
    if !is_root() {
        return;
    }
    let path = folder.path().join("f");
    fs::write(&path, b"evil").unwrap();
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    set_mtime(&path, OLD_NS);
    let target = DirectoryTarget::open(folder.path(), options(Overwrite::IfChanged)).unwrap();
    let mut program = file("f", 4);
    program.metadata.as_mut().unwrap().mode = 0o4755;
    assert_eq!(put(&target, &program, b"good").unwrap(), "file");
    assert_eq!(fs::read(&path).unwrap(), b"good");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o4755);
}

#[test]
fn other_names_of_a_replaced_file_keep_their_content() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("target")).unwrap();
    fs::write(at("outside"), b"outside").unwrap();
    fs::hard_link(at("outside"), at("target/f")).unwrap();
    symlink("../outside", at("target/link")).unwrap();
    let target = over(&at("target"));
    assert_eq!(put(&target, &file("f", 4), b"ours").unwrap(), "file");
    assert_eq!(put(&target, &file("link", 4), b"ours").unwrap(), "file");
    assert_eq!(fs::read(at("outside")).unwrap(), b"outside");
    assert!(fs::symlink_metadata(at("target/link")).unwrap().is_file());
}

#[test]
fn symbolic_links_in_the_target_lead_nowhere() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("outside/sub")).unwrap();
    fs::create_dir_all(at("target/real")).unwrap();
    for (link, to) in [("target/a", "../outside"), ("target/real/up", "../../outside"), ("target/self", ".")]
    {
        symlink(to, at(link)).unwrap();
    }
    let target = over(&at("target"));
    let there = |name: &str| (at(&format!("target/{name}")), Found::Symlink);
    assert_eq!(in_the_way(put(&target, &file("a/f", 1), b"x")), there("a"));
    assert_eq!(in_the_way(put(&target, &file("a/sub/f", 1), b"x")), there("a"));
    assert_eq!(in_the_way(put(&target, &file("a/new/f", 1), b"x")), there("a"));
    assert_eq!(in_the_way(put(&target, &file("real/up/f", 1), b"x")), there("real/up"));
    assert_eq!(in_the_way(put(&target, &file("self/f", 1), b"x")), there("self"));
    assert_eq!(in_the_way(put(&target, &directory("a"), b"")), there("a"));
    assert_eq!(in_the_way(put(&target, &directory("a/sub"), b"")), there("a"));
    assert!(target.finish_directory(&entry_path("a"), &directory("a")).is_err());
    assert_eq!(in_the_way(target.finish_directory(&entry_path("a/sub"), &directory("a/sub"))), there("a"));
    assert_eq!(names_below(&at("outside"), Default::default()), ["sub"]);
}

#[test]
fn a_link_of_the_snapshot_itself_leads_nowhere() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("outside")).unwrap();
    let target = DirectoryTarget::open(&at("target"), TargetOptions::default()).unwrap();
    let link = entry("a", EntryKind::Symlink { target: b"../outside".to_vec() });
    assert_eq!(put(&target, &link, b"").unwrap(), "done");
    assert_eq!(in_the_way(put(&target, &file("a/f", 1), b"x")), (at("target/a"), Found::Symlink));
    assert_eq!(names_below(&at("outside"), Default::default()), [""; 0]);
}

#[test]
fn a_folder_that_was_open_and_is_swapped_leads_nowhere() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("outside")).unwrap();
    let target = DirectoryTarget::open(&at("target"), TargetOptions::default()).unwrap();
    put(&target, &directory("a"), b"").unwrap();
    put(&target, &file("a/one", 1), b"1").unwrap();
    fs::rename(at("target/a"), at("target/moved")).unwrap();
    symlink("../outside", at("target/a")).unwrap();
    put(&target, &file("a/two", 1), b"2").unwrap();
    assert_eq!(names_below(&at("outside"), Default::default()), [""; 0]);
    assert_eq!(fs::read(at("target/moved/two")).unwrap(), b"2");
}

#[test]
fn files_and_folders_do_not_replace_each_other() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("d/keep")).unwrap();
    fs::write(at("f"), b"").unwrap();
    rustix::fs::mkfifoat(CWD, at("p"), Mode::RWXU).unwrap();
    let target = over(folder.path());
    assert_eq!(in_the_way(put(&target, &file("d", 1), b"x")), (at("d"), Found::Directory));
    let link = entry("d", EntryKind::Symlink { target: b"x".to_vec() });
    assert_eq!(in_the_way(put(&target, &link, b"")), (at("d"), Found::Directory));
    assert_eq!(in_the_way(put(&target, &directory("f"), b"")), (at("f"), Found::File));
    assert_eq!(in_the_way(put(&target, &file("f/x", 1), b"x")), (at("f"), Found::File));
    assert_eq!(in_the_way(put(&target, &file("p/x", 1), b"x")), (at("p"), Found::Special));
    assert!(at("d/keep").is_dir());
    put(&target, &directory("d"), b"").unwrap();
}

#[test]
fn hard_links_follow_a_stripped_front_and_fall_back_to_copies() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let target = DirectoryTarget::open(&at("target"), TargetOptions::default()).unwrap();
    let mut second = file("srv/data/b", 4);
    second.link_to = Some(entry_path("srv/data/a"));
    let stripped = entry_path("b");
    // The first was not restored.
    assert!(matches!(target.create(&stripped, &second).unwrap(), Created::File(_)));
    fs::remove_file(at("target/b")).unwrap();

    let first = file("srv/data/a", 4);
    let Created::File(made) = target.create(&entry_path("a"), &first).unwrap() else { panic!() };
    assert!(matches!(target.create(&stripped, &second).unwrap(), Created::Linked));
    target.write_at(&made, 0, b"both").unwrap();
    target.finish_file(made, &first).unwrap();
    assert_eq!(fs::read(at("target/b")).unwrap(), b"both");

    // Its first path lies outside what is restored.
    second.link_to = Some(entry_path("srv/other/a"));
    second.path = entry_path("srv/data/c");
    assert!(matches!(target.create(&entry_path("c"), &second).unwrap(), Created::File(_)));
}

#[test]
fn a_hard_link_is_never_made_to_what_was_there_before() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a"), b"stale").unwrap();
    let mut second = file("b", 5);
    second.link_to = Some(entry_path("a"));
    assert_eq!(put(&over(folder.path()), &second, b"fresh").unwrap(), "file");
    assert_eq!(
        (fs::read(at("a")).unwrap(), fs::read(at("b")).unwrap()),
        (b"stale".to_vec(), b"fresh".to_vec())
    );
}

#[test]
fn inherited_access_lists_do_not_stay() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("d");
    fs::create_dir(&path).unwrap();
    let set = Command::new("setfacl").args(["-d", "-m", "u:12345:rwx"]).arg(&path).status();
    if !set.is_ok_and(|status| status.success()) {
        return;
    }
    let target = over(&path);
    put(&target, &file("f", 1), b"x").unwrap();
    put(&target, &directory("sub"), b"").unwrap();
    target.finish_directory(&entry_path("sub"), &directory("sub")).unwrap();
    for walked in entries_below(&path, Default::default()) {
        assert_eq!(walked.entry.metadata.unwrap().xattrs, []);
    }
}

#[test]
fn nobody_restores_content_but_no_owners_and_is_told_of_attributes() {
    let folder = tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let path = folder.path().join("t");
    as_nobody(|| {
        let target = DirectoryTarget::open(&path, TargetOptions::default()).unwrap();
        let mut program = file("program", 2);
        let metadata = program.metadata.as_mut().unwrap();
        (metadata.mode, metadata.uid, metadata.gid) = (0o6555, 0, 0);
        metadata.xattrs = vec![(b"trusted.x".to_vec(), b"1".to_vec()), (b"user.y".to_vec(), b"2".to_vec())];
        assert_eq!(put(&target, &program, b"ok").unwrap(), "file");
        let there = fs::metadata(path.join("program")).unwrap();
        assert_eq!((there.uid(), there.gid(), there.mode() & 0o7777), (65534, 65534, 0o555));
        let warnings = target.take_warnings();
        assert_eq!(warnings.list.len(), 1);
        assert_eq!(warnings.list[0].attribute, Attribute::Xattr(b"trusted.x".to_vec()));
        assert!(warnings.list[0].source().is_some());
        assert!(target.take_warnings().list.is_empty());
        let mut value = [0; 1];
        assert_eq!(rustix::fs::getxattr(path.join("program"), c"user.y", &mut value[..]), Ok(1));

        let device = entry("null", EntryKind::CharacterDevice { major: 1, minor: 3 });
        let refused = put(&target, &device, b"");
        assert!(matches!(refused, Err(TargetError::Io { operation: "create device", .. })));

        // A finished folder that its owner may not write to is written to once more.
        let mut sealed = directory("sealed");
        sealed.metadata.as_mut().unwrap().mode = 0o555;
        for _ in 0..2 {
            let target = over(&path);
            put(&target, &sealed, b"").unwrap();
            put(&target, &file("sealed/f", 1), b"x").unwrap();
            target.finish_directory(&sealed.path, &sealed).unwrap();
            assert_eq!(fs::metadata(path.join("sealed")).unwrap().mode() & 0o777, 0o555);
        }
    });
}

#[test]
fn an_owner_without_number_is_left_alone() {
    let folder = tempdir().unwrap();
    let target = over(folder.path());
    let mut odd = file("f", 1);
    let metadata = odd.metadata.as_mut().unwrap();
    (metadata.uid, metadata.gid) = (u32::MAX, u32::MAX);
    put(&target, &odd, b"x").unwrap();
    assert!(target.take_warnings().list.is_empty());
}

/// A file system of 256 KiB, if this process may mount one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(folder.path());
        (is_root() && mount.output().is_ok_and(|done| done.status.success())).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_file_system_is_told_apart() {
    let Some(disk) = SmallDisk::mount() else { return };
    let target = over(disk.0.path());
    let large = put(&target, &file("large", 1 << 20), &[1; 1 << 20]);
    assert!(matches!(large, Err(TargetError::NoSpace { path, .. }) if path.ends_with("large")));
}

#[test]
fn many_threads_write_and_finish() {
    let folder = tempdir().unwrap();
    let target = &DirectoryTarget::open(folder.path(), TargetOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for at in 0..50 {
            let file = file(&format!("d{}/f{at}", at % 7), 8192);
            let Created::File(made) = target.create(&file.path, &file).unwrap() else { panic!() };
            scope.spawn(move || {
                target.write_at(&made, 4096, &[2; 4096]).unwrap();
                target.write_at(&made, 0, &[1; 4096]).unwrap();
                target.finish_file(made, &file).unwrap();
            });
        }
    });
    target.sync().unwrap();
    for walked in entries_below(folder.path(), Default::default()) {
        if walked.is_file() {
            let expected = [[1; 4096], [2; 4096]].concat();
            assert_eq!(fs::read(&walked.os_path).unwrap(), expected);
            assert_eq!(walked.entry.metadata.unwrap().mtime_ns, OLD_NS);
        }
    }
}
