//! Three days of a source tree: this repository's own code, changed from day to day.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom_tests::sandbox::{Sandbox, id_of, run};
use strongroom_tests::tree;

fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let files = tree::read(folder).into_iter().filter(|(_, node)| node.content.is_some());
    files
        .map(|(path, _)| folder.join(path))
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

#[test]
fn each_of_three_days_comes_back() {
    let sandbox = Sandbox::new();
    let work = sandbox.path("work");
    copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates"), &work);
    let mut days = Vec::new();
    for day in 1..=3 {
        if day > 1 {
            // As people work: a few files edited, one moved, one new, one gone, one with its mode changed.
            let files = sources(&work);
            for file in files.iter().step_by(20) {
                let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
                writeln!(file, "// day {day}").unwrap();
            }
            fs::rename(&files[1], files[1].with_extension(format!("day{day}"))).unwrap();
            fs::remove_file(&files[3]).unwrap();
            fs::create_dir_all(work.join(format!("new{day}/deep"))).unwrap();
            fs::write(work.join(format!("new{day}/deep/file.rs")), format!("//! Day {day}.\n")).unwrap();
            fs::set_permissions(&files[5], std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let aside = sandbox.path(format!("day-{day}"));
        copy_tree(&work, &aside);
        let report = sandbox.backup(["files", "work", "--source", "code"]);
        assert_eq!(report["unreadable"], 0);
        if day > 1 {
            let (new, all) = (report["new_bytes"].as_u64().unwrap(), report["bytes"].as_u64().unwrap());
            assert!(new < all / 5, "day {day} stores {new} of {all} bytes");
        }
        days.push((id_of(&report), aside));
    }
    for (id, aside) in &days {
        let target = sandbox.path(format!("restored-{}", &id[..8]));
        let mut restore = sandbox.command(["restore", id, "--subtree"]);
        let _restored = run(restore.arg(&work).arg("--target").arg(&target)).assert_code(0);
        tree::assert_same(aside, &target);
        let diff = Command::new("diff").arg("-r").arg(aside).arg(&target).output().unwrap();
        assert!(diff.status.success() && diff.stdout.is_empty(), "{}", String::from_utf8_lossy(&diff.stdout));
    }
    let changes = sandbox.run(["diff", &days[0].0, &days[2].0, "--json"]).assert_code(0).one("summary");
    assert!(changes["added"].as_u64() >= Some(6) && changes["removed"].as_u64() >= Some(4), "{changes}");
    sandbox.assert_clean();
}
