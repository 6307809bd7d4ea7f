//! `verify`: a restore that is made to be looked at, and then dropped.

use std::collections::BTreeSet;
use std::io::{PipeReader, Read, Write, pipe};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::archive::ArchiveReader;
use super::comparison::{self, Contents};
use super::dump::{self, Dump};
use super::error::PostgresError;
use super::facts::{ArchiveFacts, DatabaseFacts, Properties};
use super::process::Process;
use super::restore::Source;
use super::scratch::Scratch;
use super::session::{Session, identifier, literal};
use super::{Archives, Assertion, Programs, RestoreSwitches, Target, layout};
use crate::engine::EngineError;
use crate::verdict::Verdict;

/// What `globals.sql` does that a scratch server must not: these are folders of the server it came from.
const TABLESPACES: &str = " TABLESPACE ";
/// What is read at once of a dump that nobody keeps, bytes.
pub(super) const READ_BYTES: usize = 1 << 20;

/// Where it is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a server that is started for it, with its files below this folder.
    Scratch(PathBuf),
    /// In a server that runs, in databases that are made and dropped there.
    Server(Target),
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Which databases of the snapshot; none is all of them.
    pub databases: Vec<String>,
    /// Where.
    pub place: Place,
    /// What the restored databases are asked.
    pub assertions: Vec<Assertion>,
}

/// Who looks.
struct Verifier<'v, 'r> {
    archives: &'v Archives<'r>,
    assertions: &'v [Assertion],
    programs: &'v Programs,
    target: Target,
    major: u32,
    /// Everything is its own: roles are as they were.
    with_roles: bool,
    monitor: &'v dyn Monitor,
    workers: usize,
}

impl Archives<'_> {
    /// Restores databases, compares all that is known of them, and drops them again.
    ///
    /// # Errors
    /// `NoDatabase`; `Scratch`, `NoProgram`, `Start`, `Failed` where no restore could even begin; what reading the snapshot
    /// fails with. A restore that fails is a difference.
    pub fn verify(
        &self,
        verification: &Verification,
        programs: &Programs,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<Verdict>, EngineError> {
        let mut databases = Vec::new();
        for name in &verification.databases {
            databases.push(self.facts_of(name)?);
        }
        if databases.is_empty() {
            databases = self.facts.databases.iter().collect();
        }
        let scratch = match &verification.place {
            Place::Scratch(parent) => Some(Scratch::start(programs, self.facts.server_major, parent)?),
            Place::Server(_) => None,
        };
        let target = match (&scratch, &verification.place) {
            (Some(scratch), _) => scratch.target()?,
            (None, Place::Server(target)) => target.clone(),
            (None, Place::Scratch(_)) => Target::default(),
        };
        let major = Session::open(programs, &target, None, monitor)?.server_major()?;
        let verifier = Verifier {
            archives: self,
            assertions: &verification.assertions,
            programs,
            target,
            major,
            with_roles: scratch.is_some(),
            monitor,
            workers,
        };
        if scratch.is_some() {
            verifier.make_roles()?;
        }
        let mut verdicts = Vec::new();
        for (number, facts) in databases.into_iter().enumerate() {
            match verifier.verify(facts, number) {
                Err(_) if monitor.is_cancelled() => return Err(RepositoryError::Interrupted.into()),
                Err(EngineError::Postgres(error)) => {
                    let why = scratch.as_ref().and_then(Scratch::why_it_broke_down);
                    return Err(why.unwrap_or(error).into());
                }
                verdict => verdicts.push(verdict?),
            }
        }
        Ok(verdicts)
    }
}

impl Verifier<'_, '_> {
    fn verify(&self, facts: &DatabaseFacts, number: usize) -> Result<Verdict, EngineError> {
        let id = self.archives.snapshot.id().short();
        let database = Made::new(self, &format!("strongroom_verify_{id}_{number}"), &facts.properties)?;
        let began = Instant::now();
        let restored = self.restore(facts, &database);
        let seconds = began.elapsed().as_secs_f64();
        let count = |of: fn(&super::facts::BlockFacts) -> u64| facts.archive.blocks.iter().map(of).sum();
        let mut verdict = Verdict {
            name: facts.properties.name.clone(),
            bytes: count(|block| block.bytes),
            counts: [
                ("tables", count(|block| u64::from(block.rows.is_some()))),
                ("rows", count(|block| block.rows.unwrap_or_default())),
            ]
            .into(),
            seconds,
            differences: Vec::new(),
        };
        match restored {
            Ok(stored) => verdict.differences = self.compare(facts, stored, &database)?,
            Err(EngineError::Postgres(error @ PostgresError::Failed { .. }))
                if !self.monitor.is_cancelled() && !error.is_of_surroundings() =>
            {
                verdict.differences.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(verdict)
    }

    /// Gives what was in the archive that it was restored from.
    fn restore(
        &self,
        facts: &DatabaseFacts,
        database: &Made<'_>,
    ) -> Result<(ArchiveFacts, Contents), EngineError> {
        let name = &facts.properties.name;
        if !facts.limits.is_empty() {
            self.make_schemas(facts, database)?;
        }
        let mut command = Command::new(self.programs.find("pg_restore", Some(self.major))?);
        self.target.connect(&mut command, Some(&database.name));
        command.args(["--format=custom", "--exit-on-error", "--no-tablespaces"]);
        let switches = RestoreSwitches {
            no_owner: !self.with_roles,
            no_privileges: !self.with_roles,
            ..RestoreSwitches::default()
        };
        switches.say(&mut command);
        let paths = self.archives.paths(name, None)?;
        let source = Source { database: name, head: None, paths: &paths };
        let (reader, mut writer) = pipe().map_err(PostgresError::List)?;
        std::thread::scope(|scope| {
            let counted = scope.spawn(|| self.read(name, reader));
            let fed = self.archives.feed(source, &mut command, Some(&mut writer), self.monitor, self.workers);
            drop(writer);
            let counted = counted.join().unwrap_or(Err(RepositoryError::Cancelled.into()));
            fed?;
            counted
        })
    }

    /// What an archive holds, with fingerprints.
    fn read(&self, database: &str, archive: PipeReader) -> Result<(ArchiveFacts, Contents), EngineError> {
        let wrong = |source| PostgresError::Archive { database: database.to_owned(), source };
        self.contents(database, ArchiveReader::new(archive).map_err(wrong)?)
    }

    fn contents(
        &self,
        database: &str,
        archive: ArchiveReader<impl Read>,
    ) -> Result<(ArchiveFacts, Contents), EngineError> {
        let objects = comparison::objects_of(&archive.toc().entries, self.with_roles);
        let mut archive = archive.with_fingerprints(true);
        let mut buffer = vec![0; READ_BYTES];
        let facts = dump::read_blocks(&mut archive, database, |path, block| drain(path, block, &mut buffer))?;
        let blocks = facts.blocks.clone();
        Ok((facts, Contents { objects, blocks }))
    }

    fn compare(
        &self,
        facts: &DatabaseFacts,
        (stored, mut before): (ArchiveFacts, Contents),
        database: &Made<'_>,
    ) -> Result<Vec<String>, EngineError> {
        let mut differences = comparison::of_facts(&facts.archive.blocks, &stored.blocks);
        let mut session = self.session(Some(&database.name))?;
        differences.extend(comparison::of_properties(&facts.properties, &Properties::of(&mut session)?));
        drop(session);
        let dump = Dump {
            programs: self.programs,
            target: &self.target,
            major: self.major,
            database: &database.name,
        };
        let (again, mut after) =
            dump.read(None, &facts.limits, self.monitor, |archive| self.contents(&database.name, archive))?;
        // Another version writes the same objects as other entries.
        if major_of(&again.dump_version) != major_of(&stored.dump_version) {
            before.objects.clear();
            after.objects.clear();
        }
        differences.extend(comparison::of_contents(&before, &after));
        let asked = self.assertions.iter();
        for assertion in asked.filter(|assertion| assertion.is_for(&facts.properties.name)) {
            let mut session = self.session(Some(&database.name))?;
            differences.extend(assertion.fails(&mut session, self.monitor)?);
        }
        Ok(differences)
    }

    fn session(&self, database: Option<&str>) -> Result<Session<'_>, PostgresError> {
        Session::open(self.programs, &self.target, database, self.monitor)
    }

    /// As they were, or at least their names.
    fn make_roles(&self) -> Result<(), EngineError> {
        let mut sql = Vec::new();
        let globals =
            self.archives.write_paths(&[layout::GLOBALS.into()], &mut sql, self.monitor, self.workers);
        match globals {
            Err(EngineError::Repository(RepositoryError::NoSuchPath { .. })) => {
                // Some things belong to superusers only, and nobody else is here.
                for role in &self.archives.facts.roles {
                    writeln!(sql, "CREATE ROLE {} SUPERUSER;", identifier(role))
                        .map_err(PostgresError::List)?;
                }
            }
            globals => {
                globals?;
            }
        }
        let mut command = Command::new(self.programs.find("psql", None)?);
        self.target.connect(&mut command, None);
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
        let (process, mut stdin) = Process::fed("psql with roles of the snapshot".into(), &mut command)?;
        let text = String::from_utf8_lossy(&sql);
        let wanted = text.lines().filter(|line| !line.contains(TABLESPACES));
        // It ends when it does not like what it reads, and says why.
        let _ = wanted.into_iter().try_for_each(|line| writeln!(stdin, "{line}"));
        drop(stdin);
        Ok(process.finish(self.monitor)?)
    }

    /// What is only a part of a database may lie in schemas that are not in it.
    fn make_schemas(&self, facts: &DatabaseFacts, database: &Made<'_>) -> Result<(), EngineError> {
        let entries = self.archives.entries(&facts.properties.name, self.monitor, self.workers)?;
        let needed =
            entries.iter().filter_map(|entry| entry.schema.as_ref()).filter(|schema| !schema.is_empty());
        let made = entries.iter().filter(|entry| entry.kind == "SCHEMA").map(|entry| &entry.tag).collect();
        let mut session = self.session(Some(&database.name))?;
        for schema in needed.collect::<BTreeSet<_>>().difference(&made) {
            session.ask(&format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(schema)))?;
        }
        Ok(())
    }
}

/// Reads what nobody keeps to its end.
pub(super) fn drain(path: &str, block: &mut dyn Read, buffer: &mut [u8]) -> Result<u64, EngineError> {
    let mut total = 0;
    loop {
        match block.read(buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => total += read as u64,
            Err(source) => return Err(RepositoryError::Read { path: path.to_owned(), source }.into()),
        }
    }
}

fn major_of(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

/// A database that is dropped when it was looked at.
struct Made<'v> {
    name: String,
    programs: &'v Programs,
    target: &'v Target,
    monitor: &'v dyn Monitor,
    /// Of a server that stays.
    is_to_be_dropped: bool,
}

impl<'v> Made<'v> {
    fn new(
        verifier: &'v Verifier<'_, '_>,
        name: &str,
        properties: &Properties,
    ) -> Result<Self, PostgresError> {
        // Not to be cancelled in the middle: the server would go on, and nobody drop what it made.
        let silent = &strongroom_repository::monitor::Silent;
        let make = |collate: &str, ctype: &str| {
            let mut session = Session::open(verifier.programs, &verifier.target, None, silent)?;
            session.ask(&format!(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
                identifier(name),
                literal(&properties.encoding),
                literal(collate),
                literal(ctype)
            ))
        };
        match make(&properties.collate, &properties.ctype) {
            Err(PostgresError::Failed { .. }) if !verifier.monitor.is_cancelled() => {
                make("C", "C")?;
                verifier.monitor.warn(&format!(
                    "the scratch server does not know the collation {} of {}: it was tested with that of C",
                    properties.collate, properties.name
                ));
            }
            made => {
                made?;
            }
        }
        let Verifier { programs, target, monitor, .. } = verifier;
        let is_to_be_dropped = !verifier.with_roles;
        Ok(Self { name: name.to_owned(), programs, target, monitor: *monitor, is_to_be_dropped })
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        // Also of a run that was cancelled.
        let dropped =
            Session::open(self.programs, self.target, None, &strongroom_repository::monitor::Silent)
                .and_then(|mut session| {
                    session.ask(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&self.name)))
                });
        if let Err(error) = dropped
            && self.is_to_be_dropped
        {
            self.monitor.warn(&format!("the database {} could not be dropped again: {error}", self.name));
        }
    }
}
