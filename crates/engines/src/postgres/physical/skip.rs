//! What of a data directory is not backed up: what the server makes anew when it starts, and what it forgets then.

use std::path::Path;

/// Folders whose contents are left out.
const EMPTIED: [&str; 8] = [
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal",
];
/// Files that are left out of the data directory itself.
const LEFT_OUT: [&str; 10] = [
    "postmaster.pid",
    "postmaster.opts",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "backup_label",
    "tablespace_map",
    "backup_manifest",
    "backup_label.old",
    "tablespace_map.old",
    "recovery.signal",
];

/// Whether what lies at this path below the data directory is left out.
pub(super) fn of_data(path: &str) -> bool {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if EMPTIED.contains(&first) && !rest.is_empty() {
        return true;
    }
    LEFT_OUT.contains(&path) || path == "standby.signal" || path == "global/pg_control" || is_temporary(path)
}

/// Whether what lies at this path below a tablespace, or below the data directory, is left out: files of a session's own.
fn is_temporary(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.split('/').any(|part| part.starts_with("pgsql_tmp"))
        || name.starts_with("pg_internal.init")
        || is_temporary_relation(name)
}

/// Whether what lies at this path below a tablespace is left out: also what other servers keep there, which have folders of
/// their own versions.
pub(super) fn of_tablespace(path: &str, major: u32) -> bool {
    let first = path.split('/').next().unwrap_or(path);
    let is_its_own = first.is_empty() || first.starts_with(&format!("PG_{major}_"));
    !is_its_own || is_temporary(path)
}

/// `t3_16450`, `t3_16450_fsm.1`.
fn is_temporary_relation(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((backend, rest)) = name.strip_prefix('t').and_then(|rest| rest.split_once('_')) else {
        return false;
    };
    let relation = rest.split(['_', '.']).next().unwrap_or(rest);
    digits(backend) && digits(relation)
}

/// The relation that a file belongs to, and which file of it that is; `None` for what is no file of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RelationFile<'n> {
    /// Its number.
    pub(super) relation: &'n str,
    /// `init`, `fsm`, `vm`; none is its main fork.
    pub(super) fork: Option<&'n str>,
    /// Which gigabyte.
    pub(super) segment: u64,
}

impl<'n> RelationFile<'n> {
    /// Of a file name.
    pub(super) fn parse(name: &'n str) -> Option<Self> {
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) => (name, segment.parse().ok()?),
            None => (name, 0),
        };
        let (relation, fork) = match name.split_once('_') {
            Some((relation, fork)) => (relation, Some(fork)),
            None => (name, None),
        };
        let is_relation = !relation.is_empty() && relation.bytes().all(|byte| byte.is_ascii_digit());
        let is_fork = fork.is_none_or(|fork| ["init", "fsm", "vm"].contains(&fork));
        (is_relation && is_fork).then_some(Self { relation, fork, segment })
    }

    /// Whether it belongs to an unlogged relation, of which only the initial fork survives a crash.
    pub(super) fn is_unlogged(&self, file: &Path) -> bool {
        let init = file.with_file_name(format!("{}_init", self.relation));
        self.fork != Some("init") && init.symlink_metadata().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_makes_anew_is_left_out() {
        for path in [
            "postmaster.pid",
            "pg_wal/000000010000000000000001",
            "pg_replslot/one/state",
            "base/pgsql_tmp/pgsql_tmp12.0",
            "base/5/t3_16450",
            "base/5/t3_16450_fsm.1",
            "base/5/pg_internal.init",
            "global/pg_internal.init.7",
            "global/pg_control",
            "backup_label",
            "standby.signal",
        ] {
            assert!(of_data(path), "{path}");
        }
        for path in [
            "",
            "pg_wal",
            "PG_VERSION",
            "base/5/16450",
            "base/5/16450_vm",
            "postgresql.conf",
            "pg_xact/0000",
            "global/1262",
            "pg_tblspc/16400",
            "tables_of_mine",
            "t_1",
        ] {
            assert!(!of_data(path), "{path}");
        }
        for path in ["PG_14_202107181/5/16450", "letters", "PG_15_202209061/5/t3_16450"] {
            assert!(of_tablespace(path, 15), "{path}");
        }
        assert!(!of_tablespace("", 15) && !of_tablespace("PG_15_202209061/5/16450", 15));
    }

    #[test]
    fn files_of_relations_are_told_apart() {
        let of = |name| RelationFile::parse(name).map(|file| (file.relation, file.fork, file.segment));
        assert_eq!(of("16450"), Some(("16450", None, 0)));
        assert_eq!(of("16450.3"), Some(("16450", None, 3)));
        assert_eq!(of("16450_fsm"), Some(("16450", Some("fsm"), 0)));
        assert_eq!(of("16450_init"), Some(("16450", Some("init"), 0)));
        for name in ["PG_VERSION", "pg_filenode.map", "16450_x", "16450.x", "_fsm", "0000a"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
