//! Keeping `pg_receivewal` running.

use std::time::{Duration, Instant};

use strongroom_engines::postgres::{PostgresError, Receiver};
use strongroom_repository::monitor::Monitor;

use super::{Spool, SpoolFolderError};

/// How often it is looked whether it runs.
const LOOKING: Duration = Duration::from_millis(100);
/// Between two tries, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Whoever ran for so long was well connected.
const WELL: Duration = Duration::from_secs(60);

/// Why a log cannot be received, however often it is tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The server is not there to be asked so, or there is no program for it.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolFolderError),
    /// The spool has the log of another server.
    #[error(
        "the spool {} has the log of database system {found}, and the server is {server}: give this one another spool", .folder.display()
    )]
    OtherSystem {
        /// It.
        folder: std::path::PathBuf,
        /// Whose log is in it.
        found: u64,
        /// Which server this is.
        server: u64,
    },
}

/// Receives until the run is cancelled. A server that is away, or a connection that is cut, is waited for; `is_server` is
/// told which it is as soon as it answers.
///
/// # Errors
/// [`ReceiveError`] for what waiting does not mend.
pub fn receive(
    receiver: &Receiver,
    spool: &Spool,
    monitor: &dyn Monitor,
    is_server: &dyn Fn(u64),
) -> Result<(), ReceiveError> {
    let mut pause = PAUSES.0;
    while !monitor.is_cancelled() {
        let began = Instant::now();
        let ended = once(receiver, spool, monitor, is_server);
        if monitor.is_cancelled() {
            break;
        }
        let why = match ended {
            Ok(()) => "the server ended the stream".to_owned(),
            Err(ReceiveError::Postgres(error)) if is_passing(&error) => error.to_string(),
            Err(error) => return Err(error),
        };
        if began.elapsed() >= WELL {
            pause = PAUSES.0;
        }
        monitor.warn(&format!(
            "receiving the log was interrupted, and is tried again in {} s: {why}",
            pause.as_secs_f32()
        ));
        wait(pause, monitor);
        pause = (pause * 2).min(PAUSES.1);
    }
    Ok(())
}

/// Until it ends or is to end.
fn once(
    receiver: &Receiver,
    spool: &Spool,
    monitor: &dyn Monitor,
    is_server: &dyn Fn(u64),
) -> Result<(), ReceiveError> {
    while spool.end_orphan() && !monitor.is_cancelled() {
        std::thread::sleep(LOOKING);
    }
    let server = receiver.prepare(monitor)?;
    if let Some(found) = spool.system()?.filter(|found| *found != server.system) {
        return Err(ReceiveError::OtherSystem {
            folder: spool.folder().to_owned(),
            found,
            server: server.system,
        });
    }
    is_server(server.system);
    let mut streaming = receiver.start(server, spool.folder())?;
    spool.set_receiver(streaming.id())?;
    while !streaming.has_ended() {
        if monitor.is_cancelled() {
            streaming.stop();
            return Ok(());
        }
        std::thread::sleep(LOOKING);
    }
    Ok(streaming.finish(monitor)?)
}

/// Whether it may be well the next time: what the server or its programs refuse may be.
fn is_passing(error: &PostgresError) -> bool {
    matches!(error, PostgresError::Failed { .. } | PostgresError::Answer { .. })
}

fn wait(pause: Duration, monitor: &dyn Monitor) {
    let began = Instant::now();
    while began.elapsed() < pause && !monitor.is_cancelled() {
        std::thread::sleep(LOOKING.min(pause));
    }
}
