//! One backup: an engine's data into a snapshot, a note for the audit trail where that fails.

use serde::{Deserialize, Serialize};
use strongroom_engines::{Engine, EngineError};
use strongroom_repository::backup::group::{PartOf, Worked};
use strongroom_repository::backup::{BackupOptions, BackupReport, Sink};
use strongroom_repository::monitor::Monitor;
use strongroom_repository::{Repository, RepositoryError};

use crate::words::with_causes;
use crate::{Cause, redacted};

/// The event of a failure's note.
pub(crate) const FAILED_EVENT: &str = "backup-failed";

/// A failure, as it stands in the journal.
#[derive(Serialize, Deserialize)]
pub(crate) struct FailedNote {
    pub(crate) source: String,
    pub(crate) engine: String,
    pub(crate) host: String,
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
}

/// Runs `engine` and commits a snapshot. A failure is noted in the journal, where that is still possible.
///
/// # Errors
/// What the engine or the repository failed with; then no snapshot was made.
pub fn backup(
    repository: &mut Repository,
    engine: &dyn Engine,
    options: &BackupOptions,
    monitor: &dyn Monitor,
) -> Result<BackupReport, EngineError> {
    let result = repository.backup(options, monitor, |sink| run(engine, sink, monitor));
    note_error(repository, options, &result);
    result
}

/// Runs `engine` as one worker of a group, and stores its part. A failure is noted as that of a backup.
///
/// # Errors
/// What the engine or the repository failed with; then no part was stored.
pub fn backup_part(
    repository: &mut Repository,
    engine: &dyn Engine,
    options: &BackupOptions,
    part: &PartOf,
    monitor: &dyn Monitor,
) -> Result<Worked, EngineError> {
    let result = repository.backup_part(options, part, monitor, |sink| run(engine, sink, monitor));
    note_error(repository, options, &result);
    result
}

fn run(engine: &dyn Engine, sink: &Sink<'_, '_>, monitor: &dyn Monitor) -> Result<(), EngineError> {
    engine.backup(sink).map_err(|error| match monitor.is_cancelled() {
        // Whatever it looked like to those who were reading.
        true => RepositoryError::Interrupted.into(),
        false => error,
    })
}

fn note_error<T>(repository: &mut Repository, options: &BackupOptions, result: &Result<T, EngineError>) {
    if let Err(error) = result
        && !matches!(error, EngineError::Repository(RepositoryError::Interrupted))
    {
        note(repository, options, &with_causes(error), Some(Cause::of_engine(error)));
    }
}

/// Notes in the journal why there is no snapshot, where that is still possible.
pub fn note_failure(repository: &mut Repository, options: &BackupOptions, why: &str) {
    note(repository, options, why, None);
}

fn note(repository: &mut Repository, options: &BackupOptions, why: &str, cause: Option<Cause>) {
    let note = FailedNote {
        source: options.source.clone(),
        engine: options.engine.clone(),
        host: options.host.clone(),
        error: redacted(why),
        user: options.user.clone(),
        cause,
    };
    let detail = serde_json::to_string(&note).unwrap_or_default();
    if let Err(error) = repository.note(FAILED_EVENT, None, &detail) {
        tracing::debug!(%error, "the failed backup could not be noted in the journal");
    }
}
