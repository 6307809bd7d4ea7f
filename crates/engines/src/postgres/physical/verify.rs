//! A cluster is restored, started, and read to its last row.

use std::path::Path;
use std::time::Instant;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::super::dump::{self, Dump};
use super::super::error::PostgresError;
use super::super::facts::BlockFacts;
use super::super::scratch::Scratch;
use super::super::session::Session;
use super::super::verify::{READ_BYTES, drain};
use super::super::{Assertion, Programs};
use super::PhysicalSnapshot;
use crate::engine::EngineError;
use crate::files::TargetOptions;
use crate::verdict::Verdict;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct PhysicalVerification<'a> {
    /// Which databases are read; none is all of them.
    pub databases: &'a [String],
    /// What they are asked.
    pub assertions: &'a [Assertion],
    /// The folder below which the cluster is restored.
    pub scratch: &'a Path,
}

impl PhysicalSnapshot<'_> {
    /// Restores the cluster, has `pg_verifybackup` look at its files and its log, starts it, has every table of its databases read, and drops it again.
    ///
    /// # Errors
    /// `NoDatabase`; `Scratch`, `NoProgram` where no test could even begin; what reading the snapshot fails with. A
    /// cluster that does not start is a difference.
    pub fn verify(
        &self,
        verification: PhysicalVerification<'_>,
        programs: &Programs,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<Verdict>, EngineError> {
        let there = &self.facts.databases;
        if let Some(missing) = verification.databases.iter().find(|name| !there.contains(name)) {
            return Err(PostgresError::NoDatabase { database: missing.clone(), there: there.clone() }.into());
        }
        let databases = if verification.databases.is_empty() { there } else { verification.databases };
        let scratch = Scratch::prepare(programs, self.facts.server_major, verification.scratch)?;
        let began = Instant::now();
        let options = TargetOptions { owner: false, ..TargetOptions::default() };
        let spaces = self.facts.tablespaces.iter();
        let spaces =
            spaces.map(|space| (space.name.clone(), scratch.beside(&format!("space-{}", space.oid))));
        let restored = self.restore(&scratch.data(), options, &spaces.collect(), None, monitor, workers)?;
        let mut cluster = Verdict {
            name: "the cluster".into(),
            bytes: restored.bytes,
            counts: Vec::new(),
            seconds: 0.0,
            differences: restored.troubles,
        };
        scratch.give_all(&scratch.data())?;
        for tablespace in &self.facts.tablespaces {
            scratch.give_all(&scratch.beside(&format!("space-{}", tablespace.oid)))?;
        }
        if cluster.differences.is_empty() {
            let manifest = scratch.beside("manifest");
            self.write_manifest(&manifest)?;
            cluster.differences.extend(scratch.verify_backup(&manifest)?);
        }
        let started = scratch.serve();
        cluster.seconds = began.elapsed().as_secs_f64();
        if monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted.into());
        }
        if let Err(error) = started {
            cluster.differences.push(format!("it does not start: {error}"));
            return Ok(vec![cluster]);
        }
        let mut verdicts = vec![cluster];
        for database in databases {
            match self.read(database, &scratch, verification.assertions, programs, monitor) {
                Err(_) if monitor.is_cancelled() => return Err(RepositoryError::Interrupted.into()),
                verdict => verdicts.push(verdict?),
            }
        }
        Ok(verdicts)
    }

    fn read(
        &self,
        database: &str,
        scratch: &Scratch,
        assertions: &[Assertion],
        programs: &Programs,
        monitor: &dyn Monitor,
    ) -> Result<Verdict, EngineError> {
        let target = scratch.target_of(&self.facts.superuser)?;
        let dump = Dump { programs, target: &target, major: self.facts.server_major, database };
        let mut buffer = vec![0; READ_BYTES];
        let read = dump.read(None, &[], monitor, |mut archive| {
            dump::read_blocks(&mut archive, database, |path, block| drain(path, block, &mut buffer))
        });
        let mut verdict = Verdict {
            name: database.to_owned(),
            bytes: 0,
            counts: Vec::new(),
            seconds: 0.0,
            differences: Vec::new(),
        };
        match read {
            Ok(facts) => {
                let count = |of: fn(&BlockFacts) -> u64| facts.blocks.iter().map(of).sum();
                verdict.bytes = count(|block| block.bytes);
                let tables = count(|block| u64::from(block.rows.is_some()));
                verdict.counts =
                    vec![("tables", tables), ("rows", count(|block| block.rows.unwrap_or_default()))];
            }
            Err(EngineError::Postgres(error @ PostgresError::Failed { .. })) if !monitor.is_cancelled() => {
                verdict.differences.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
        for assertion in assertions.iter().filter(|assertion| assertion.is_for(database)) {
            let mut session = Session::open(programs, &target, Some(database), monitor)?;
            verdict.differences.extend(assertion.fails(&mut session, monitor)?);
        }
        Ok(verdict)
    }
}
