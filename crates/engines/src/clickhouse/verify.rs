//! `verify`: a restore that is made to be looked at, and then dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::ddl::{self, Name};
use super::error::ClickHouseError;
use super::facts::{Column, Table};
use super::fingerprint;
use super::load::{self, Contents};
use super::restore::{RestoreSwitches, Restored, Run, Tables};
use super::scratch::Scratch;
use super::session::{Session, literal, quoted};
use super::wanted::{Chosen, Wanted};
use crate::engine::EngineError;
use crate::http::{HttpError, HttpTarget};
use crate::postgres::Assertion;
use crate::verdict::Verdict;

/// Engines without rows of their own that neither reach out of the server nor take anything from elsewhere.
const HARMLESS: [&str; 4] = ["View", "MaterializedView", "Null", "Merge"];

/// Where it is restored.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a server that is started for it.
    Scratch {
        /// Its files lie below this folder.
        folder: PathBuf,
        /// The program, or its folder.
        program: Option<PathBuf>,
    },
    /// In a server that runs, in databases that are made and dropped there.
    Server(HttpTarget),
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Verification {
    /// Which databases of the snapshot; none is all of them.
    pub databases: Vec<String>,
    /// Where.
    pub place: Place,
    /// What the restored databases are asked.
    pub assertions: Vec<Assertion>,
}

impl Tables<'_> {
    /// Restores databases, compares all that is known of them, and drops them again.
    ///
    /// # Errors
    /// `Missing`, `Older`; `NoProgram`, `Scratch`, and what the server says where no restore could even begin; what reading the
    /// snapshot fails with. A restore that the server refuses is a difference.
    pub fn verify(
        &self,
        verification: &Verification,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<Verdict>, EngineError> {
        let there: Vec<&str> = self.facts.databases.iter().map(|database| database.name.as_str()).collect();
        if let Some(missing) = verification.databases.iter().find(|name| !there.contains(&name.as_str())) {
            let there = there.into_iter().map(str::to_owned).collect();
            let what = format!("database {missing} in the snapshot");
            return Err(ClickHouseError::Missing { what, there }.into());
        }
        let wanted = |name: &&str| {
            verification.databases.is_empty() || verification.databases.iter().any(|one| one == name)
        };
        let (scratch, target) = match &verification.place {
            Place::Scratch { folder, program } => {
                let scratch = Scratch::start(program.as_deref(), folder, monitor)?;
                let target = scratch.target().clone();
                (Some(scratch), target)
            }
            Place::Server(target) => (None, target.clone()),
        };
        let session = Session::open(&target)?;
        let mut verdicts = Vec::new();
        for (number, database) in there.into_iter().filter(wanted).enumerate() {
            // Nobody else is on a scratch server: there, names may be as they were.
            let name = match scratch {
                Some(_) => database.to_owned(),
                None => format!("strongroom_verify_{}_{number}", self.snapshot.id().short()),
            };
            let made = Made { session: &session, name, monitor };
            let verifier = Verifier {
                tables: self,
                session: &session,
                monitor,
                workers,
                assertions: &verification.assertions,
            };
            match verifier.verify(database, &made.name) {
                Err(_) if monitor.is_cancelled() => return Err(RepositoryError::Interrupted.into()),
                verdict => verdicts.push(verdict?),
            }
        }
        Ok(verdicts)
    }
}

/// Who looks.
struct Verifier<'v, 'r> {
    tables: &'v Tables<'r>,
    session: &'v Session,
    monitor: &'v dyn Monitor,
    workers: usize,
    assertions: &'v [Assertion],
}

impl Verifier<'_, '_> {
    fn verify(&self, database: &str, into: &str) -> Result<Verdict, EngineError> {
        let began = Instant::now();
        let switches = RestoreSwitches {
            wanted: Wanted {
                database: Some(database.to_owned()),
                into: Some(into.to_owned()),
                ..Wanted::default()
            },
            ..RestoreSwitches::default()
        };
        let chosen = self.testable(switches.wanted.choose(&self.tables.facts)?);
        let mut run = Run {
            session: self.session,
            facts: &self.tables.facts,
            switches: &switches,
            monitor: self.monitor,
            contents: Contents {
                reader: self.tables.reader,
                snapshot: self.tables.snapshot,
                monitor: self.monitor,
                workers: self.workers,
            },
            done: Restored::default(),
            there: BTreeMap::new(),
            is_test: true,
        };
        let restored = run.all(&chosen);
        let mut verdict = Verdict {
            name: database.to_owned(),
            bytes: chosen.iter().flat_map(|one| &one.partitions).map(|partition| partition.bytes).sum(),
            counts: vec![
                ("tables", chosen.len() as u64),
                ("partitions", run.done.partitions),
                ("rows", chosen.iter().map(Chosen::rows).sum()),
            ],
            seconds: began.elapsed().as_secs_f64(),
            differences: Vec::new(),
        };
        match restored {
            Ok(()) => {
                for one in &chosen {
                    self.compare(one, &mut verdict.differences)?;
                }
                let asked = self.assertions.iter().filter(|assertion| assertion.is_for(database));
                for assertion in asked {
                    verdict.differences.extend(self.assert(assertion, into)?);
                }
            }
            Err(error) => match refusal(&error) {
                Some(said) => verdict.differences.push(said),
                None => return Err(error),
            },
        }
        Ok(verdict)
    }

    /// Without what would reach out of the scratch server, and what refers to that.
    fn testable<'f>(&self, mut chosen: Vec<Chosen<'f>>) -> Vec<Chosen<'f>> {
        let known: BTreeSet<Name> = self.tables.facts.tables.iter().map(own).collect();
        let is_testable =
            |one: &Chosen<'f>| one.table.storage.is_some() || HARMLESS.contains(&one.table.engine.as_str());
        let mut left_out: Vec<String> = Vec::new();
        chosen.retain(|one| {
            let is_testable = is_testable(one);
            if !is_testable {
                left_out.push(one.table.full_name());
            }
            is_testable
        });
        loop {
            let there: BTreeSet<Name> = chosen.iter().map(|one| own(one.table)).collect();
            let needs_others = |one: &Chosen<'f>| {
                let is_view = one.is_view() || one.is_materialized_view();
                is_view && !ddl::references(&one.table.create, &known).is_subset(&there)
            };
            let before = chosen.len();
            chosen.retain(|one| {
                let needs_others = needs_others(one);
                if needs_others {
                    left_out.push(one.table.full_name());
                }
                !needs_others
            });
            if chosen.len() == before {
                break;
            }
        }
        if !left_out.is_empty() {
            self.monitor.note(&format!(
                "not tested, because they reach out of the server or refer to what does: {}",
                left_out.join(", ")
            ));
        }
        chosen
    }

    fn compare(&self, one: &Chosen<'_>, differences: &mut Vec<String>) -> Result<(), EngineError> {
        let name = one.table.full_name();
        let storage = match one.table.storage {
            Some(_) => load::storage_of(self.session, one.table, &one.to)?,
            None => one.to.clone(),
        };
        if self.session.version == self.tables.facts.server_version {
            self.compare_columns(one.table, &storage, differences)?;
        }
        let columns: Vec<&Column> = one.table.stored_columns().collect();
        for partition in &one.partitions {
            let what = partition.full_name(&name);
            let from = load::from_of(&storage, partition);
            let wants_fingerprint = partition.fingerprint.is_some();
            let found = fingerprint::count(self.session, &what, &from, &columns, wants_fingerprint)?;
            if found.rows != partition.rows {
                differences
                    .push(format!("{what} has {} rows, {} were backed up", found.rows, partition.rows));
            } else if found.fingerprint.is_some() && found.fingerprint != partition.fingerprint {
                differences.push(format!("{what} has other values than were backed up"));
            }
        }
        Ok(())
    }

    fn compare_columns(
        &self,
        table: &Table,
        storage: &Name,
        differences: &mut Vec<String>,
    ) -> Result<(), EngineError> {
        let name = table.full_name();
        let sql = format!(
            "SELECT name, type, default_kind AS default FROM system.columns WHERE database = {} AND table = {}",
            literal(&storage.0),
            literal(&storage.1)
        );
        let there: Vec<Column> = self.session.ask(&format!("the columns of {name}"), &sql)?;
        for column in table.columns.iter().filter(|column| !there.contains(column)) {
            differences.push(format!("column {} of {name} is missing, or of another type", column.name));
        }
        Ok(())
    }

    /// Why an assertion does not hold, if it does not.
    fn assert(&self, assertion: &Assertion, database: &str) -> Result<Option<String>, EngineError> {
        let sql = format!("{} FORMAT TabSeparated", assertion.sql.trim_end_matches([';', ' ', '\n']));
        let name = assertion.name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
        let gave = match self.session.text("the assertion", &sql, &[("database", database)]) {
            Ok(text) => {
                let is_true = |line: &str| matches!(line.split('\t').next(), Some("1" | "true"));
                if !text.is_empty() && text.lines().all(is_true) {
                    return Ok(None);
                }
                if text.is_empty() { "nothing".into() } else { text.lines().collect::<Vec<_>>().join(", ") }
            }
            Err(error) if error.said().is_some() => error.said().unwrap_or_default().to_owned(),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(format!("{name}the assertion {:?} gave {gave}", assertion.sql)))
    }
}

fn own(table: &Table) -> Name {
    (table.database.clone(), table.name.clone())
}

/// What says something of the snapshot, and not of the surroundings: the server read it and refused it.
fn refusal(error: &EngineError) -> Option<String> {
    let EngineError::ClickHouse(error) = error else { return None };
    match error {
        ClickHouseError::Partial { at, source, .. } => {
            refusal(source).map(|said| format!("{at} cannot be restored: {said}"))
        }
        ClickHouseError::Server { source: HttpError::Refused { said, .. }, .. } => {
            let of_surroundings = ["NOT_ENOUGH_SPACE", "MEMORY_LIMIT", "Code: 241", "Code: 243"];
            (!of_surroundings.iter().any(|part| said.contains(part))).then(|| said.clone())
        }
        ClickHouseError::Answer { why, .. } => Some(why.clone()),
        ClickHouseError::Restored { .. } => Some(error.to_string()),
        _ => None,
    }
}

/// A database that is dropped when it was looked at.
struct Made<'v> {
    session: &'v Session,
    name: String,
    monitor: &'v dyn Monitor,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let settings = [
            ("max_table_size_to_drop", "0"),
            ("database_atomic_wait_for_drop_and_detach_synchronously", "1"),
        ];
        let sql = format!("DROP DATABASE IF EXISTS {}", quoted(&self.name));
        if let Err(error) = self.session.run("it", &sql, &settings) {
            self.monitor.warn(&format!("the database {} could not be dropped again: {error}", self.name));
        }
    }
}
