//! Receiving the log of a server as it is written: `pg_receivewal`, told a replication slot and a folder.
//!
//! The server keeps its log until what is received was written and flushed in that folder. A segment is there under its name
//! when it is whole, and as `.partial` before.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use strongroom_repository::monitor::Monitor;

use super::error::PostgresError;
use super::process::Process;
use super::session::{Session, identifier};
use super::{Programs, Target};

/// How long it may take to stop.
const STOPPING: Duration = Duration::from_secs(3);
/// How often that is looked at.
const LOOKING: Duration = Duration::from_millis(20);
/// The first version that tells what a slot is.
const TELLS_SLOTS: u32 = 15;
/// What it says of its progress, which is no error.
const CHATTER: [&str; 4] =
    ["starting log streaming", "finished segment", "switched to timeline", "not renaming"];

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The database system identifier.
    pub system: u64,
    /// Its major version.
    pub major: u32,
}

/// Where the log comes from, and by what.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// The server.
    pub target: Target,
    /// `psql` and `pg_receivewal`.
    pub programs: Programs,
    /// The replication slot.
    pub slot: String,
    /// Whether a slot that is not there is made.
    pub create_slot: bool,
}

/// A `pg_receivewal` that runs; dropped, it is killed.
pub struct Streaming {
    process: Process,
}

impl Receiver {
    /// Asks which server it is, and sees to it that it has the slot.
    ///
    /// # Errors
    /// `NoProgram`, `Start`; `Failed` when the server cannot be reached or refuses; `NoSlot`, `SlotKind`.
    pub fn prepare(&self, monitor: &dyn Monitor) -> Result<ServerIdentity, PostgresError> {
        let mut session = Session::open(&self.programs, &self.target.for_replication(), None, monitor)?;
        let said = session.ask_one("IDENTIFY_SYSTEM")?;
        let system = said.split('|').next().and_then(|system| system.parse().ok());
        let system = system.ok_or_else(|| PostgresError::Answer { what: format!("it is {said:?}") })?;
        let major = session.server_major()?;
        // Before anything is made there.
        let _ = self.programs.find("pg_receivewal", Some(major))?;
        if major >= TELLS_SLOTS {
            self.see_to_slot(&mut session, monitor)?;
        } else if self.create_slot {
            let mut command = self.command(major)?;
            command.args(["--create-slot", "--if-not-exists"]);
            Process::alone("pg_receivewal --create-slot".into(), &mut command)?.finish(monitor)?;
        }
        Ok(ServerIdentity { system, major })
    }

    fn see_to_slot(&self, session: &mut Session<'_>, monitor: &dyn Monitor) -> Result<(), PostgresError> {
        let slot = identifier(&self.slot);
        let said = session.ask_one(&format!("READ_REPLICATION_SLOT {slot}"))?;
        match said.split('|').next().unwrap_or_default() {
            "physical" => Ok(()),
            "" if self.create_slot => {
                // The log is kept from now on, and not only from when it is first received.
                let _ = session.ask(&format!("CREATE_REPLICATION_SLOT {slot} PHYSICAL RESERVE_WAL"))?;
                monitor.note(&format!("made the replication slot {}", self.slot));
                Ok(())
            }
            "" => Err(PostgresError::NoSlot { slot: self.slot.clone() }),
            kind => Err(PostgresError::SlotKind { slot: self.slot.clone(), kind: kind.to_owned() }),
        }
    }

    /// Starts to receive into a folder, from where what is there ends.
    ///
    /// # Errors
    /// `NoProgram`, `Start`.
    pub fn start(&self, server: ServerIdentity, folder: &Path) -> Result<Streaming, PostgresError> {
        let mut command = self.command(server.major)?;
        // Verbose: one that whoever started it has left ends with the next segment, because nobody listens.
        command.args(["--synchronous", "--no-loop", "--verbose", "--directory"]).arg(folder);
        Ok(Streaming { process: Process::alone("pg_receivewal".into(), &mut command)? })
    }

    fn command(&self, major: u32) -> Result<Command, PostgresError> {
        let mut command = Command::new(self.programs.find("pg_receivewal", Some(major))?);
        self.target.connect(&mut command, None);
        command.env("LC_ALL", "C").arg(format!("--slot={}", self.slot));
        Ok(command)
    }
}

impl Streaming {
    /// Its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it runs no more.
    pub fn has_ended(&mut self) -> bool {
        self.process.is_over()
    }

    /// Why it ended; waits for that.
    ///
    /// # Errors
    /// `Failed` with what it said.
    pub fn finish(self, monitor: &dyn Monitor) -> Result<(), PostgresError> {
        match self.process.finish(monitor) {
            Err(PostgresError::Failed { program, status, mut stderr }) => {
                stderr.retain(|line| !CHATTER.iter().any(|chatter| line.contains(chatter)));
                Err(PostgresError::Failed { program, status, stderr })
            }
            ended => ended,
        }
    }

    /// Has it end: what it received is flushed before.
    pub fn stop(mut self) {
        self.process.interrupt();
        let began = Instant::now();
        while !self.has_ended() && began.elapsed() < STOPPING {
            std::thread::sleep(LOOKING);
        }
    }
}
