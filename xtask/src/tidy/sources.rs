//! The rules about single files: length, names, crate docs, lints, and words that belong to one machine only.

use std::path::Path;

use super::{Files, Finding};

const LONGEST_LINES: usize = 1000;
const WORTH_A_THOUGHT_LINES: usize = 600;

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 4] = ["common", "helpers", "misc", "utils"];

/// Hosts of package registries, which are a setting of each machine. In pieces, or this file would break its
/// own rule.
const HOSTS: [&str; 10] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("proxy.", "golang.org"),
    concat!("sum.", "golang.org"),
    concat!("registry.", "npmjs.org"),
    concat!("repo.maven", ".apache.org"),
    concat!("repo1.", "maven.org"),
    concat!("deb.", "debian.org"),
    concat!("security.", "debian.org"),
];

/// Folders of the machines that this is written on.
const FOLDERS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// What cargo itself writes, and calls the default registry by its index.
const CARGO_LOCK: &str = "Cargo.lock";

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files {
        findings.extend(check_name(path));
        findings.extend(check_length(path, text));
        findings.extend(check_words(path, text));
        findings.extend(check_manifest(path, text));
        findings.extend(check_crate_docs(path, text));
    }
    findings
}

fn check_name(path: &Path) -> Option<Finding> {
    let is_source = path.extension().is_some_and(|extension| extension == "rs");
    // A folder is a module too.
    let mut names = path.iter().filter_map(|part| Path::new(part).file_stem()?.to_str());
    let empty = names.find(|name| EMPTY_NAMES.contains(name))?;
    is_source.then(|| Finding::Broken(format!("{}: the name {empty} says nothing", path.display())))
}

fn check_length(path: &Path, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    if path.extension().is_none_or(|extension| extension != "rs") || lines <= WORTH_A_THOUGHT_LINES {
        return None;
    }
    let what = format!("{}: {lines} lines", path.display());
    Some(if lines > LONGEST_LINES {
        Finding::Broken(format!("{what}: split it ({LONGEST_LINES} at most)"))
    } else {
        Finding::Warning(format!("{what}: is it one subject?"))
    })
}

fn check_words(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), number + 1);
        let host = HOSTS.iter().find(|host| line.contains(*host));
        if let Some(host) = host.filter(|_| !path.ends_with(CARGO_LOCK)) {
            findings.push(Finding::Broken(format!("{place}: names the registry host {host}")));
        }
        if let Some(folder) = FOLDERS.iter().find(|folder| names_folder(line, folder)) {
            findings.push(Finding::Broken(format!("{place}: names {folder}, a folder of one machine")));
        }
    }
    findings
}

/// Whether the line names the folder itself, and not one of that name below another.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-*}/".contains(c))
    })
}

/// Every package inherits the lints of the workspace.
fn check_manifest(path: &Path, text: &str) -> Option<Finding> {
    let is_package = path.file_name()? == "Cargo.toml" && text.lines().any(|line| line.trim() == "[package]");
    // The fuzz targets are a workspace of their own: cargo-fuzz wants it so.
    let is_member = !path.starts_with("fuzz");
    let mut lints = text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    let inherits = lints.find(|line| !line.is_empty() && !line.starts_with('#')) == Some("workspace = true");
    let broken = is_package && is_member && !inherits;
    broken
        .then(|| Finding::Broken(format!("{}: does not inherit the lints of the workspace", path.display())))
}

fn check_crate_docs(path: &Path, text: &str) -> Option<Finding> {
    let is_crate = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let broken = is_crate && !text.starts_with("//!");
    broken.then(|| Finding::Broken(format!("{}: does not begin with the crate's docs (//!)", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<Finding> {
        check(&Files::from([(path.into(), text.into())]))
    }

    fn broken(what: &str) -> Vec<Finding> {
        vec![Finding::Broken(what.into())]
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(found("a.rs", &"\n".repeat(600)), []);
        assert_eq!(
            found("a.rs", &"\n".repeat(601)),
            [Finding::Warning("a.rs: 601 lines: is it one subject?".into())]
        );
        assert_eq!(found("a.rs", &"\n".repeat(1001)), broken("a.rs: 1001 lines: split it (1000 at most)"));
        assert_eq!(found("a.json", &"\n".repeat(5000)), []);
    }

    #[test]
    fn empty_names_are_found() {
        assert_eq!(
            found("crates/store/src/utils.rs", ""),
            broken("crates/store/src/utils.rs: the name utils says nothing")
        );
        assert_eq!(
            found("tests/common/mod.rs", ""),
            broken("tests/common/mod.rs: the name common says nothing")
        );
        assert_eq!(found("crates/store/src/commons.rs", ""), []);
    }

    #[test]
    fn registry_hosts_are_found() {
        for host in HOSTS {
            let text = format!("see\nhttps://{host}/simple");
            assert_eq!(found("a.md", &text), broken(&format!("a.md:2: names the registry host {host}")));
        }
        assert_eq!(found("Cargo.lock", HOSTS[0]), []);
        assert_eq!(found("fuzz/Cargo.lock", HOSTS[0]), []);
    }

    #[test]
    fn folders_of_one_machine_are_found() {
        for folder in FOLDERS {
            let what = broken(&format!("a.sh:1: names {folder}, a folder of one machine"));
            assert_eq!(found("a.sh", &format!("cd {folder}main")), what);
            assert_eq!(found("a.sh", &format!("DIR=\"{folder}main\"")), what);
            assert_eq!(found("a.sh", &format!("cd $HOME/src{folder}main")), []);
            assert_eq!(found("a.sh", &format!("http://localhost{folder}")), []);
        }
    }

    #[test]
    fn lints_that_are_not_inherited_are_found() {
        let what = broken("crates/a/Cargo.toml: does not inherit the lints of the workspace");
        assert_eq!(found("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"), what);
        assert_eq!(found("crates/a/Cargo.toml", "[package]\n[lints.rust]\nworkspace = true\n"), what);
        assert_eq!(
            found("crates/a/Cargo.toml", "[package]\n[lints]\n[dependencies]\nworkspace = true\n"),
            what
        );
        assert_eq!(found("crates/a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n"), []);
        assert_eq!(found("Cargo.toml", "[workspace]\n"), []);
    }

    #[test]
    fn a_crate_without_docs_is_found() {
        let what = broken("crates/a/src/lib.rs: does not begin with the crate's docs (//!)");
        assert_eq!(found("crates/a/src/lib.rs", "pub mod a;\n"), what);
        assert_eq!(found("crates/a/src/lib.rs", "//! A.\npub mod a;\n"), []);
        assert_eq!(found("crates/a/src/a.rs", "pub fn a() {}\n"), []);
    }
}
