//! Exit codes, and what a person is told when something failed: what, on what, why, what to do next.

use std::process::ExitCode;

use strongroom_engines::EngineError;
use strongroom_engines::clickhouse::ClickHouseError;
use strongroom_engines::files::TargetError;
use strongroom_engines::ledger::LedgerError;
use strongroom_engines::opensearch::OpensearchError;
use strongroom_engines::postgres::PostgresError;
use strongroom_engines::redis::RedisError;
use strongroom_engines::s3::S3Error;
use strongroom_format::registry::Purpose;
use strongroom_keys::KeysError;
use strongroom_keys::kms::{KmsError, KmsTrouble};
use strongroom_ops::words::with_causes;
use strongroom_ops::{Cause, QuickstartError};
use strongroom_repository::RepositoryError;
use strongroom_store::aws::AwsError;
use strongroom_store::{Operation, StoreError};

/// Failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong arguments.
pub(crate) const USAGE: u8 = 2;
/// Partly done.
pub(crate) const PARTLY: u8 = 3;
/// Damage found.
pub(crate) const DAMAGE: u8 = 4;
/// Wrong key or no access.
pub(crate) const ACCESS: u8 = 5;
/// No such snapshot.
pub(crate) const NO_SNAPSHOT: u8 = 6;

/// What `wal-get` adds to the code of every failure: PostgreSQL takes codes up to 125 for the end of its log.
const BEYOND_RECOVERY: u8 = 200;

/// The code of a failure of `wal-get`.
pub(crate) const fn beyond_recovery(code: u8) -> u8 {
    BEYOND_RECOVERY.saturating_add(code)
}

/// Shows what is wrong with the arguments, or the help that they ask for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let shown = error.print();
    let code = u8::try_from(error.exit_code()).unwrap_or(USAGE);
    match (code, shown) {
        (0, Ok(())) => ExitCode::SUCCESS,
        (0, Err(_)) => ExitCode::from(FAILED),
        (code, _) => before_arguments(code),
    }
}

/// Shows why the command line was not even read.
pub(crate) fn unconfigured(error: &anyhow::Error) -> ExitCode {
    match report(error, std::env::args_os().any(|argument| argument == "--json")) {
        Outcome::Code(code) => before_arguments(code),
        Outcome::Done => before_arguments(FAILED),
    }
}

/// A typing error in `restore_command`, or in a configuration, is no end of the log.
fn before_arguments(code: u8) -> ExitCode {
    let is_for_recovery = std::env::args_os().any(|argument| argument == "wal-get");
    ExitCode::from(if is_for_recovery { beyond_recovery(code) } else { code })
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All well.
    Done,
    /// With this code.
    Code(u8),
}

/// The process's end.
pub(crate) fn of(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Code(code) => ExitCode::from(code),
        Outcome::Done if crate::output::has_failed() => ExitCode::from(FAILED),
        Outcome::Done => ExitCode::SUCCESS,
    }
}

/// Wrong arguments that clap cannot see.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What to do about a key management service.
fn kms_hint(error: &KmsError) -> Option<String> {
    match (&error.trouble, error.purpose) {
        (KmsTrouble::AccessDenied, Some(Purpose::Vault | Purpose::Data)) => Some(format!(
            "this role may write and list, not read stored data: use one that has {} for purpose vault (deploy/iam/restore.json), or the --key-file of an offline recovery key",
            error.action
        )),
        (KmsTrouble::AccessDenied, _) => Some(format!(
            "give this role {} on that key (deploy/iam has a policy for each role)",
            error.action
        )),
        (trouble, _) if is_passing(trouble) => Some(
            "run again when it answers; an offline recovery key (--key-file) opens the repository without it"
                .into(),
        ),
        _ => Some("an offline recovery key (--key-file) opens the repository without it".into()),
    }
}

/// Shows an error with its causes and what to do next; gives the exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> Outcome {
    let code = code(error);
    let message = with_causes(error.as_ref());
    let hint = hint(error);
    if json {
        crate::output::line!(
            "{}",
            serde_json::json!({ "type": "error", "message": message, "hint": hint, "exit_code": code, "cause": cause(error) })
        );
    }
    eprintln!("error: {message}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    Outcome::Code(code)
}

/// What went wrong, why, and what to do about it, for somebody else to say; with the exit code.
pub(crate) fn describe(error: &anyhow::Error) -> (String, u8) {
    let message = with_causes(error.as_ref());
    (hint(error).map_or_else(|| message.clone(), |hint| format!("{message}\nhint: {hint}")), code(error))
}

/// What went wrong and why; with the exit code.
pub(crate) fn told(error: &anyhow::Error) -> (String, u8) {
    (with_causes(error.as_ref()), code(error))
}

/// Of what kind it is.
pub(crate) fn cause(error: &anyhow::Error) -> Cause {
    if error.chain().any(|cause| cause.is::<Usage>()) {
        return Cause::Usage;
    }
    if let Some(keys) = keys_error(error) {
        return Cause::of_keys(keys);
    }
    match (repository_error(error), store_error(error)) {
        (Some(error), _) => Cause::of_repository(error),
        (None, Some(_)) => Cause::Store,
        (None, None) => Cause::Other,
    }
}

fn repository_error(error: &anyhow::Error) -> Option<&RepositoryError> {
    error.chain().find_map(|cause| {
        // Of a restore that is partial, it is inside.
        let engine = || cause.downcast_ref().or(cause.downcast_ref::<Box<EngineError>>().map(Box::as_ref));
        cause
            .downcast_ref::<RepositoryError>()
            .or_else(|| match engine() {
                Some(EngineError::Repository(error)) => Some(error),
                _ => None,
            })
            .or_else(|| match cause.downcast_ref::<QuickstartError>() {
                Some(
                    QuickstartError::Repository(error)
                    | QuickstartError::Backup(EngineError::Repository(error)),
                ) => Some(error),
                _ => None,
            })
    })
}

fn store_error(error: &anyhow::Error) -> Option<&StoreError> {
    error.chain().find_map(|cause| cause.downcast_ref::<StoreError>()).or_else(|| {
        match repository_error(error) {
            Some(RepositoryError::Store(error)) => Some(error),
            _ => None,
        }
    })
}

fn keys_error(error: &anyhow::Error) -> Option<&KeysError> {
    error.chain().find_map(|cause| cause.downcast_ref::<KeysError>()).or_else(|| {
        match repository_error(error) {
            Some(
                RepositoryError::Unlock { source, .. }
                | RepositoryError::DataKey { source, .. }
                | RepositoryError::Wrap { source, .. },
            ) => Some(source),
            _ => None,
        }
    })
}

fn is_passing(trouble: &KmsTrouble) -> bool {
    matches!(
        trouble,
        KmsTrouble::Throttled { .. } | KmsTrouble::Unreachable { .. } | KmsTrouble::Other { .. }
    )
}

fn target_error(error: &anyhow::Error) -> Option<&TargetError> {
    // An I/O error that wraps another error passes over it when it names its source.
    error.chain().find_map(|cause| {
        let inside = || cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<TargetError>();
        cause.downcast_ref::<TargetError>().or_else(inside)
    })
}

fn postgres_error(error: &anyhow::Error) -> Option<&PostgresError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<EngineError>() {
        Some(EngineError::Postgres(error)) => Some(error),
        _ => cause.downcast_ref::<PostgresError>(),
    })
}

fn opensearch_error(error: &anyhow::Error) -> Option<&OpensearchError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<EngineError>() {
        Some(EngineError::Opensearch(error)) => Some(error),
        _ => cause.downcast_ref::<OpensearchError>(),
    })
}

fn redis_error(error: &anyhow::Error) -> Option<&RedisError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<EngineError>() {
        Some(EngineError::Redis(error)) => Some(error),
        _ => cause.downcast_ref::<RedisError>(),
    })
}

fn clickhouse_error(error: &anyhow::Error) -> Option<&ClickHouseError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<EngineError>() {
        Some(EngineError::ClickHouse(error)) => Some(error),
        _ => cause.downcast_ref::<ClickHouseError>(),
    })
}

fn ledger_error(error: &anyhow::Error) -> Option<&LedgerError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<EngineError>() {
        Some(EngineError::Ledger(error)) => Some(error),
        _ => cause.downcast_ref::<LedgerError>(),
    })
}

fn s3_error(error: &anyhow::Error) -> Option<&S3Error> {
    error.chain().find_map(|cause| match cause.downcast_ref::<EngineError>() {
        Some(EngineError::S3(error)) => Some(error),
        _ => cause.downcast_ref::<S3Error>(),
    })
}

fn code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Usage>()) {
        return USAGE;
    }
    // A service that is away is no wrong key, nor is a store.
    match keys_error(error) {
        Some(KeysError::Kms(error)) if is_passing(&error.trouble) => return FAILED,
        Some(KeysError::Store(error)) if !error.is_not_found() => return code_of_store(error),
        _ => {}
    }
    if let Some(LedgerError::NotWhole { is_damage: true, .. }) = ledger_error(error) {
        return DAMAGE;
    }
    match repository_error(error) {
        Some(RepositoryError::TooLittleMemory { .. }) => return USAGE,
        Some(
            RepositoryError::Unlock { .. }
            | RepositoryError::NoSigner { .. }
            | RepositoryError::Fingerprint { .. },
        ) => return ACCESS,
        Some(RepositoryError::DataKey { .. }) => return ACCESS,
        Some(
            RepositoryError::NoSuchSnapshot { .. }
            | RepositoryError::AmbiguousSnapshot { .. }
            | RepositoryError::SnapshotIdTooShort { .. },
        ) => return NO_SNAPSHOT,
        Some(
            RepositoryError::Damaged { .. }
            | RepositoryError::Inconsistent { .. }
            | RepositoryError::ChunkUnavailable { .. }
            | RepositoryError::LogFileUnavailable { .. }
            | RepositoryError::NotForgettable { .. }
            | RepositoryError::Rollback { .. },
        ) => return DAMAGE,
        _ => {}
    }
    match store_error(error) {
        _ if keys_error(error).is_some() => ACCESS,
        Some(error) => code_of_store(error),
        None => FAILED,
    }
}

fn code_of_store(error: &StoreError) -> u8 {
    match error {
        StoreError::PermissionDenied { .. } | StoreError::Credentials { .. } => ACCESS,
        StoreError::InvalidUrl { .. }
        | StoreError::InvalidOption { .. }
        | StoreError::Aws { source: AwsError::InvalidEndpoint { .. }, .. } => USAGE,
        _ => FAILED,
    }
}

/// Whether keys could not be read from the store.
fn is_of_store(error: &anyhow::Error) -> bool {
    matches!(keys_error(error), Some(KeysError::Store(error)) if !error.is_not_found())
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(KeysError::Kms(kms)) = keys_error(error) {
        return kms_hint(kms);
    }
    if let Some(postgres) = postgres_error(error) {
        return crate::postgres_hint::hint(postgres).map(str::to_owned);
    }
    if let Some(opensearch) = opensearch_error(error) {
        return crate::opensearch_hint::hint(opensearch).map(str::to_owned);
    }
    if let Some(redis) = redis_error(error) {
        return crate::redis_hint::hint(redis).map(str::to_owned);
    }
    if let Some(s3) = s3_error(error) {
        return crate::s3_hint::hint(s3).map(str::to_owned);
    }
    if let Some(clickhouse) = clickhouse_error(error) {
        return crate::clickhouse_hint::hint(clickhouse).map(str::to_owned);
    }
    if let Some(ledger) = ledger_error(error) {
        return crate::ledger_hint::hint(ledger).map(str::to_owned);
    }
    let hint = match repository_error(error) {
        Some(RepositoryError::NotARepository { .. }) => {
            "make one with `strongroom init`, or correct --repo (STRONGROOM_REPO)"
        }
        Some(RepositoryError::AlreadyARepository { .. }) => "use it as it is, or choose another folder",
        Some(RepositoryError::DataKey { source: KeysError::NoCredential { .. }, .. }) => {
            "this host may write and list; to read stored data, give the --key-file or passphrase of a recipient with the purpose vault (`strongroom key list`)"
        }
        Some(RepositoryError::Unlock { .. }) if !is_of_store(error) => {
            "give the right --key-file, or the passphrase in STRONGROOM_PASSPHRASE or --passphrase-file; without one of them the data cannot be read by anyone"
        }
        Some(
            RepositoryError::NoSuchSnapshot { .. }
            | RepositoryError::AmbiguousSnapshot { .. }
            | RepositoryError::SnapshotIdTooShort { .. },
        ) => "`strongroom snapshots` lists them",
        Some(RepositoryError::NoSuchPath { .. }) => "`strongroom ls ID` lists the paths",
        Some(
            RepositoryError::Damaged { .. }
            | RepositoryError::Inconsistent { .. }
            | RepositoryError::ChunkUnavailable { .. }
            | RepositoryError::LogFileUnavailable { .. },
        ) => {
            "`strongroom check --read-data` finds all damage and the snapshots it touches; what is not touched still restores"
        }
        Some(RepositoryError::Fingerprint { .. }) => {
            "if this is the right repository, correct the pinned fingerprint; otherwise it may have been replaced"
        }
        Some(error) if error.is_of_cache() => "the cache may be deleted at any time; --no-cache does without",
        Some(RepositoryError::TooLittleMemory { .. }) => {
            "give more with --memory (STRONGROOM_MEMORY); nothing was begun"
        }
        Some(RepositoryError::Interrupted) => {
            crate::signals::left().unwrap_or("nothing was committed; run it again")
        }
        _ => match store_error(error) {
            Some(StoreError::NoSpace { .. }) => {
                "nothing was committed and no snapshot was harmed; free some space and run again"
            }
            Some(StoreError::PermissionDenied { operation: Operation::Delete, .. }) => {
                "deleting is for the host that prunes: on S3 it needs s3:DeleteObject (deploy/iam/prune.json)"
            }
            Some(StoreError::PermissionDenied { .. } | StoreError::ReadOnly { .. }) => {
                "run as a user who may read and write the repository's folder, or give this host's role the right (deploy/iam has a policy for each role)"
            }
            _ => {
                return target_error(error).and_then(|error| match error {
                    TargetError::NotEmpty { .. } => {
                        Some("choose a new folder, or say --overwrite if-changed, if-newer or always".into())
                    }
                    TargetError::NoSpace { .. } => {
                        Some("free some space, or choose another target; the repository is not harmed".into())
                    }
                    _ => None,
                });
            }
        },
    };
    Some(hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_restore_is_told_with_what_stopped_it() {
        let partial = |source: EngineError| {
            let (server, source) = ("h:6379".into(), Box::new(source));
            anyhow::Error::from(EngineError::from(RedisError::Partial { server, written: 1, source }))
        };
        let interrupted = partial(RepositoryError::Interrupted.into());
        assert_eq!(cause(&interrupted), Cause::Interrupted);
        assert_eq!(hint(&interrupted).unwrap(), "run it again with --drop-existing");
        let full = RedisError::Evicted { server: "h:6379".into(), keys: 2 };
        assert!(hint(&partial(full.into())).unwrap().contains("maxmemory-policy"));
    }
}
