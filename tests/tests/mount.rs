//! `mount`: snapshots as a folder, through the kernel.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Running, Sandbox, id_of};
use strongroom_tests::services::unavailable;

/// A mount that is there; `None` where this machine has no FUSE, which is then counted as a skipped test.
fn mounted(sandbox: &Sandbox, folder: &Path, more: &[&str]) -> Option<Running> {
    if !Path::new("/dev/fuse").exists() {
        unavailable("FUSE", "there is no /dev/fuse").unwrap();
        return None;
    }
    std::fs::create_dir_all(folder).unwrap();
    let mut running = sandbox.start(["mount", folder.to_str().unwrap()].iter().chain(more));
    let mut line = String::new();
    BufReader::new(running.stdout()).read_line(&mut line).unwrap();
    assert!(line.contains("snapshots are in"), "{line:?}");
    Some(running)
}

fn names(folder: PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_are_there_as_they_were() {
    let sandbox = Sandbox::new();
    // More than is opened ahead, with a hole, and more names than are read at once.
    let mut long = noise(20 << 20, 1);
    long[3 << 20..7 << 20].fill(0);
    let _ = sandbox.write("data/long", &long);
    for number in 0..2100 {
        let _ = sandbox.write(format!("data/many/{number:05}"), number.to_string());
    }
    let _ = sandbox.write("data/many.txt", "behind all that lies in it");
    symlink("many/00007", sandbox.path("data/link")).unwrap();
    std::fs::set_permissions(sandbox.path("data/many.txt"), PermissionsExt::from_mode(0o640)).unwrap();
    let data = sandbox.path("data");
    let first = sandbox.backup(["files", "--source", "a/b", data.to_str().unwrap()]);
    let _ = sandbox.write("data/new", "only in the second");
    let _second = sandbox.backup(["files", "--source", "a/b", data.to_str().unwrap()]);
    let _ = sandbox.backup_stream("dump", b"of a stream");

    let folder = sandbox.path("shown");
    let Some(running) = mounted(&sandbox, &folder, &[]) else { return };
    assert_eq!(names(folder.clone()), ["ids", "latest", "sources"]);
    assert_eq!(names(folder.join("ids")).len(), 3);
    assert_eq!(names(folder.join("sources")), ["a%2Fb", "dump"]);
    assert_eq!(std::fs::read(folder.join("sources/dump/latest/dump")).unwrap(), b"of a stream");
    let inner = data.strip_prefix("/").unwrap();
    let shown = folder.join("sources/a%2Fb/latest").join(inner);
    let compared =
        Command::new("diff").args(["-r", "--no-dereference"]).arg(&data).arg(&shown).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
    for name in ["many.txt", "long", "many"] {
        let (is, was) = (shown.join(name).metadata().unwrap(), data.join(name).metadata().unwrap());
        assert_eq!((is.mode(), is.uid(), is.gid()), (was.mode(), was.uid(), was.gid()), "{name}");
        assert_eq!((is.mtime(), is.mtime_nsec()), (was.mtime(), was.mtime_nsec()), "{name}");
    }
    assert_eq!(std::fs::read_link(shown.join("link")).unwrap(), Path::new("many/00007"));
    let mut file = std::fs::File::open(shown.join("long")).unwrap();
    for offset in [(20 << 20) - 10, 0, (7 << 20) - 5, 12_345_678, 3 << 20] {
        let mut bytes = [0; 10];
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.read_exact(&mut bytes).unwrap();
        let at = usize::try_from(offset).unwrap();
        assert_eq!(bytes, long[at..at + 10], "{offset}");
    }
    let id = &id_of(&first)[..8];
    let old = folder.join("ids").join(id).join(inner);
    assert!(old.join("many.txt").exists() && !old.join("new").exists());
    let refused = std::fs::write(shown.join("new"), "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::ROFS.raw_os_error()));

    // Nothing may be in use when it is unmounted.
    drop(file);
    running.signal(Signal::INT);
    let _ended = running.wait().assert_code(0);
    assert_eq!(names(folder), [""; 0]);
}

#[test]
fn only_what_was_asked_for_is_shown() {
    let sandbox = Sandbox::new();
    let _ = sandbox.backup_stream("one", b"1");
    let _ = sandbox.backup_stream("two", b"2");
    let folder = sandbox.path("shown");
    let _ = sandbox.write("full/file", "");
    let full = sandbox.path("full");
    let _refused =
        sandbox.run(["mount", full.to_str().unwrap()]).assert_code(2).assert_says(["is no empty folder"]);
    std::fs::create_dir_all(&folder).unwrap();
    let unknown = sandbox.run(["mount", folder.to_str().unwrap(), "--source", "three"]);
    let _refused = unknown.assert_code(2).assert_says(["there is no snapshot of `three`"]);
    let Some(running) = mounted(&sandbox, &folder, &["--source", "two"]) else { return };
    assert_eq!(names(folder.join("sources")), ["two"]);
    assert_eq!(std::fs::read(folder.join("latest/two")).unwrap(), b"2");
    // By whoever may, from outside.
    let unmounted = Command::new("umount").arg(&folder).output().unwrap();
    if unmounted.status.success() {
        let _ended = running.wait().assert_code(0);
    } else {
        running.signal(Signal::TERM);
        let _ended = running.wait().assert_code(0);
    }
    let trail = sandbox.run(["audit"]);
    let _said = trail.assert_prints(["mount"]);
}
