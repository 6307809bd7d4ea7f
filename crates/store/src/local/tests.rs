use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use super::*;
use crate::conformance;

fn name(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}

fn new_store() -> (tempfile::TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::create(folder.path().join("store")).unwrap();
    (folder, store)
}

fn listed(store: &LocalStore) -> Vec<String> {
    let mut names = Vec::new();
    store
        .list("", &mut |name, _| {
            names.push(name.to_string());
            Ok(())
        })
        .unwrap();
    names
}

fn temporaries(store: &LocalStore) -> usize {
    fs::read_dir(store.path.join("tmp")).unwrap().count()
}

#[test]
fn conforms() {
    let (_folder, store) = new_store();
    conformance::suite(&store).unwrap();
    assert!(!store.without_links.load(Ordering::Relaxed));
    assert_eq!(temporaries(&store), 0);
}

#[test]
fn many_and_large_objects_are_kept() {
    let (_folder, store) = new_store();
    conformance::many_objects(&store).unwrap();
    conformance::large_object(&store).unwrap();
    conformance::probe(&store).unwrap();
    assert_eq!(temporaries(&store), 0);
}

#[test]
fn conforms_without_links() {
    let (_folder, store) = new_store();
    store.without_links.store(true, Ordering::Relaxed);
    conformance::suite(&store).unwrap();
    assert_eq!(temporaries(&store), 0);
}

#[test]
fn processes_race_too() {
    let (_folder, store) = new_store();
    let stores: Vec<_> = (0..8).map(|_| LocalStore::open(&store.path).unwrap()).collect();
    let object = name("journal/0000");
    let created = std::thread::scope(|scope| {
        let puts: Vec<_> =
            stores.iter().map(|store| scope.spawn(|| store.put_if_absent(&object, b"entry"))).collect();
        let outcomes = puts.into_iter().map(|put| put.join().unwrap().unwrap());
        outcomes.filter(|outcome| *outcome == PutOutcome::Created).count()
    });
    assert_eq!(created, 1);
    assert_eq!(listed(&store), ["journal/0000"]);
}

#[test]
fn only_the_owner_gets_at_objects() {
    let (_folder, store) = new_store();
    let _ = store.put_if_absent(&name("packs/aa/b"), b"x").unwrap();
    let mode = |path: &str| fs::metadata(store.path.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("."), mode("tmp"), mode("packs"), mode("packs/aa")], [0o700; 4]);
    assert_eq!(mode("packs/aa/b"), 0o600);
}

#[test]
fn creating_needs_a_free_place() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| match LocalStore::create(path) {
        Err(StoreError::NotAStore { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(refused(&file), NotAStoreReason::NotAFolder);
    assert_eq!(refused(folder.path()), NotAStoreReason::NotEmpty);
    // A new file system, and what an attempt that ended early leaves.
    let disk = folder.path().join("disk");
    fs::create_dir_all(disk.join("lost+found")).unwrap();
    LocalStore::create(&disk).unwrap();
    let store = LocalStore::create(&disk).unwrap();
    let _ = store.put_if_absent(&name("config"), b"").unwrap();
    assert_eq!(refused(&disk), NotAStoreReason::NotEmpty);
    LocalStore::create(folder.path().join("several/levels/deep")).unwrap();
}

#[test]
fn opening_needs_a_folder_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| match LocalStore::open(path) {
        Err(StoreError::NotAStore { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&folder.path().join("absent")), NotAStoreReason::Missing);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(refused(&file), NotAStoreReason::NotAFolder);
    fs::remove_file(&file).unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    assert!(listed(&store).is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let _ = store.put_if_absent(&name("a"), b"").unwrap();
    assert_eq!(listed(&store), ["a"]);
}

#[test]
fn what_a_crash_leaves_is_invisible_and_goes_after_a_day() {
    let (_folder, store) = new_store();
    let leave = |file_name: &str, hours: u64| {
        let path = store.path.join("tmp").join(file_name);
        fs::write(&path, "half").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
        path
    };
    let old = leave("put-1-0-00000000000000aa", 25);
    let young = leave("put-1-1-00000000000000aa", 23);
    let foreign = leave("notes", 1000);
    assert!(listed(&store).is_empty());
    let _ = store.put_if_absent(&name("a"), b"whole").unwrap();
    assert_eq!(listed(&store), ["a"]);
    assert!(!old.exists() && young.exists() && foreign.exists());
}

#[test]
fn foreign_files_are_no_objects() {
    let (_folder, store) = new_store();
    let _ = store.put_if_absent(&name("packs/aa/real"), b"x").unwrap();
    let packs = store.path.join("packs");
    fs::write(packs.join("README.TXT"), "").unwrap();
    fs::write(packs.join(".nfs0001"), "").unwrap();
    fs::create_dir(packs.join("empty")).unwrap();
    std::os::unix::fs::symlink("aa/real", packs.join("link")).unwrap();
    std::os::unix::fs::symlink(".", packs.join("loop")).unwrap();
    let pipe = packs.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, FILE_MODE, 0).unwrap();
    assert_eq!(listed(&store), ["packs/aa/real"]);
    for foreign in ["packs", "packs/link", "packs/pipe", "packs/empty", "packs/aa/real/below"] {
        assert!(store.get(&name(foreign), 10).unwrap_err().is_not_found(), "{foreign}");
        assert!(store.stat(&name(foreign)).unwrap_err().is_not_found(), "{foreign}");
        assert!(store.delete(&name(foreign)).unwrap_err().is_not_found(), "{foreign}");
    }
    assert!(fs::symlink_metadata(packs.join("link")).is_ok());
}

#[test]
fn a_failed_put_leaves_nothing() {
    let (_folder, store) = new_store();
    let _ = store.put_if_absent(&name("a"), b"").unwrap();
    let error = store.put_if_absent(&name("a/b"), b"").unwrap_err();
    assert!(matches!(error, StoreError::Io { operation: Operation::Put, .. }), "{error:?}");
    assert_eq!(listed(&store), ["a"]);
    assert_eq!(temporaries(&store), 0);
}

#[test]
fn folders_removed_meanwhile_are_made_again() {
    let (_folder, store) = new_store();
    let _ = store.put_if_absent(&name("packs/aa/1"), b"").unwrap();
    fs::remove_dir_all(store.path.join("packs")).unwrap();
    fs::remove_dir(store.path.join("tmp")).unwrap();
    let _ = store.put_if_absent(&name("packs/aa/2"), b"").unwrap();
    assert_eq!(listed(&store), ["packs/aa/2"]);
}

#[test]
fn the_root_is_held_open() {
    let (folder, store) = new_store();
    let _ = store.put_if_absent(&name("a"), b"1").unwrap();
    // As if a disk were unmounted: another, empty folder is in its place.
    fs::rename(&store.path, folder.path().join("elsewhere")).unwrap();
    fs::create_dir(&store.path).unwrap();
    let _ = store.put_if_absent(&name("b"), b"2").unwrap();
    assert_eq!(listed(&store), ["a", "b"]);
    assert_eq!(fs::read_dir(&store.path).unwrap().count(), 0);
}

/// The answer that NFS gives to a link whose first answer was lost.
#[test]
fn ones_own_link_is_known() {
    let (_folder, store) = new_store();
    let temporary = store.write_temporary(b"mine").unwrap();
    assert!(!store.is_linked(&temporary, &name("a")));
    fs::hard_link(store.path.join(&temporary.path), store.path.join("a")).unwrap();
    fs::write(store.path.join("b"), "other").unwrap();
    assert_eq!(store.publish(&temporary, &name("a")).unwrap(), PutOutcome::Created);
    assert_eq!(store.publish(&temporary, &name("b")).unwrap(), PutOutcome::AlreadyExists);
}

#[test]
fn errors_say_what_to_do() {
    let (_folder, store) = new_store();
    let error = |errno: Errno| store.error(Operation::Put, "packs/aa/b", errno);
    for errno in [Errno::NOSPC, Errno::DQUOT] {
        assert!(matches!(error(errno), StoreError::NoSpace { .. }));
    }
    for errno in [Errno::ACCESS, Errno::PERM] {
        assert!(matches!(error(errno), StoreError::PermissionDenied { operation: Operation::Put, .. }));
    }
    assert!(matches!(error(Errno::ROFS), StoreError::ReadOnly { .. }));
    assert!(matches!(error(Errno::IO), StoreError::Io { .. }));
    let text = error(Errno::NOSPC).to_string();
    assert!(text.contains("packs/aa/b") && text.contains(&store.location()), "{text}");
}
