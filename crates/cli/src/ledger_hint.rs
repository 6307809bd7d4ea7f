//! What to do next when a ledger cannot be backed up or restored.

use strongroom_engines::files::TargetError;
use strongroom_engines::ledger::LedgerError;

pub(crate) fn hint(error: &LedgerError) -> Option<&'static str> {
    let hint = match error {
        LedgerError::Locked { .. } => {
            "wait for what holds it, give --lock-timeout more time, or pause the node with --pre and --post"
        }
        LedgerError::HotJournal { .. } => {
            "start the node once, or open the file with the sqlite3 program: whoever may write to it rolls that back; then run it again"
        }
        LedgerError::Torn { .. } => {
            "is it still being copied? --exclude leaves it out; an earlier snapshot (`strongroom snapshots`) may have it whole"
        }
        LedgerError::Sqlite { .. } => "run it as the user of the node, who may read the file and its folder",
        LedgerError::NoPages => {
            "build it with LIBSQLITE3_FLAGS=SQLITE_ENABLE_DBPAGE_VTAB (.cargo/config.toml has it)"
        }
        LedgerError::Changed { .. } | LedgerError::Moving { .. } | LedgerError::NotOneMoment { .. } => {
            "pause the node while it is backed up: --pre and --post run commands before and after"
        }
        LedgerError::Manifest { .. } | LedgerError::Store { .. } => {
            "does the node start on it? If its files lie in several folders, back up the one above them; --exclude leaves it out"
        }
        LedgerError::OpenFiles { .. } => "raise the limit of open files (ulimit -n) and run it again",
        LedgerError::InUse { .. } => "stop the node first: --pre can do that, and --post start it again",
        LedgerError::Restoring { .. } => "wait until it ends",
        LedgerError::Place { source, .. } if is_full(source) => {
            "the new directory is made beside the old one, so both need room until it is in place: free some space, or restore into a folder elsewhere"
        }
        LedgerError::NotWhole { is_damage: true, .. } => {
            "`strongroom check --read-data` tells more; without --drop-existing all that is whole is restored into another folder"
        }
        LedgerError::Height { .. } => "--chain-db, --blocks-table and --link-columns name what is meant",
        _ => return None,
    };
    Some(hint)
}

fn is_full(source: &std::io::Error) -> bool {
    let of_target = source.get_ref().and_then(|error| error.downcast_ref());
    source.kind() == std::io::ErrorKind::StorageFull || matches!(of_target, Some(TargetError::NoSpace { .. }))
}
