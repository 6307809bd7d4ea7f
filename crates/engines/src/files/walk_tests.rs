use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::tempdir;

use super::super::test_tree::*;
use super::super::{DirectoryTarget, HardLinks, OpenFile, TargetOptions};
use super::*;

fn excluding(patterns: &[&str]) -> WalkOptions {
    let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
    WalkOptions { excludes: Excludes::new(&patterns, &[]).unwrap(), ..WalkOptions::default() }
}

fn make(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !file.ends_with('/') {
            fs::write(path, file).unwrap();
        }
    }
}

fn failures(walked: &[Walked]) -> Vec<(PathBuf, &'static str, Option<Errno>, bool)> {
    let failed = walked.iter().filter_map(|walked| match walked {
        Walked::Failed { path, operation, error, vanished } => {
            Some((path.clone(), *operation, Errno::from_io_error(error), *vanished))
        }
        _ => None,
    });
    failed.collect()
}

fn exclusions(walked: &[Walked]) -> Vec<(PathBuf, ExcludeReason)> {
    let excluded = walked.iter().filter_map(|walked| match walked {
        Walked::Excluded { path, reason } => Some((path.clone(), *reason)),
        _ => None,
    });
    excluded.collect()
}

fn entry(walked: Vec<Walked>, path: &Path) -> WalkedEntry {
    let mut found = walked.into_iter().filter_map(|walked| match walked {
        Walked::Entry(entry) if absolute(entry.entry.path.as_bytes()) == path => Some(*entry),
        _ => None,
    });
    found.next().unwrap()
}

#[test]
fn a_folder_is_followed_by_what_lies_in_it() {
    let root = tempdir().unwrap();
    make(root.path(), &["b", "a.b", "a/z", "a/b/c", "a!", "A"]);
    assert_eq!(
        names_below(root.path(), WalkOptions::default()),
        ["A", "a", "a/b", "a/b/c", "a/z", "a!", "a.b", "b"]
    );
}

#[test]
fn the_folders_above_a_root_are_kept_with_their_metadata() {
    let root = tempdir().unwrap();
    make(root.path(), &["on/the/way/f", "on/other"]);
    let walked = walk(&[&root.path().join("on/the/way")], WalkOptions::default());
    let paths: Vec<_> = walked
        .iter()
        .map(|walked| match walked {
            Walked::Entry(entry) => absolute(entry.entry.path.as_bytes()),
            other => panic!("{other:?}"),
        })
        .collect();
    let file = root.path().join("on/the/way/f");
    let mut expected: Vec<_> = file.ancestors().map(Path::to_path_buf).collect();
    expected.pop();
    expected.reverse();
    assert_eq!(paths, expected);

    let on = root.path().join("on");
    let real = fs::metadata(&on).unwrap();
    let walked = entry(walked, &on);
    let metadata = walked.entry.metadata.unwrap();
    assert_eq!(walked.entry.kind, EntryKind::Directory);
    assert_eq!((metadata.mode, metadata.uid, metadata.gid), (real.mode() & 0o7777, real.uid(), real.gid()));
    assert_eq!(metadata.mtime_ns, real.mtime() * 1_000_000_000 + real.mtime_nsec());
    assert_eq!(metadata.ctime_ns, real.ctime() * 1_000_000_000 + real.ctime_nsec());
    assert_eq!((metadata.inode, walked.device, walked.links), (real.ino(), real.dev(), real.nlink()));
}

#[test]
fn roots_are_merged_into_one_order() {
    let root = tempdir().unwrap();
    make(root.path(), &["a/x", "a/sub/y", "b/z", "c/w"]);
    let at = |name: &str| root.path().join(name);
    let walked = walk(&[&at("c"), &at("a/sub"), &at("b/../a"), &at("c/")], WalkOptions::default());
    let top = root.path().as_os_str().len();
    let paths: Vec<_> = walked
        .iter()
        .filter_map(|walked| match walked {
            Walked::Entry(entry) => Some(entry.entry.path.to_string()),
            _ => None,
        })
        .filter(|path| path.len() > top)
        .map(|path| path[top..].to_owned())
        .collect();
    assert_eq!(paths, ["a", "a/sub", "a/sub/y", "a/x", "c", "c/w"]);
}

#[test]
fn relative_roots_start_in_the_current_folder() {
    let walked = walk(&[Path::new("src/../Cargo.toml")], WalkOptions::default());
    let file = std::env::current_dir().unwrap().join("Cargo.toml");
    assert_eq!(entry(walked, &file).size, fs::metadata(&file).unwrap().len());
    assert!(matches!(Walk::new(&[], WalkOptions::default()), Err(WalkError::NoRoots)));
}

#[test]
fn a_symbolic_link_is_kept_and_followed_only_to_lead_on() {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    make(root.path(), &["real/f", "real/sub/g"]);
    symlink("real", at("link")).unwrap();

    let kept = entry(walk(&[&at("link")], WalkOptions::default()), &at("link"));
    assert_eq!(kept.entry.kind, EntryKind::Symlink { target: b"real".to_vec() });

    let names = |walked: &[Walked]| {
        let below = walked.iter().filter_map(|walked| match walked {
            Walked::Entry(entry) => {
                absolute(entry.entry.path.as_bytes()).strip_prefix(root.path()).ok().map(Path::to_path_buf)
            }
            _ => None,
        });
        below.map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let followed = walk(&[&at("link/")], WalkOptions::default());
    assert_eq!(names(&followed), ["", "link", "link/f", "link/sub", "link/sub/g"]);
    let led_on = walk(&[&at("link/sub"), &at("link")], WalkOptions::default());
    assert_eq!(names(&led_on), ["", "link", "link/f", "link/sub", "link/sub/g"]);

    let link = entry(led_on, &at("link"));
    assert_eq!((link.entry.kind, link.os_path), (EntryKind::Directory, at("real").canonicalize().unwrap()));
    let file = entry(followed, &at("link/f"));
    let mut bytes = [0; 9];
    assert_eq!(OpenFile::open(&file).unwrap().read_at(&mut bytes, 0).unwrap(), 6);
    assert_eq!(&bytes[..6], b"real/f");
}

#[test]
fn patterns_leave_out_and_say_so() {
    let root = tempdir().unwrap();
    make(root.path(), &["keep", "x.o", "sub/y.o", "cache/a", "sub/cache"]);
    let at = |name: &str| root.path().join(name);
    let options = excluding(&["*.o", "cache/"]);
    assert_eq!(names_below(root.path(), options.clone()), ["keep", "sub", "sub/cache"]);
    let walked = walk(&[root.path()], options);
    let expected = ["cache", "sub/y.o", "x.o"].map(at);
    assert_eq!(exclusions(&walked), expected.map(|path| (path, ExcludeReason::Pattern)));
}

#[test]
fn patterns_apply_to_roots_and_not_above_them() {
    let root = tempdir().unwrap();
    make(root.path(), &["up/a/f", "up/b/f", "up/b/in/g"]);
    let at = |name: &str| root.path().join(name);
    let walked = walk(&[&at("up/a"), &at("up/b")], excluding(&["up", "/**/b"]));
    assert!(
        !exclusions(&walked).is_empty() && exclusions(&walked).iter().all(|(path, _)| *path == at("up/b"))
    );
    assert!(entry(walked, &at("up/a/f")).is_file());

    // A root in a folder that is left out: the folder only leads on to it.
    let walked = walk(&[&at("up"), &at("up/b/in")], excluding(&["b"]));
    assert_eq!(exclusions(&walked), [(at("up/b"), ExcludeReason::Pattern)]);
    let kept = |path: &str| {
        walked.iter().any(|walked| {
            matches!(walked, Walked::Entry(entry) if absolute(entry.entry.path.as_bytes()) == at(path))
        })
    };
    assert!(kept("up/b") && kept("up/b/in/g") && !kept("up/b/f"));
}

#[test]
fn tagged_caches_keep_their_tag() {
    let root = tempdir().unwrap();
    make(root.path(), &["real/x", "real/CACHEDIR.TAG", "fake/x", "fake/CACHEDIR.TAG", "fifo/x", "fifo/in/y"]);
    let at = |name: &str| root.path().join(name);
    fs::write(at("real/CACHEDIR.TAG"), [&CACHE_TAG_SIGNATURE[..], b"\n# by hand"].concat()).unwrap();
    rustix::fs::mkfifoat(CWD, at("fifo/CACHEDIR.TAG"), Mode::RWXU).unwrap();
    let options = WalkOptions { exclude_caches: true, ..WalkOptions::default() };
    assert_eq!(
        names_below(root.path(), options.clone()),
        [
            "fake",
            "fake/CACHEDIR.TAG",
            "fake/x",
            "fifo",
            "fifo/CACHEDIR.TAG",
            "fifo/in",
            "fifo/in/y",
            "fifo/x",
            "real",
            "real/CACHEDIR.TAG"
        ]
    );
    assert_eq!(exclusions(&walk(&[root.path()], options)), [(at("real"), ExcludeReason::CacheTag)]);
    assert!(names_below(root.path(), WalkOptions::default()).contains(&"real/x".to_owned()));
}

#[test]
fn marked_folders_keep_their_marker() {
    let root = tempdir().unwrap();
    make(root.path(), &["a/.nobackup", "a/x", "a/sub/y", "b/x"]);
    let at = |name: &str| root.path().join(name);
    let options =
        WalkOptions { exclude_if_present: vec!["no".into(), ".nobackup".into()], ..WalkOptions::default() };
    assert_eq!(names_below(root.path(), options.clone()), ["a", "a/.nobackup", "b", "b/x"]);
    let walked = walk(&[root.path(), &at("a/sub")], options);
    assert_eq!(exclusions(&walked), [(at("a"), ExcludeReason::Marker)]);
    assert_eq!(entry(walked, &at("a/sub/y")).size, 7);
}

#[test]
fn other_file_systems_are_left_out_unless_they_are_roots() {
    let (dev, pts) = (Path::new("/dev"), Path::new("/dev/pts"));
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    if device(dev) == device(pts) || device(pts).is_none() {
        return;
    }
    let options = WalkOptions { one_file_system: true, ..WalkOptions::default() };
    let lies_in = |walked: &[Walked]| {
        let below = walked.iter().filter(|walked| {
            matches!(walked, Walked::Entry(entry) if entry.entry.path.as_bytes().starts_with(b"dev/pts/"))
        });
        below.count()
    };
    let left_out = walk(&[dev], options.clone());
    assert!(exclusions(&left_out).contains(&(pts.into(), ExcludeReason::OtherDevice)));
    assert_eq!(lies_in(&left_out), 0);
    assert!(entry(left_out, pts).is_directory());

    let named = walk(&[dev, pts], options);
    assert!(!exclusions(&named).contains(&(pts.into(), ExcludeReason::OtherDevice)));
    assert!(lies_in(&named) > 0);
}

#[test]
fn names_are_bytes() {
    let root = tempdir().unwrap();
    let names: [&[u8]; 4] = [b"\x01\n", b" ", b"a\xff", b"a\xff\xfe"];
    names.iter().for_each(|name| fs::write(root.path().join(OsStr::from_bytes(name)), name).unwrap());
    let found: Vec<_> = entries_below(root.path(), WalkOptions::default())
        .iter()
        .map(|entry| entry.entry.path.file_name().to_vec())
        .collect();
    assert_eq!(found, names);
}

#[test]
fn extended_attributes_are_sorted_and_optional() {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    make(root.path(), &["f", "plain"]);
    fs::create_dir(at("d")).unwrap();
    symlink("f", at("link")).unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty())
    };
    if set(&at("f"), "user.z", b"last") == Err(Errno::NOTSUP) {
        return;
    }
    set(&at("f"), "user.a", b"").unwrap();
    set(&at("d"), "user.d", &[0, 255]).unwrap();
    if is_root() {
        set(&at("link"), "trusted.link", b"own").unwrap();
    }
    let xattrs = |name: &str, options: WalkOptions| {
        entry(walk(&[root.path()], options), &at(name)).entry.metadata.unwrap().xattrs
    };
    let read = |name: &str| xattrs(name, WalkOptions::default());
    assert_eq!(read("f"), [(b"user.a".to_vec(), vec![]), (b"user.z".to_vec(), b"last".to_vec())]);
    assert_eq!(read("d"), [(b"user.d".to_vec(), vec![0, 255])]);
    assert_eq!(read("plain"), []);
    assert_eq!(read("link").len(), usize::from(is_root()));
    let scoped =
        |name: &str, scope| xattrs(name, WalkOptions { xattrs: scope, ..WalkOptions::default() }).len();
    assert_eq!((scoped("f", XattrScope::NotOfFiles), scoped("d", XattrScope::NotOfFiles)), (0, 1));
    assert_eq!((scoped("f", XattrScope::None), scoped("d", XattrScope::None)), (0, 0));

    // More than is offered first, of names and of values.
    let plain = at("plain");
    let (long, value) = (format!("user.{}", "n".repeat(200)), vec![7; 2000]);
    for at in 0..4 {
        set(&plain, &format!("{long}{at}"), if at == 2 { &value } else { b"" }).unwrap();
    }
    let large = read("plain");
    assert_eq!((large.len(), &large[2].1), (4, &value));
    let walked = entry(walk(&[root.path()], WalkOptions::default()), &at("plain"));
    assert_eq!(OpenFile::open(&walked).unwrap().xattrs().unwrap(), large);
}

#[test]
fn every_kind_has_its_entry() {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    make(root.path(), &["file"]);
    rustix::fs::mkfifoat(CWD, at("fifo"), Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink(OsStr::from_bytes(b"../\xff"), at("link")).unwrap();
    let node = |name: &str, kind| {
        rustix::fs::mknodat(CWD, at(name), kind, Mode::RUSR, rustix::fs::makedev(1234, 98765))
    };
    let mut expected = vec![
        ("fifo", EntryKind::Fifo),
        ("file", EntryKind::File(Content::Inline(vec![]))),
        ("link", EntryKind::Symlink { target: b"../\xff".to_vec() }),
        ("socket", EntryKind::Socket),
    ];
    if is_root() && node("b", FileType::BlockDevice).is_ok() {
        node("c", FileType::CharacterDevice).unwrap();
        expected.insert(0, ("b", EntryKind::BlockDevice { major: 1234, minor: 98765 }));
        expected.insert(1, ("c", EntryKind::CharacterDevice { major: 1234, minor: 98765 }));
    }
    let entries = entries_below(root.path(), WalkOptions::default());
    let found: Vec<_> =
        entries.iter().map(|walked| (walked.entry.path.file_name(), &walked.entry.kind)).collect();
    let expected: Vec<_> = expected.iter().map(|(name, kind)| (name.as_bytes(), kind)).collect();
    assert_eq!(found, expected);
    assert!(entries.iter().all(|entry| entry.size == if entry.is_file() { 4 } else { 0 }));
}

#[test]
fn missing_roots_are_reported_and_the_rest_is_walked() {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    make(root.path(), &["here/f", "file"]);
    let roots = ["gone/x", "gone/y", "here", "file/below", "here/none"].map(at);
    let walked = walk(&roots.each_ref().map(PathBuf::as_path), WalkOptions::default());
    let missing = |path: &Path, error| (path.to_path_buf(), READ_METADATA, Some(error), false);
    assert_eq!(
        failures(&walked),
        [
            missing(&at("file/below"), Errno::NOTDIR),
            missing(&at("gone/x"), Errno::NOENT),
            missing(&at("gone/y"), Errno::NOENT),
            missing(&at("here/none"), Errno::NOENT),
        ]
    );
    assert!(entry(walked, &at("here/f")).is_file());
}

/// Steps until the entry at `path`, which it returns.
fn step_to(walk: &mut Walk, path: &Path) -> WalkedEntry {
    let found = walk.find_map(|walked| match walked {
        Walked::Entry(entry) if absolute(entry.entry.path.as_bytes()) == path => Some(*entry),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn what_vanishes_meanwhile_is_told_apart() {
    let root = tempdir().unwrap();
    make(root.path(), &["file", "folder/x", "last"]);
    let mut walk = Walk::new(&[root.path().to_path_buf()], WalkOptions::default()).unwrap();
    step_to(&mut walk, root.path());
    fs::remove_file(root.path().join("file")).unwrap();
    fs::remove_dir_all(root.path().join("folder")).unwrap();
    let walked: Vec<_> = walk.collect();
    let gone = |name: &str| (root.path().join(name), READ_METADATA, Some(Errno::NOENT), true);
    assert_eq!(failures(&walked), [gone("file"), gone("folder")]);
    assert!(matches!(walked.last(), Some(Walked::Entry(entry)) if entry.entry.path.file_name() == b"last"));
}

#[test]
fn a_folder_swapped_for_a_link_does_not_lead_astray() {
    let root = tempdir().unwrap();
    let elsewhere = tempdir().unwrap();
    make(elsewhere.path(), &["secret"]);
    make(root.path(), &["a/secret", "b/secret"]);
    let at = |name: &str| root.path().join(name);
    let mut walk = Walk::new(&[root.path().to_path_buf()], WalkOptions::default()).unwrap();
    // `a` is open and listed by now, `b` was listed only.
    step_to(&mut walk, &at("a"));
    for name in ["a", "b"] {
        fs::rename(at(name), at(&format!("{name}.moved"))).unwrap();
        symlink(elsewhere.path(), at(name)).unwrap();
    }
    let seen = step_to(&mut walk, &at("a/secret"));
    assert_eq!(seen.inode(), fs::metadata(at("a.moved/secret")).unwrap().ino());
    assert!(OpenFile::open(&seen).is_err());
    assert!(matches!(step_to(&mut walk, &at("b")).entry.kind, EntryKind::Symlink { .. }));
    assert!(walk.next().is_none());
}

#[test]
fn what_may_not_be_read_is_reported() {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    make(root.path(), &["closed/in/x", "open"]);
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o711)).unwrap();
    as_nobody(|| {
        let walked = walk(&[root.path()], WalkOptions::default());
        assert_eq!(failures(&walked), [(at("closed"), READ_FOLDER, Some(Errno::ACCESS), false)]);
        entry(walk(&[root.path()], WalkOptions::default()), &at("open"));
        // A way in can lead through a folder that cannot be listed.
        let walked = walk(&[root.path(), &at("closed/in")], WalkOptions::default());
        assert_eq!(failures(&walked).len(), 1);
        entry(walked, &at("closed/in/x"));
    });
}

/// Deeper than folders stay open, and longer than a path may be.
fn deep_tree(root: &Path) -> (usize, PathBuf) {
    let depth = OPEN_FOLDERS + 150;
    let target = DirectoryTarget::open(root, TargetOptions::default()).unwrap();
    let name = "d".repeat(30);
    let mut path = Vec::new();
    for level in 0..depth {
        for sibling in ["a", "z"] {
            let file = TreeEntry {
                path: entry_path([&path[..], sibling.as_bytes()].concat()),
                kind: EntryKind::Stream(Content::Inline(vec![])),
                metadata: None,
                link_to: None,
            };
            let created = target.create(&file.path, &file).unwrap();
            if let super::super::Created::File(created) = created {
                target.write_at(&created, 0, level.to_string().as_bytes()).unwrap();
            }
        }
        path.extend_from_slice(name.as_bytes());
        path.push(b'/');
    }
    (depth, root.join(name))
}

#[test]
fn deep_trees_take_few_descriptors_and_no_long_paths() {
    let root = tempdir().unwrap();
    let (depth, _) = deep_tree(root.path());
    let entries = entries_below(root.path(), WalkOptions::default());
    assert_eq!(entries.len(), depth * 3 - 1);
    let deepest = entries.iter().rfind(|walked| walked.entry.path.file_name() == b"a").unwrap();
    assert!(deepest.os_path.as_os_str().len() > 4096);
    let mut bytes = [0; 9];
    let length = OpenFile::open(deepest).unwrap().read_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes[..length], *(depth - 1).to_string().as_bytes());
}

#[test]
fn a_folder_moved_away_from_above_is_reported() {
    let root = tempdir().unwrap();
    let (depth, top) = deep_tree(root.path());
    let mut walk = Walk::new(&[root.path().to_path_buf()], WalkOptions::default()).unwrap();
    let deepest =
        (0..depth - 1).fold(root.path().to_path_buf(), |path, _| path.join(top.file_name().unwrap()));
    step_to(&mut walk, &deepest.join("z"));
    let moved = root.path().join("moved");
    fs::rename(top.join(top.file_name().unwrap()), &moved).unwrap();
    let walked: Vec<_> = walk.collect();
    let failed = failures(&walked);
    assert!(failed.iter().all(|(_, what, error, _)| (*what, *error) == (READ_FOLDER, Some(Errno::STALE))));
    assert_eq!(failed[0].0, top);
}

#[test]
fn hard_links_name_their_first_path_and_are_forgotten() {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    make(root.path(), &["a", "b/x", "lone"]);
    for name in ["b/y", "c", "d"] {
        fs::hard_link(at("a"), at(name)).unwrap();
    }
    fs::hard_link(at("b/x"), at("z")).unwrap();
    let outside = tempfile::NamedTempFile::new_in(root.path().parent().unwrap()).unwrap();
    fs::hard_link(outside.path(), at("half")).unwrap();

    let mut links = HardLinks::default();
    let mut found = Vec::new();
    let mut open = Vec::new();
    for walked in entries_below(root.path(), WalkOptions::default()) {
        let first = links.first_path(&walked);
        open.push(links.open_files());
        if let Some(first) = first {
            let name = |path| below(root.path(), path).to_string();
            found.push((name(&walked.entry.path), name(&first)));
        }
    }
    let pair = |path: &str, first: &str| (path.to_owned(), first.to_owned());
    assert_eq!(found, [pair("b/y", "a"), pair("c", "a"), pair("d", "a"), pair("z", "b/x")]);
    // a b b/x b/y c d half lone z: what is left open has a path outside.
    assert_eq!(open, [1, 1, 2, 2, 2, 1, 2, 2, 1]);
}
