//! One backup: an engine's data into a snapshot, a note for the audit trail where that fails.

use strongroom_engines::{Engine, EngineError};
use strongroom_repository::backup::{BackupOptions, BackupReport};
use strongroom_repository::monitor::Monitor;
use strongroom_repository::{Repository, RepositoryError};

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
    let result = repository.backup(options, monitor, |sink| engine.backup(sink));
    if let Err(error) = &result
        && !matches!(error, EngineError::Repository(RepositoryError::Interrupted))
    {
        note_failure(repository, options, &error.to_string());
    }
    result
}

/// Notes in the journal why there is no snapshot, where that is still possible.
pub fn note_failure(repository: &mut Repository, options: &BackupOptions, why: &str) {
    let detail = serde_json::json!({ "source": options.source, "engine": options.engine, "host": options.host, "error": why });
    if let Err(error) = repository.note("backup-failed", None, &detail.to_string()) {
        tracing::debug!(%error, "the failed backup could not be noted in the journal");
    }
}
