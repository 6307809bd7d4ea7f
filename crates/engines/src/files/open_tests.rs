use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use tempfile::tempdir;

use super::super::WalkOptions;
use super::super::test_tree::*;
use super::*;

fn walked(path: &Path) -> WalkedEntry {
    let parent = path.parent().unwrap();
    let found = entries_below(parent, WalkOptions::default()).into_iter();
    found.into_iter().find(|walked| walked.os_path == path).unwrap()
}

fn extents(path: &Path) -> Vec<Extent> {
    let mut file = OpenFile::open(&walked(path)).unwrap();
    std::iter::from_fn(|| file.next_extent().unwrap()).collect()
}

#[test]
fn holes_are_found() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(9 << 20).unwrap();
    assert_eq!(extents(&path), [Extent::Hole { offset: 0, length: 9 << 20 }]);
    file.write_all_at(&[7; 1 << 16], 1 << 20).unwrap();
    file.write_all_at(&[7; 1 << 16], 4 << 20).unwrap();
    file.sync_all().unwrap();
    assert_eq!(
        extents(&path),
        [
            Extent::Hole { offset: 0, length: 1 << 20 },
            Extent::Data { offset: 1 << 20, length: 1 << 16 },
            Extent::Hole { offset: (1 << 20) + (1 << 16), length: (3 << 20) - (1 << 16) },
            Extent::Data { offset: 4 << 20, length: 1 << 16 },
            Extent::Hole { offset: (4 << 20) + (1 << 16), length: (5 << 20) - (1 << 16) },
        ]
    );
}

#[test]
fn a_file_without_holes_is_one_extent() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("full");
    fs::write(&path, vec![1; 5 << 20]).unwrap();
    assert_eq!(extents(&path), [Extent::Data { offset: 0, length: 5 << 20 }]);
    fs::write(&path, b"").unwrap();
    assert_eq!(extents(&path), []);
}

#[test]
fn reading_stops_at_the_end() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, b"0123456789").unwrap();
    let entry = walked(&path);
    let file = OpenFile::open(&entry).unwrap();
    let mut buffer = [0; 8];
    assert_eq!((file.size(), file.read_at(&mut buffer, 6).unwrap()), (10, 4));
    assert_eq!(&buffer[..4], b"6789");
    assert_eq!(file.read_at(&mut buffer, 99).unwrap(), 0);
}

#[test]
fn writing_meanwhile_shows() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, b"before").unwrap();
    let entry = walked(&path);
    let file = OpenFile::open(&entry).unwrap();
    assert!(!file.changed_since(&entry).unwrap());
    // As long as before: only the time tells.
    let written = File::options().write(true).open(&path).unwrap();
    (&written).write_all(b"behind").unwrap();
    written.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(file.changed_since(&entry).unwrap());
}

#[test]
fn what_took_the_place_of_a_file_is_not_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("sub/f");
    let replace = |with: &dyn Fn(&Path)| {
        let _ = fs::remove_dir_all(path.parent().unwrap());
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, b"content").unwrap();
        let entry = walked(&path);
        // Kept, so that its inode number is not used again.
        fs::rename(&path, path.with_extension("old")).unwrap();
        with(&path);
        let error = OpenFile::open(&entry).unwrap_err();
        Errno::from_io_error(&error).unwrap()
    };
    assert_eq!(replace(&|path| fs::write(path, b"content").unwrap()), Errno::STALE);
    // Nobody writes to it: to wait for that would be for ever.
    assert_eq!(replace(&|path| rustix::fs::mkfifoat(CWD, path, Mode::RWXU).unwrap()), Errno::STALE);
    assert_eq!(replace(&|path| fs::create_dir(path).unwrap()), Errno::STALE);
    assert_eq!(replace(&|path| symlink(path.with_extension("old"), path).unwrap()), Errno::LOOP);
    assert_eq!(replace(&|_| {}), Errno::NOENT);
    let moved_folder = replace(&|path| {
        let (sub, moved) = (path.parent().unwrap(), folder.path().join("moved"));
        fs::rename(path.with_extension("old"), path).unwrap();
        fs::rename(sub, &moved).unwrap();
        symlink(&moved, sub).unwrap();
    });
    assert_eq!(moved_folder, Errno::LOOP);
}
