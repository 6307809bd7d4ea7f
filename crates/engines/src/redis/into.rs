//! `restore --to`: databases into a server that runs, or into a cluster.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::body;
use super::cluster::{self, Master};
use super::connection::Connection;
use super::error::RedisError;
use super::facts::DatabaseFacts;
use super::info::Info;
use super::load::{Answer, LoadError, Loader, connect, footer};
use super::pipe::PipeReader;
use super::rdb::{Crc64, Input, RdbError, op, skip_value};
use super::resp::Value;
use super::target::{Place, Target};
use super::{Dumps, Wanted, layout, sentinel};
use crate::engine::EngineError;

/// Where to, and what of it.
#[derive(Debug, Clone)]
pub struct RestoreInto {
    /// The server, or any node of a cluster.
    pub target: Target,
    /// Which databases of the snapshot; none is all of them.
    pub databases: Vec<u64>,
    /// Into which database; none is that of the same number.
    pub into: Option<u64>,
    /// Which keys.
    pub wanted: Wanted,
    /// What is there goes first: the whole database, or the keys that are wanted.
    pub drop_existing: bool,
    /// Folder of what does not fit in memory.
    pub temporary: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys that were written.
    pub keys: u64,
    /// Those that have expired since.
    pub expired: u64,
    /// Databases.
    pub databases: u64,
    /// Libraries of functions.
    pub functions: u64,
}

/// Looks at a key, and reads its value.
type Look<'l> = dyn FnMut(body::Key, &[u8], &mut Input<PipeReader>) -> Result<(), LoadError> + 'l;

/// A restore under way.
struct Restoring<'i, 'r> {
    dumps: &'i Dumps<'r>,
    into: &'i RestoreInto,
    masters: Vec<Master>,
    server: String,
    monitor: &'i dyn Monitor,
    workers: usize,
    done: Loaded,
    /// Whether anything in the server is otherwise than it was.
    has_changed: bool,
}

impl Dumps<'_> {
    /// Restores databases, or keys of them. All that can be looked at before anything is written is.
    ///
    /// # Errors
    /// `TooOld`, `Unfit`, `NotEmpty`, `InTheWay` before anything is changed; `Partial` afterwards.
    pub fn restore(
        &self,
        into: &RestoreInto,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Loaded, EngineError> {
        let mut restoring = Restoring {
            dumps: self,
            into,
            masters: Vec::new(),
            server: into.target.to_string(),
            monitor,
            workers,
            done: Loaded::default(),
            has_changed: false,
        };
        let Err(error) = restoring.run() else { return Ok(restoring.done) };
        // Whatever it looked like to those who were writing.
        let source = if monitor.is_cancelled() { RepositoryError::Interrupted.into() } else { error };
        let (written, server) = (restoring.done.keys, restoring.server);
        Err(match restoring.has_changed {
            true => RedisError::Partial { server, written, source: Box::new(source) }.into(),
            false => source,
        })
    }
}

impl Restoring<'_, '_> {
    fn run(&mut self) -> Result<(), EngineError> {
        let databases: Vec<DatabaseFacts> =
            self.dumps.chosen(&self.into.databases)?.into_iter().cloned().collect();
        let target = match &self.into.target.place {
            Place::Sentinel { sentinels, master } => {
                sentinel::master_of(&self.into.target, sentinels, master, self.monitor)?
            }
            _ => self.into.target.clone(),
        };
        self.server = target.to_string();
        let mut connection = Connection::open(&target, self.monitor)?;
        let info = Info::of(&mut connection)?;
        self.masters = match info.is_cluster() {
            true => cluster::masters(&mut connection, &target)?,
            false => vec![Master { target, slots: Vec::new() }],
        };
        let functions = self.functions()?;
        self.require_fit(&info, &databases, !functions.is_empty())?;
        for database in &databases {
            self.require_room(database)?;
        }
        let evicted = self.evicted()?;
        if !functions.is_empty() {
            self.load_functions(functions)?;
        }
        for database in &databases {
            self.load(database)?;
            self.done.databases += 1;
        }
        // It says OK, and makes room for a key by dropping another.
        let keys = self.evicted()?.saturating_sub(evicted);
        if keys > 0 && self.has_changed {
            return Err(RedisError::Evicted { server: self.server.clone(), keys }.into());
        }
        Ok(())
    }

    /// How many keys all masters dropped to make room, since they started.
    fn evicted(&self) -> Result<u64, RedisError> {
        let mut evicted = 0;
        for master in &self.masters {
            let info = Info::of(&mut Connection::open(&master.target, self.monitor)?)?;
            evicted += info.field("evicted_keys").parse().unwrap_or(0);
        }
        Ok(evicted)
    }

    fn number(&self, database: &DatabaseFacts) -> u64 {
        self.into.into.unwrap_or(database.number)
    }

    fn require_fit(
        &self,
        info: &Info,
        databases: &[DatabaseFacts],
        has_functions: bool,
    ) -> Result<(), RedisError> {
        let (has, reads) = (self.dumps.facts.rdb_version, info.reads_dumps_of());
        let unfit = |why: &str| Err(RedisError::Unfit { server: self.server.clone(), why: why.to_owned() });
        if has > reads {
            return Err(RedisError::TooOld {
                server: self.server.clone(),
                name: info.name().into(),
                version: info.version().into(),
                reads,
                has,
            });
        }
        if info.compatible() < (5, 0) {
            return unfit("it is older than version 5.0");
        }
        if info.is_replica() {
            return unfit("it is a replica; restore into its master");
        }
        if info.field("loading") == "1" {
            return unfit("it is loading a dump");
        }
        if info.is_cluster() && databases.iter().any(|database| self.number(database) != 0) {
            return unfit("a cluster has database 0 only; --into 0 restores into that");
        }
        if has_functions && info.compatible() < (7, 0) {
            return unfit(
                "there are functions in the snapshot, and it knows none before 7.0; --database restores keys alone",
            );
        }
        Ok(())
    }

    /// Before anything is written.
    fn require_room(&mut self, database: &DatabaseFacts) -> Result<(), EngineError> {
        let number = self.number(database);
        let mut there = 0;
        for master in &self.masters {
            let mut connection = connect(&master.target, number, self.monitor)?;
            there += match connection.ask(&[b"DBSIZE"])? {
                Value::Number(keys) => u64::try_from(keys).unwrap_or_default(),
                _ => 0,
            };
        }
        if there == 0 || self.into.drop_existing {
            return Ok(());
        }
        let server = self.server.clone();
        if self.into.wanted.is_all() {
            return Err(RedisError::NotEmpty { server, database: number, keys: there }.into());
        }
        let mut loader = self.loader(number)?;
        let mut answer = |name: &[u8], value: Value| match value {
            Value::Number(0) => Ok(()),
            Value::Error(said) => {
                Err(RedisError::Refused { server: server.clone(), command: "EXISTS".into(), said })
            }
            _ => Err(RedisError::InTheWay {
                server: server.clone(),
                database: number,
                key: String::from_utf8_lossy(name).into_owned(),
            }),
        };
        let wanted = &self.into.wanted;
        self.each_key(database.number, &mut |key, name, input| {
            skip_value(input, key.code)?;
            if wanted.has(name) {
                loader.ask_for(name, &mut answer)?;
            }
            Ok(())
        })?;
        Ok(loader.settle(&mut answer)?)
    }

    fn loader(&self, number: u64) -> Result<Loader<'_>, RedisError> {
        let how = (self.dumps.facts.rdb_version, self.into.drop_existing);
        Loader::open(&self.masters, number, how, &self.into.temporary, self.monitor)
    }

    fn each_key(&self, database: u64, look: &mut Look<'_>) -> Result<(), EngineError> {
        let stored = |source| RedisError::Stored { snapshot: self.dumps.snapshot.id(), database, source };
        self.dumps.read_database(database, self.monitor, self.workers, |reader| {
            let (mut input, mut name) = (Input::new(reader), Vec::new());
            while let Some(key) = body::next_key(&mut input, &mut name).map_err(stored)? {
                look(key, &name, &mut input).map_err(|error| match error {
                    LoadError::Stored(RdbError::Write(source)) => {
                        RedisError::Temporary { folder: self.into.temporary.clone(), source }
                    }
                    LoadError::Stored(source) => stored(source),
                    LoadError::Server(error) => error,
                })?;
            }
            Ok(())
        })
    }

    fn load(&mut self, database: &DatabaseFacts) -> Result<(), EngineError> {
        let number = self.number(database);
        let is_whole = self.into.wanted.is_all();
        let (mut written, mut expired) = (0, 0);
        if self.into.drop_existing && is_whole {
            for master in &self.masters {
                let mut connection = connect(&master.target, number, self.monitor)?;
                // Others are served meanwhile.
                let flushed = connection.ask(&[b"FLUSHDB", b"ASYNC"]);
                self.has_changed |= may_be_done(&flushed);
                flushed?;
            }
        }
        let mut loader = self.loader(number)?;
        let server = self.server.clone();
        let mut answer = |name: &[u8], value: Value| match value {
            Value::Error(said) => {
                let command = format!("RESTORE of the key `{}`", String::from_utf8_lossy(name));
                Err(RedisError::Refused { server: server.clone(), command, said })
            }
            _ => {
                written += 1;
                Ok(())
            }
        };
        let answer: &mut Answer<'_> = &mut answer;
        let now_ms = now_ms();
        let mut has_sent = false;
        let loaded = self.each_key(database.number, &mut |key, name, input| {
            if !self.into.wanted.has(name) {
                return Ok(skip_value(input, key.code)?);
            }
            if key.has_expired(now_ms) {
                expired += 1;
                return Ok(skip_value(input, key.code)?);
            }
            has_sent = true;
            loader.restore(key, name, input, answer)
        });
        // Also of one that broke off: how much was written is told.
        let settled = if loaded.is_ok() { loader.settle(answer) } else { loader.drain(answer) };
        drop(loader);
        self.has_changed |= has_sent;
        self.done.keys += written;
        self.done.expired += expired;
        loaded?;
        Ok(settled?)
    }

    /// Those of a whole restore.
    fn functions(&self) -> Result<Vec<u8>, EngineError> {
        let is_whole = self.into.wanted.is_all() && self.into.databases.is_empty();
        if !is_whole {
            return Ok(Vec::new());
        }
        for path in [layout::MODULES_BEFORE, layout::MODULES_AFTER] {
            if !self.dumps.small(path, self.monitor)?.is_empty() {
                self.monitor.warn(
                    "what modules keep beside keys is only restored as a file (--target, --to-archive)",
                );
            }
        }
        self.dumps.small(layout::FUNCTIONS, self.monitor)
    }

    fn load_functions(&mut self, mut payload: Vec<u8>) -> Result<(), EngineError> {
        if payload.first() != Some(&op::FUNCTION) {
            let source = RdbError::NotRdb;
            return Err(RedisError::Stored { snapshot: self.dumps.snapshot.id(), database: 0, source }.into());
        }
        let mut crc = Crc64::default();
        crc.update(&payload);
        payload.extend_from_slice(&footer(&mut crc, self.dumps.facts.rdb_version));
        let policy: &[u8] = if self.into.drop_existing { b"FLUSH" } else { b"APPEND" };
        for master in &self.masters {
            let mut connection = Connection::open(&master.target, self.monitor)?;
            let loaded = connection.ask(&[b"FUNCTION", b"RESTORE", &payload, policy]);
            self.has_changed |= may_be_done(&loaded);
            loaded?;
        }
        self.done.functions = self.dumps.facts.functions;
        Ok(())
    }
}

/// What was refused was not done; of what was not answered nobody knows.
fn may_be_done(answer: &Result<Value, RedisError>) -> bool {
    !matches!(answer, Err(RedisError::Refused { .. }))
}

/// By this host's clock.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
