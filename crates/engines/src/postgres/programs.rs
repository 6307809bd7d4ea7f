//! PostgreSQL's client programs: those of the server's version, wherever they were installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::PostgresError;

/// Where packages put programs of one version each, by the folder above it and what comes before the version.
const PACKAGED: [(&str, &str); 3] =
    [("/usr/lib/postgresql", ""), ("/usr", "pgsql-"), ("/opt/homebrew/opt", "postgresql@")];

/// Finds them.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    /// The folder that they are in, if somebody says so.
    pub folder: Option<PathBuf>,
}

impl Programs {
    /// A program of the server's version, or else of the next later one: both read that server. Any, for no version.
    ///
    /// # Errors
    /// `NoProgram`.
    pub(super) fn find(&self, program: &'static str, major: Option<u32>) -> Result<PathBuf, PostgresError> {
        let mut found = Vec::new();
        for path in self.candidates(program) {
            // To ask it would take longer than much of what it is for.
            if major.is_none() && path.is_file() {
                return Ok(path);
            }
            let Some(version) = version_of(&path) else { continue };
            match major {
                Some(major) if version != major => found.push((version, path)),
                _ => return Ok(path),
            }
        }
        found.sort();
        let major = major.unwrap_or_default();
        match found.iter().position(|(version, _)| *version > major) {
            Some(at) => Ok(found.swap_remove(at).1),
            None => {
                let found = found.into_iter().map(|(version, _)| version).collect();
                Err(PostgresError::NoProgram { program, major, found })
            }
        }
    }

    fn candidates(&self, program: &str) -> Vec<PathBuf> {
        if let Some(folder) = &self.folder {
            return vec![folder.join(program)];
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|folder| folder.join(program));
        // Debian's wrapper takes longer to start than many a program to run; but it knows clusters by name.
        let names_cluster = std::env::var_os("PGCLUSTER").is_some();
        let on_path = on_path.filter(|path| path.is_file() && (names_cluster || !is_wrapper(path)));
        on_path
            .chain(packaged().into_iter().map(|folder| folder.join(program)))
            .filter(|path| path.is_file())
            .collect()
    }
}

/// The folders of packages, the newest version first.
fn packaged() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (above, prefix) in PACKAGED {
        let Ok(entries) = Path::new(above).read_dir() else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
            found.extend(version.map(|version| (version, entry.path().join("bin"))));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn is_wrapper(program: &Path) -> bool {
    program.canonicalize().is_ok_and(|path| path.file_name().is_some_and(|name| name == "pg_wrapper"))
}

/// `pg_dump (PostgreSQL) 17.2 (Debian 17.2-1)` is 17.
fn version_of(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(said: &str) -> Option<u32> {
    let version = said.split(' ').find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let digits = version.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_programs_say_them() {
        for (said, major) in [
            ("pg_dump (PostgreSQL) 17.2 (Debian 17.2-1.pgdg120+1)\n", 17),
            ("psql (PostgreSQL) 15.14\n", 15),
            ("pg_dump (PostgreSQL) 18beta1\n", 18),
        ] {
            assert_eq!(parse_version(said), Some(major));
        }
        assert_eq!(parse_version("pg_dump"), None);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs { folder: Some(folder.path().to_owned()) };
        let error = programs.find("pg_dump", Some(17)).unwrap_err().to_string();
        assert!(error.contains("pg_dump") && error.contains("17") && error.contains("--pg-bin"), "{error}");
    }

    #[test]
    fn the_servers_own_version_is_best_and_a_later_one_will_do() {
        use std::os::unix::fs::PermissionsExt;
        let make = |version: u32| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("pg_dump");
            std::fs::write(&path, format!("#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}.3'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            (Programs { folder: Some(folder.path().to_owned()) }, folder)
        };
        let (programs, _folder) = make(16);
        for (server, is_there) in [(15, true), (16, true), (17, false)] {
            let found = programs.find("pg_dump", Some(server));
            assert_eq!(found.is_ok(), is_there, "{found:?}");
        }
        let error = programs.find("pg_dump", Some(17)).unwrap_err().to_string();
        assert!(error.contains("there is one of 16"), "{error}");
    }
}
