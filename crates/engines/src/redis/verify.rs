//! `verify`: a restore into a scratch server, read again as a backup would, and compared key by key.

use std::path::PathBuf;
use std::time::Instant;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::comparison::{Comparison, Side};
use super::connection::Connection;
use super::error::RedisError;
use super::facts::DatabaseFacts;
use super::info::Info;
use super::intake::{Intake, Keys};
use super::into::{RestoreInto, now_ms};
use super::load::connect;
use super::pipe::{PipeReader, pipe};
use super::rdb::{RdbError, RdbReader};
use super::scratch::Scratch;
use super::{AofFolder, Dumps, Target, Wanted, backup, layout};
use crate::engine::EngineError;
use crate::verdict::Verdict;

/// Where it is restored.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a server that is started for it, with its files below this folder.
    Scratch {
        /// The folder.
        folder: PathBuf,
        /// Of the server's programs; none is those in the path.
        programs: Option<PathBuf>,
    },
    /// In a server that runs and is empty; it is emptied again.
    Server(Target),
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Verification {
    /// Which databases of the snapshot; none is all of them.
    pub databases: Vec<u64>,
    /// Where.
    pub place: Place,
    /// Folder of what does not fit in memory.
    pub temporary: PathBuf,
}

impl Dumps<'_> {
    /// Restores databases and compares them, a verdict each, with one for the functions.
    ///
    /// # Errors
    /// `NoDatabase`, `Scratch`; `NotEmpty` for a server that is not; what reading the snapshot fails with.
    pub fn verify(
        &self,
        verification: &Verification,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<Verdict>, EngineError> {
        match self.verify_all(verification, monitor, workers) {
            Err(_) if monitor.is_cancelled() => Err(RepositoryError::Interrupted.into()),
            done => done,
        }
    }

    fn verify_all(
        &self,
        verification: &Verification,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<Verdict>, EngineError> {
        let databases: Vec<DatabaseFacts> =
            self.chosen(&verification.databases)?.into_iter().cloned().collect();
        let numbers: Vec<u64> = databases.iter().map(|database| database.number).collect();
        let began = Instant::now();
        let place = self.restore_to_place(verification, &numbers, monitor, workers)?;
        let seconds = began.elapsed().as_secs_f64();
        let broken = |source| RedisError::Temporary { folder: verification.temporary.clone(), source };
        let mut intake = Intake::new(&verification.temporary).map_err(broken)?;
        backup::read(place.target(), None, &mut intake, monitor)?;
        // What expires up to now may be there or not; what does later is in both.
        let cutoff_ms = now_ms();
        let mut keys = intake.finish().map_err(broken)?;
        let mut verdicts = Vec::new();
        // One restore brings all of them.
        let share = 1.0 / f64::from(u32::try_from(databases.len().max(1)).unwrap_or(u32::MAX));
        for facts in &databases {
            let verdict = self.compare(facts, &mut keys, cutoff_ms, verification, monitor, workers)?;
            verdicts.push(Verdict { seconds: seconds * share, ..verdict });
        }
        if verification.databases.is_empty() {
            if let Some(number) = keys.next_database()
                && let Some(first) = verdicts.first_mut()
            {
                first.differences.push(format!("database {number} was not backed up"));
            }
            verdicts.extend(self.compare_functions(&intake, monitor)?);
        }
        Ok(verdicts)
    }

    fn restore_to_place(
        &self,
        verification: &Verification,
        numbers: &[u64],
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Restored, EngineError> {
        match &verification.place {
            Place::Scratch { folder, programs } => {
                let mut scratch = Scratch::prepare(programs.as_deref(), &self.facts.server, folder)?;
                self.write_files(&scratch.data(), AofFolder::No, numbers, monitor, workers)?;
                let most = numbers.iter().max().map_or(1, |most| most + 1);
                scratch.serve(most, None, monitor)?;
                let target = scratch.target();
                Ok(Restored { target, _scratch: Some(scratch), to_empty: Vec::new() })
            }
            Place::Server(target) => {
                let mut connection = Connection::open(target, monitor)?;
                let info = Info::of(&mut connection)?;
                // Others of its databases would be taken for restored ones.
                if let Some((number, keys)) = info.databases().first() {
                    let server = target.to_string();
                    return Err(RedisError::NotEmpty { server, database: *number, keys: *keys }.into());
                }
                let into = RestoreInto {
                    target: target.clone(),
                    databases: verification.databases.clone(),
                    into: None,
                    wanted: Wanted::default(),
                    drop_existing: false,
                    temporary: verification.temporary.clone(),
                };
                let restored =
                    Restored { target: target.clone(), _scratch: None, to_empty: numbers.to_vec() };
                self.restore(&into, monitor, workers)?;
                Ok(restored)
            }
        }
    }

    fn compare(
        &self,
        facts: &DatabaseFacts,
        keys: &mut Keys,
        cutoff_ms: u64,
        verification: &Verification,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Verdict, EngineError> {
        let number = facts.number;
        let compared = self.read_sorted(facts, verification, monitor, workers, |stored| {
            let (mut writer, restored) = pipe();
            std::thread::scope(|scope| {
                let merging = scope.spawn(move || {
                    keys.write_database(number, &mut writer)?;
                    Ok(writer.finish()?)
                });
                let compared = Comparison::of(stored, restored, cutoff_ms);
                // A reader that broke off is told by the comparison.
                let _: Result<Result<(), super::intake::WriteError>, _> = merging.join();
                compared.map_err(|side| {
                    let snapshot = self.snapshot.id();
                    EngineError::Redis(match side {
                        Side::Stored(source) => RedisError::Stored { snapshot, database: number, source },
                        Side::Restored(RdbError::Read(source)) => {
                            RedisError::Temporary { folder: verification.temporary.clone(), source }
                        }
                        Side::Restored(source) => {
                            RedisError::Dump { server: "the scratch server".into(), source }
                        }
                    })
                })
            })
        })?;
        let mut differences = Vec::new();
        if compared.keys != facts.keys {
            differences.push(format!("{} keys are stored, {} were backed up", compared.keys, facts.keys));
        }
        let counts = vec![("keys", compared.keys), ("expired", compared.expired)];
        differences.extend(compared.differences());
        Ok(Verdict {
            name: format!("database {number}"),
            bytes: facts.bytes,
            counts,
            seconds: 0.0,
            differences,
        })
    }

    /// As [`Dumps::read_database`], in the order of its keys, whoever read them.
    fn read_sorted<T>(
        &self,
        facts: &DatabaseFacts,
        verification: &Verification,
        monitor: &dyn Monitor,
        workers: usize,
        look: impl FnOnce(PipeReader) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let number = facts.number;
        if facts.paths.len() < 2 {
            return self.read_database(number, monitor, workers, look);
        }
        let broken = |source| RedisError::Temporary { folder: verification.temporary.clone(), source };
        let stored = |source| RedisError::Stored { snapshot: self.snapshot.id(), database: number, source };
        let mut intake = Intake::new(&verification.temporary).map_err(broken)?;
        let (mut writer, dump) = pipe();
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                self.write(&[number], &mut writer, monitor, workers)?;
                Ok(writer.finish().map_err(|source| RepositoryError::Write { source })?)
            });
            let taken = RdbReader::new(dump).and_then(|mut dump| intake.take(&mut dump, monitor));
            match writing.join().unwrap_or(Err(RepositoryError::Cancelled.into())) {
                Ok(()) | Err(EngineError::Repository(RepositoryError::Write { .. })) => {}
                Err(error) => return Err(error),
            }
            taken.map_err(|error| match error {
                RdbError::Write(source) => broken(source),
                error => stored(error),
            })?;
            Ok(())
        })?;
        let mut keys = intake.finish().map_err(broken)?;
        let (mut writer, reader) = pipe();
        std::thread::scope(|scope| {
            let merging = scope.spawn(move || {
                keys.write_database(number, &mut writer)?;
                Ok(writer.finish()?)
            });
            let looked = look(reader);
            // Who looked is told by the end of what there is.
            let _: Result<Result<(), super::intake::WriteError>, _> = merging.join();
            looked
        })
    }

    fn compare_functions(
        &self,
        intake: &Intake,
        monitor: &dyn Monitor,
    ) -> Result<Option<Verdict>, EngineError> {
        let stored = self.small(layout::FUNCTIONS, monitor)?;
        let restored: Vec<u8> = intake.functions.iter().flatten().copied().collect();
        if stored.is_empty() && restored.is_empty() {
            return Ok(None);
        }
        let differences = if stored == restored { Vec::new() } else { vec!["they are others".into()] };
        Ok(Some(Verdict {
            name: "functions".into(),
            bytes: stored.len() as u64,
            counts: vec![("libraries", self.facts.functions)],
            seconds: 0.0,
            differences,
        }))
    }
}

/// What was restored to be looked at.
struct Restored {
    target: Target,
    _scratch: Option<Scratch>,
    /// Of a server that stays.
    to_empty: Vec<u64>,
}

impl Restored {
    fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        let silent = &strongroom_repository::monitor::Silent;
        for number in &self.to_empty {
            // Also of a run that was cancelled. One that cannot be reached any more keeps what it has.
            let _ =
                connect(&self.target, *number, silent).and_then(|mut one| one.ask(&[b"FLUSHDB", b"ASYNC"]));
        }
    }
}
