//! `backup redis`: every database of a server, or of all masters of a cluster, an entry each.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use strongroom_repository::RepositoryError;
use strongroom_repository::backup::Sink;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::share::Share;

use super::cluster::{self, Master};
use super::connection::Connection;
use super::digest::{self, Digest};
use super::error::RedisError;
use super::facts::{DatabaseFacts, Facts, MasterFacts};
use super::info::Info;
use super::intake::{Counts, Intake, Keys, WriteError};
use super::pipe::pipe_of_two;
use super::rdb::{RdbError, RdbReader, op, write_string};
use super::target::{Place, Target};
use super::{layout, psync, sentinel};
use crate::engine::{Engine, EngineError, read_stream};

/// Reads a server, or a cluster.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Which.
    pub target: Target,
    /// Folder of the temporary file that is sorted in.
    pub temporary: PathBuf,
    /// Of a cluster: which of its masters this worker reads, in the order of their slots.
    pub share: Option<Share>,
}

impl Engine for Redis {
    fn name(&self) -> &'static str {
        super::ENGINE
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        self.back_up(sink)
    }
}

/// What was read, and from where.
pub(super) struct Source {
    pub(super) info: Info,
    pub(super) masters: Vec<MasterFacts>,
    pub(super) is_cluster: bool,
}

/// Has all that a server, or a cluster, holds sorted.
///
/// # Errors
/// `NotReady`, `Dump`, `Cluster`, `Temporary`; what connecting fails with.
pub(super) fn read(
    target: &Target,
    share: Option<Share>,
    intake: &mut Intake,
    monitor: &dyn Monitor,
) -> Result<Source, RedisError> {
    let target = match &target.place {
        Place::Sentinel { sentinels, master } => sentinel::master_of(target, sentinels, master, monitor)?,
        _ => target.clone(),
    };
    let mut connection = Connection::open(&target, monitor)?;
    let (info, server) = (Info::of(&mut connection)?, target.to_string());
    let is_cluster = info.is_cluster();
    let all = match is_cluster {
        true => cluster::masters(&mut connection, &target)?,
        false => vec![Master { target, slots: Vec::new() }],
    };
    let all = match share {
        Some(share) => {
            divided(all, share).map_err(|why| RedisError::Divided { server: server.clone(), why })?
        }
        None => all,
    };
    drop(connection);
    let held = if is_cluster { cluster::held(&all, monitor)? } else { Vec::new() };
    let mut masters = Vec::new();
    for Master { target, slots } in &all {
        let keys = receive(target, intake, monitor)?;
        let slots = slots.iter().map(|slots| format!("{}-{}", slots.start(), slots.end())).collect();
        masters.push(MasterFacts { address: target.to_string(), keys, slots });
    }
    // A slot that came to a master after it was read, and went from another before that was, is in neither dump.
    if is_cluster && cluster::held(&all, monitor)? != held {
        let why = "slots were moved while it was read; run it again".into();
        return Err(RedisError::Cluster { server, why });
    }
    if !intake.is_summed {
        monitor.warn(
            "the server makes no checksums of its dumps (rdbchecksum no): what it sent was taken as it came",
        );
    }
    Ok(Source { info, masters, is_cluster })
}

/// Every n-th of the masters.
fn divided(all: Vec<Master>, share: Share) -> Result<Vec<Master>, String> {
    if all.iter().all(|master| master.slots.is_empty()) {
        return Err("it is no cluster, and one server's keys are not divided".into());
    }
    let (masters, workers) = (all.len(), share.of);
    if masters < workers as usize {
        return Err(format!("it has {masters} masters, fewer than {workers} workers"));
    }
    let first = share.number.saturating_sub(1) as usize;
    Ok(all.into_iter().skip(first).step_by(workers.max(1) as usize).collect())
}

/// The dump of one server. Gives how many keys it had.
fn receive(target: &Target, intake: &mut Intake, monitor: &dyn Monitor) -> Result<u64, RedisError> {
    let mut connection = Connection::open(target, monitor)?;
    Info::of(&mut connection)?.require_whole()?;
    let transfer = psync::ask(&mut connection)?;
    let server = connection.server.clone();
    let wrong = |source| RedisError::Dump { server: server.clone(), source };
    let mut reader = RdbReader::new(connection).map_err(wrong)?;
    let keys = intake.take(&mut reader, monitor).map_err(|error| match error {
        RdbError::Write(source) => RedisError::Temporary { folder: intake.folder().to_owned(), source },
        error => wrong(error),
    })?;
    transfer.check_end(reader.input()).map_err(wrong)?;
    Ok(keys)
}

impl Redis {
    fn back_up(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let monitor = sink.monitor();
        let broken = |source| RedisError::Temporary { folder: self.temporary.clone(), source };
        let mut intake = Intake::new(&self.temporary).map_err(broken)?;
        let source = read(&self.target, self.share, &mut intake, monitor)?;
        let mut keys = intake.finish().map_err(broken)?;
        let mut databases = Vec::new();
        while let Some(number) = keys.next_database() {
            let (bytes, digest) = self.store(sink, number, &mut keys, source.is_cluster)?;
            let mut facts = facts_of(number, bytes, digest, &mut intake.databases)?;
            facts.paths.extend(self.share.map(|share| layout::database(number, Some(share))));
            databases.push(facts);
        }
        let functions: Vec<u8> = intake.functions.iter().flatten().copied().collect();
        for (path, bytes) in [
            (layout::FUNCTIONS, functions),
            (layout::AUX, aux_of(&intake.aux)),
            (layout::MODULES_BEFORE, intake.modules_before.concat()),
            (layout::MODULES_AFTER, intake.modules_after.concat()),
        ] {
            // All masters have the same.
            if !bytes.is_empty() && self.share.is_none_or(|share| share.is_first()) {
                read_stream(sink, path, &mut &bytes[..], |_| Ok(()))?;
            }
        }
        let facts = Facts {
            engine: self.name().into(),
            server: source.info.name().into(),
            server_version: source.info.version().into(),
            rdb_version: intake.version,
            checksum: intake.is_summed,
            keys: databases.iter().map(|database| database.keys).sum(),
            databases,
            functions: intake.functions.len() as u64,
            masters: source.masters,
            cluster: source.is_cluster,
        };
        let json = serde_json::to_vec(&facts);
        let wrong =
            |error: serde_json::Error| RedisError::Disagreement { database: 0, what: error.to_string() };
        sink.facts(json.map_err(wrong)?);
        Ok(())
    }

    /// Three threads: one merges, one reads again what it wrote, and this one stores it.
    fn store(
        &self,
        sink: &Sink<'_, '_>,
        number: u64,
        keys: &mut Keys,
        is_cluster: bool,
    ) -> Result<(u64, Digest), EngineError> {
        // What reads again may have found something wrong, and says so; what stores is given all of it.
        let (mut to_both, mut stored, digested) = pipe_of_two();
        std::thread::scope(|scope| {
            let merging = scope.spawn(move || {
                keys.write_database(number, &mut to_both)?;
                to_both.finish().map_err(WriteError::Io)
            });
            let digesting = scope.spawn(move || digest::of(digested));
            let mut bytes = 0;
            let storing = read_stream(sink, &layout::database(number, self.share), &mut stored, |read| {
                bytes = read;
                Ok(())
            });
            drop(stored);
            let merged = merging.join();
            let digest = digesting.join();
            let broke_down = || EngineError::Repository(RepositoryError::Cancelled);
            match merged.map_err(|_| broke_down())? {
                Ok(()) => {}
                // Who stored it says why.
                Err(WriteError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(WriteError::Io(source)) => {
                    return Err(RedisError::Temporary { folder: self.temporary.clone(), source }.into());
                }
                Err(WriteError::Twice(key)) => {
                    let key = String::from_utf8_lossy(&key).into_owned();
                    return Err(RedisError::Twice { key, is_cluster }.into());
                }
            }
            storing?;
            let unreadable = |error: RdbError| RedisError::Disagreement {
                database: number,
                what: format!("what is stored cannot be read: {error}"),
            };
            Ok((bytes, digest.map_err(|_| broke_down())?.map_err(unreadable)?))
        })
    }
}

/// What was stored holds as many keys as came.
fn facts_of(
    number: u64,
    bytes: u64,
    digest: Digest,
    counted: &mut BTreeMap<u64, Counts>,
) -> Result<DatabaseFacts, RedisError> {
    let counts = counted.remove(&number).unwrap_or_default();
    if (counts.keys, counts.expires) != (digest.keys, digest.expires) {
        let what = format!("{} keys came, and {} are stored", counts.keys, digest.keys);
        return Err(RedisError::Disagreement { database: number, what });
    }
    let kinds = counts.kinds.into_iter().map(|(kind, keys)| (kind.name().to_owned(), keys)).collect();
    Ok(DatabaseFacts {
        number,
        keys: digest.keys,
        expires: digest.expires,
        kinds,
        bytes,
        digest: digest.digest,
        paths: Vec::new(),
    })
}

fn aux_of(fields: &BTreeSet<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(op::AUX);
        for text in [name, value] {
            // To memory.
            let _ = write_string(&mut bytes, text);
        }
    }
    bytes
}
