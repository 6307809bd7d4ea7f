//! `backup files` and back: all that a file system says of a file, and what is left out on request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use strongroom_tests::mount::SmallDisk;
use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Sandbox, run, text};
use strongroom_tests::services::unavailable;
use strongroom_tests::tree;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Also of what may not be opened, and before 1970.
fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Backs up `source` and restores it to `target`; both must then be the same in every respect.
fn round_trip(sandbox: &Sandbox) -> PathBuf {
    let source = sandbox.path("source");
    let before = tree::read(&source);
    let _backup = sandbox.backup(["files", "source"]);
    assert!(before == tree::read(&source), "the backup changed the source");
    let ran = run(sandbox.command(["restore", "latest", "--target", "target", "--subtree"]).arg(&source))
        .assert_code(0);
    assert!(!ran.stderr.contains("warning"), "{ran}");
    let target = sandbox.path("target");
    tree::assert_same_trees(&before, &tree::read(&target));
    sandbox.assert_clean();
    target
}

/// The paths of the newest snapshot below `source`.
fn listed(sandbox: &Sandbox) -> Vec<String> {
    let source = sandbox.path("source");
    let ran = run(sandbox.command(["ls", "latest", "--json"]).arg(&source)).assert_code(0);
    let entries = ran.all("entry");
    let below = entries.iter().map(|entry| text(&entry["path"]));
    let prefix = format!("{}/", source.strip_prefix("/").unwrap().display());
    below.filter_map(|path| path.strip_prefix(&prefix).map(str::to_owned)).collect()
}

#[test]
fn modes_times_and_contents_come_back() {
    let sandbox = Sandbox::new();
    for (number, mode) in
        [0o644, 0o600, 0o444, 0o000, 0o755, 0o4755, 0o2755, 0o1644, 0o777].into_iter().enumerate()
    {
        let path = sandbox.write(format!("source/modes/{mode:o}"), noise(number * 3000, 1));
        set_mode(&path, mode);
    }
    if !rustix::process::geteuid().is_root() {
        set_mode(&sandbox.path("source/modes/0"), 0o400);
    }
    sandbox.write("source/empty", "");
    for length in [1, 4095, 4096, 4097, 65_536, 1 << 20, 3_000_001] {
        sandbox.write(format!("source/sizes/{length}"), noise(length, 2));
    }
    for (name, seconds, nanoseconds) in [
        ("now", 1_700_000_000, 123_456_789),
        ("early", 1, 1),
        ("before", -1, 999_999_999),
        ("future", 4_102_444_800, 1),
    ] {
        set_mtime(&sandbox.write(format!("source/times/{name}"), name), seconds, nanoseconds);
    }
    for (name, mode) in [("sticky", 0o1777), ("setgid", 0o2750), ("private", 0o700), ("open", 0o755)] {
        let path = sandbox.path(format!("source/folders/{name}/deep/deeper"));
        fs::create_dir_all(&path).unwrap();
        set_mode(path.parent().unwrap().parent().unwrap(), mode);
        set_mtime(&path, 1_000_000_000, 5);
        set_mtime(path.parent().unwrap(), 1_000_000_001, 6);
    }
    // A folder that its owner may not write to, with something in it.
    sandbox.write("source/folders/closed/inside", "x");
    set_mode(&sandbox.path("source/folders/closed"), 0o555);
    set_mtime(&sandbox.path("source"), 1_234_567_890, 987_654_321);
    let _target = round_trip(&sandbox);
    for path in ["source/folders/closed", "target/folders/closed"] {
        set_mode(&sandbox.path(path), 0o755);
    }
}

#[test]
fn owners_come_back() {
    if !rustix::process::geteuid().is_root() {
        return unavailable("root", "only root gives files away").unwrap();
    }
    let sandbox = Sandbox::new();
    for (number, (uid, gid)) in
        [(0, 0), (1, 1), (65_534, 65_534), (123_456, 654_321), (4_000_000_000, 4_000_000_001)]
            .into_iter()
            .enumerate()
    {
        let path = sandbox.write(format!("source/{number}"), "x");
        chown(&path, Some(uid), Some(gid)).unwrap();
        set_mode(&path, 0o6755);
        let link = sandbox.path(format!("source/link{number}"));
        symlink("x", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(uid), Some(gid)).unwrap();
    }
    chown(sandbox.path("source"), Some(1234), Some(5678)).unwrap();
    let _target = round_trip(&sandbox);
}

#[test]
fn links_come_back() {
    let sandbox = Sandbox::new();
    let first = sandbox.write("source/a/first", noise(2_000_000, 1));
    for name in ["a/second", "b-third", "z/fourth"] {
        let path = sandbox.path("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::hard_link(&first, path).unwrap();
    }
    for (name, target) in [
        ("relative", "a/first"),
        ("absolute", "/etc/passwd"),
        ("dangling", "no/where"),
        ("loop", "loop"),
        ("folder", "a"),
        ("up", "../../.."),
    ] {
        symlink(target, sandbox.path("source").join(name)).unwrap();
    }
    symlink(OsStr::from_bytes(b"\xff\xfe not text"), sandbox.path("source/bytes")).unwrap();
    set_mtime(&sandbox.path("source/dangling"), 1_111_111_111, 111);
    fs::hard_link(sandbox.path("source/dangling"), sandbox.path("source/dangling2")).unwrap();
    let target = round_trip(&sandbox);
    assert_eq!(fs::metadata(target.join("a/first")).unwrap().nlink(), 4);
    let again = sandbox.backup(["files", "source", "--force"]);
    assert_eq!(again["new_bytes"], 0);
}

#[test]
fn holes_stay_holes() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("source")).unwrap();
    let sparse = |name: &str, length: u64, data: &[u64]| {
        let file = File::create(sandbox.path("source").join(name)).unwrap();
        file.set_len(length).unwrap();
        for at in data {
            file.write_all_at(&noise(4096, *at), *at).unwrap();
        }
    };
    sparse("all", 16 << 20, &[]);
    sparse("middle", 16 << 20, &[5 << 20]);
    sparse("ends", 16 << 20, &[0, (16 << 20) - 4096]);
    sparse("odd", (8 << 20) + 123, &[1 << 20, 3 << 20]);
    sandbox.write("source/zeros", vec![0; 1 << 20]);
    let allocated = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    if allocated(&sandbox.path("source/all")) > 0 {
        return unavailable("holes", "this file system has none").unwrap();
    }
    let target = round_trip(&sandbox);
    for name in ["all", "middle", "ends", "odd"] {
        assert!(
            allocated(&target.join(name)) < 1 << 16,
            "{name} has {} bytes allocated",
            allocated(&target.join(name))
        );
    }
    assert!(allocated(&target.join("zeros")) >= 1 << 20, "written zeros became a hole unasked");
    let source = sandbox.path("source");
    let _sparse = run(sandbox
        .command(["restore", "latest", "--sparse", "--target", "target2", "--subtree"])
        .arg(&source))
    .assert_code(0);
    tree::assert_same(&source, &sandbox.path("target2"));
    assert_eq!(allocated(&sandbox.path("target2/zeros")), 0);
}

#[test]
fn a_sparse_terabyte_costs_nothing() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("source")).unwrap();
    let file = File::create(sandbox.path("source/disk")).unwrap();
    let data = noise(4096, 1);
    let length = 1_u64 << 40;
    if file.set_len(length).is_err() || fs::metadata(sandbox.path("source/disk")).unwrap().blocks() > 0 {
        return unavailable("sparse terabytes", "this file system has none").unwrap();
    }
    file.write_all_at(&data, length / 2).unwrap();
    let report = sandbox.backup(["files", "source"]);
    assert_eq!(report["bytes"], length);
    assert!(report["new_bytes"].as_u64().unwrap() < 1 << 20, "{report}");
    let _restored = run(sandbox
        .command(["restore", "latest", "--target", "target", "--subtree"])
        .arg(sandbox.path("source")))
    .assert_code(0);
    let restored = File::open(sandbox.path("target/disk")).unwrap();
    let metadata = restored.metadata().unwrap();
    assert_eq!(metadata.len(), length);
    assert!(metadata.blocks() * 512 < 1 << 20);
    let mut found = vec![0; data.len()];
    restored.read_exact_at(&mut found, length / 2).unwrap();
    assert!(found == data);
}

#[test]
fn attributes_and_access_lists_come_back() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("source/file", "x");
    let folder = sandbox.path("source/folder");
    fs::create_dir(&folder).unwrap();
    let set =
        |path: &Path, name: &str, value: &[u8]| rustix::fs::setxattr(path, name, value, XattrFlags::empty());
    if let Err(error) = set(&file, "user.comment", b"kept") {
        return unavailable("extended attributes", &error.to_string()).unwrap();
    }
    set(&file, "user.empty", b"").unwrap();
    set(&file, "user.bytes", b"\0\xff\n").unwrap();
    set(&folder, "user.folder", &noise(1000, 1)).unwrap();
    // The kernel's form: version 2, then tag, permissions and number of each entry.
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, number) in [
        (0x01_u16, 7_u16, u32::MAX),
        (0x02, 4, 1000),
        (0x04, 4, u32::MAX),
        (0x10, 4, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        list.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &number.to_le_bytes()].concat());
    }
    if let Err(error) = set(&file, "system.posix_acl_access", &list) {
        return unavailable("access lists", &error.to_string()).unwrap();
    }
    set(&folder, "system.posix_acl_access", &list).unwrap();
    set(&folder, "system.posix_acl_default", &list).unwrap();
    // It inherits a list; what is restored into the folder must have its own and no other.
    fs::write(folder.join("inside"), "x").unwrap();
    let _target = round_trip(&sandbox);
    // An attribute alone changed: no content is stored again, and it comes back all the same.
    set(&file, "user.comment", b"changed").unwrap();
    let report = sandbox.backup(["files", "source"]);
    assert_eq!(report["new_bytes"], 0);
    let source = sandbox.path("source");
    let _restored =
        run(sandbox.command(["restore", "latest", "--target", "target2", "--subtree"]).arg(&source))
            .assert_code(0);
    tree::assert_same(&source, &sandbox.path("target2"));
}

#[test]
fn devices_and_pipes_come_back_unread() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("source")).unwrap();
    let node = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, sandbox.path("source").join(name), kind, Mode::from_raw_mode(0o640), device)
    };
    node("pipe", FileType::Fifo, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("socket")).unwrap();
    if let Err(error) = node("zero", FileType::CharacterDevice, rustix::fs::makedev(1, 5)) {
        return unavailable("device nodes", &error.to_string()).unwrap();
    }
    node("disk", FileType::BlockDevice, rustix::fs::makedev(7, 300)).unwrap();
    set_mtime(&sandbox.path("source/disk"), 1_000_000_000, 7);
    let _target = round_trip(&sandbox);
    // A socket is listed, and belongs to whoever listens: it is not restored.
    let _backup = sandbox.backup(["files", "socket"]);
    let _listed = sandbox.run(["ls"]).assert_code(0).assert_prints(["/socket"]);
    let _restored = sandbox.run(["restore", "latest", "--target", "target2"]).assert_code(0);
}

#[test]
fn names_that_are_no_text_come_back() {
    let sandbox = Sandbox::new();
    let names = [
        &b"caf\xe9"[..],
        b"\xff\xfe",
        b"new\nline",
        b"tab\there",
        b"\x1b[31mred",
        b"quote'\"",
        b"-rf",
        b" ",
        b"\xf0\x9f\x90\x98",
        b"back\\slash",
        &[b'x'; 255],
    ];
    for name in names {
        let folder = sandbox.path("source").join(OsStr::from_bytes(name));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let _target = round_trip(&sandbox);
    let for_people = sandbox.run(["ls", "-l"]).assert_code(0);
    assert!(!for_people.stdout.contains(&0x1b), "a name reaches the terminal raw");
    assert_eq!(
        for_people.text().lines().count(),
        sandbox.run(["ls", "--json"]).assert_code(0).all("entry").len()
    );
    let _by_people = sandbox.run(["diff", "latest", "latest"]).assert_code(0);
    let found = sandbox.run(["find", "caf*", "--json"]).assert_code(0).all("entry");
    assert_eq!(found.len(), 2);
    assert!(found[0]["path"]["hex"].is_string());
}

#[test]
fn deep_folders_and_many_files_come_back() {
    let sandbox = Sandbox::new();
    let mut deep = PathBuf::from("source/deep");
    for level in 0..60 {
        deep.push(format!("level-{level:030}"));
    }
    sandbox.write(deep.join("bottom"), "found");
    for number in 0..2000 {
        sandbox.write(format!("source/many/{number:05}"), format!("{number}"));
    }
    let _target = round_trip(&sandbox);
}

#[test]
fn what_is_excluded_is_left_out() {
    let sandbox = Sandbox::new();
    for name in
        ["a.log", "keep.log", "a.txt", "tmp/x", "sub/tmp/y", "sub/b.log", "build/out/z", "build/in/z", "[x]"]
    {
        sandbox.write(format!("source/{name}"), "x");
    }
    let patterns = sandbox.write("patterns", "# what nobody needs\n\n*.log\n!keep.log\nbuild/out\n");
    let mut command = sandbox.command([
        "backup",
        "files",
        "source",
        "--exclude",
        "tmp/",
        "-e",
        "\\[x\\]",
        "--exclude-file",
    ]);
    let _done = run(command.arg(&patterns)).assert_code(0);
    assert_eq!(listed(&sandbox), ["a.txt", "build", "build/in", "build/in/z", "keep.log", "sub"]);
    let absolute = sandbox.path("source/sub");
    let _done = run(sandbox.command(["backup", "files", "source", "-e"]).arg(&absolute)).assert_code(0);
    assert!(listed(&sandbox).iter().all(|path| !path.starts_with("sub")));
    for (arguments, said) in [
        (&["--exclude", ""][..], "empty"),
        (&["--exclude", "a{b"], "a{b"),
        (&["--exclude-file", "nowhere"], "nowhere"),
    ] {
        let ran = run(sandbox.command(["backup", "files", "source"]).args(arguments));
        assert!(matches!(ran.status.code(), Some(1 | 2)), "{ran}");
        let _said = ran.assert_says([said]);
    }
    assert_eq!(sandbox.snapshots().len(), 2);
}

#[test]
fn tagged_caches_are_left_out_on_request() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "source/cache/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n",
    );
    sandbox.write("source/cache/deep/x", "x");
    sandbox.write("source/not-a-cache/CACHEDIR.TAG", "no signature");
    sandbox.write("source/not-a-cache/x", "x");
    sandbox.write("source/marked/.nobackup", "");
    sandbox.write("source/marked/x", "x");
    let _all = sandbox.backup(["files", "source"]);
    assert_eq!(listed(&sandbox).len(), 10);
    let _done = sandbox.backup(["files", "source", "--exclude-caches", "--exclude-if-present", ".nobackup"]);
    let kept = [
        "cache",
        "cache/CACHEDIR.TAG",
        "marked",
        "marked/.nobackup",
        "not-a-cache",
        "not-a-cache/CACHEDIR.TAG",
        "not-a-cache/x",
    ];
    assert_eq!(listed(&sandbox), kept);
}

#[test]
fn one_file_system_means_one() {
    let sandbox = Sandbox::new();
    sandbox.write("source/here", "x");
    let Some(disk) = SmallDisk::mount(&sandbox.path("source/mounted"), 1 << 20).unwrap() else { return };
    fs::write(disk.path("there"), "x").unwrap();
    let _one = sandbox.backup(["files", "source", "-x"]);
    assert_eq!(listed(&sandbox), ["here", "mounted"]);
    let _both = sandbox.backup(["files", "source"]);
    assert_eq!(listed(&sandbox), ["here", "mounted", "mounted/there"]);
    // A path that is asked for is a file system that is asked for.
    let _asked = sandbox.backup(["files", "source", "source/mounted", "-x"]);
    assert_eq!(listed(&sandbox), ["here", "mounted", "mounted/there"]);
}

#[test]
fn what_is_unchanged_is_not_stored_again() {
    let sandbox = Sandbox::new();
    sandbox.write("source/a", noise(3_000_000, 1));
    sandbox.write("source/b", noise(50_000, 2));
    let first = sandbox.backup(["files", "source"]);
    assert_eq!(
        (&first["bytes"], &first["new_bytes"], &first["parent"]),
        (&3_050_000.into(), &3_050_000.into(), &().into())
    );
    let second = sandbox.backup(["files", "source"]);
    assert_eq!((&second["new_bytes"], &second["parent"]), (&0.into(), &first["snapshot"]));
    // The folders above are entries too, and others write to them.
    assert!(second["stored_bytes"].as_u64() < Some(100_000), "{second}");
    assert_eq!(second["bytes"], first["bytes"]);
    let forced = sandbox.backup(["files", "source", "--force"]);
    assert_eq!(forced["new_bytes"], 0, "{forced}");
    // Touched, moved, copied: the tree is new, the data is not.
    let file = File::options().write(true).open(sandbox.path("source/b")).unwrap();
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(1))).unwrap();
    fs::rename(sandbox.path("source/a"), sandbox.path("source/c")).unwrap();
    fs::copy(sandbox.path("source/c"), sandbox.path("source/d")).unwrap();
    let moved = sandbox.backup(["files", "source"]);
    assert_eq!((&moved["bytes"], &moved["new_bytes"]), (&6_050_000.into(), &0.into()));
    // A byte in the middle, with the old length and the old time.
    let file = File::options().write(true).open(sandbox.path("source/d")).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"!", 1_500_000).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    let changed = sandbox.backup(["files", "source"]);
    let new = changed["new_bytes"].as_u64().unwrap();
    assert!((1..500_000).contains(&new), "{changed}");
    assert!(
        sandbox.cat("latest", sandbox.path("source/d").to_str().unwrap())
            == fs::read(sandbox.path("source/d")).unwrap()
    );
    sandbox.assert_clean();
}

#[test]
fn a_growing_file_stores_what_grew() {
    let sandbox = Sandbox::new();
    let mut bytes = noise(4_000_000, 1);
    sandbox.write("source/log", &bytes);
    let _first = sandbox.backup(["files", "source"]);
    bytes.extend(noise(100_000, 2));
    sandbox.write("source/log", &bytes);
    let second = sandbox.backup(["files", "source"]);
    let new = second["new_bytes"].as_u64().unwrap();
    assert!((100_000..700_000).contains(&new), "{second}");
    assert!(sandbox.cat("latest", sandbox.path("source/log").to_str().unwrap()) == bytes);
}

#[test]
fn several_paths_and_odd_spellings_make_one_tree() {
    let sandbox = Sandbox::new();
    sandbox.write("one/a", "a");
    sandbox.write("two/b", "b");
    symlink("one", sandbox.path("link")).unwrap();
    let _done = sandbox.backup(["files", "./one/", "two/../two/b", "one"]);
    let entries = sandbox.run(["ls", "--json"]).assert_code(0).all("entry");
    let files = entries.iter().filter(|entry| entry["kind"] == "file").count();
    assert_eq!(files, 2);
    // A link that is named is kept as a link; with a slash behind it, it stands for its folder.
    let _link = sandbox.backup(["files", "link"]);
    let _listed = sandbox.run(["ls"]).assert_code(0).assert_prints(["/link -> one"]);
    let _folder = sandbox.backup(["files", "link/"]);
    let _listed = sandbox.run(["ls"]).assert_code(0).assert_prints(["/link/a"]);
}
