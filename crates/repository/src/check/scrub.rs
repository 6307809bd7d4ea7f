//! Scrubbing: what can be said of a store without any key. Packs and index objects are named by the hash of their bytes;
//! of all else it is seen whether it is there and well-formed. Objects of log archives are named by what they are, and the
//! hash of their bytes is sealed: of them it is seen whether they can be read, are of this repository, and have a length that
//! such an object has.

use std::collections::BTreeMap;

use strongroom_format::config::{CONFIG_LIMIT_BYTES, Config};
use strongroom_format::header::{HEADER_LENGTH, Header};
use strongroom_format::index::INDEX_LIMIT_BYTES;
use strongroom_format::key_object::{KEY_LIMIT_BYTES, KeyObject, SignedKey};
use strongroom_format::pack::{PACK_LIMIT_BYTES, TRAILER_LENGTH, decode_trailer};
use strongroom_format::registry::ObjectKind;
use strongroom_format::wal::is_object_length;
use strongroom_format::{RepositoryId, WalId};
use strongroom_keys::derive::content_hash;
use strongroom_store::{ObjectName, Store, StoreError};

use super::finding::Findings;
use super::{Finding, FindingKind, Severity};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::state::describe;

/// What was scrubbed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Packs and index objects that were read whole.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Journal entries that are there.
    pub entries: u64,
    /// Wrapped keys that were looked at.
    pub keys: u64,
    /// Objects of log archives of which the header was read.
    pub log_objects: u64,
}

impl ScrubReport {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Info)
    }
}

/// What is read whole.
struct Wanted {
    name: ObjectName,
    length: u64,
    kind: ObjectKind,
    hash: [u8; 32],
}

/// Reads all packs and index objects of a store and compares their hashes with their names; looks at `config`, at wrapped
/// keys, and whether entries are missing in the journal. Which packs should be there, only somebody with a key can tell.
///
/// # Errors
/// `NotARepository`; `Store` when the store itself fails; `Interrupted`.
pub fn scrub(
    store: &dyn Store,
    readers: usize,
    monitor: &dyn Monitor,
) -> Result<ScrubReport, RepositoryError> {
    let mut report = ScrubReport::default();
    let mut findings = Findings::default();
    let repository = config(store, &mut findings)?;
    journal(store, &mut report, &mut findings)?;
    keys(store, &mut report, &mut findings)?;
    log_objects(store, repository, readers, monitor, &mut report, &mut findings)?;
    let wanted = wanted(store)?;
    monitor.begin("reading packs and index objects", Some(wanted.iter().map(|one| one.length).sum()));
    for window in wanted.chunks(readers.max(1)) {
        if monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted);
        }
        let looked: Vec<_> = std::thread::scope(|scope| {
            let looking: Vec<_> = window.iter().map(|one| scope.spawn(move || look_at(store, one))).collect();
            looking.into_iter().map(|one| one.join().unwrap_or(Err(RepositoryError::Cancelled))).collect()
        });
        for (one, looked) in window.iter().zip(looked) {
            report.objects += 1;
            report.bytes += one.length;
            monitor.advance(one.length);
            if let Some((kind, detail)) = looked? {
                let severity = match kind {
                    // Whoever may create objects can put one there.
                    FindingKind::Stray => Severity::Suspicious,
                    FindingKind::Frozen => Severity::Info,
                    _ => Severity::Damage,
                };
                findings.add(severity, kind, one.name.as_str(), detail);
            }
        }
    }
    report.findings = findings.finish();
    Ok(report)
}

/// Which repository it is, where that can be read.
fn config(store: &dyn Store, findings: &mut Findings) -> Result<Option<RepositoryId>, RepositoryError> {
    let name = names::config()?;
    match store.get(&name, CONFIG_LIMIT_BYTES) {
        Ok(bytes) => {
            let config = Config::decode(&bytes);
            if let Err(error) = &config {
                findings.add(Severity::Damage, FindingKind::Undecodable, name.as_str(), describe(error));
            }
            Ok(config.ok().map(|config| config.repository))
        }
        Err(error) if error.is_not_found() => {
            Err(RepositoryError::NotARepository { location: store.location() })
        }
        Err(error) => Err(error.into()),
    }
}

fn journal(
    store: &dyn Store,
    report: &mut ScrubReport,
    findings: &mut Findings,
) -> Result<(), RepositoryError> {
    let mut numbers = Vec::new();
    store.list("journal/", &mut |name, info| {
        match names::entry_number(&name) {
            Some(number) => numbers.push((number, info.length_bytes)),
            None => {
                findings.add(Severity::Suspicious, FindingKind::Stray, name.as_str(), "it is no entry");
            }
        }
        Ok(())
    })?;
    report.entries = numbers.len() as u64;
    let mut next = 0;
    for (number, length) in numbers {
        if number > next {
            let detail = format!("entries {next} to {} are missing, and later ones are there", number - 1);
            findings.add(Severity::Damage, FindingKind::Missing, names::entry(next)?.as_str(), detail);
        }
        next = number + 1;
        if length == 0 {
            let object = names::entry(number)?;
            findings.add(
                Severity::Suspicious,
                FindingKind::Void,
                object.as_str(),
                "it was lost, and its place closed",
            );
        }
    }
    Ok(())
}

fn keys(store: &dyn Store, report: &mut ScrubReport, findings: &mut Findings) -> Result<(), RepositoryError> {
    let mut names = BTreeMap::new();
    store.list("keys/", &mut |name, _| {
        match names::key_of(&name) {
            Some(key) => drop(names.insert(key, name)),
            None => {
                findings.add(Severity::Suspicious, FindingKind::Stray, name.as_str(), "it is no key");
            }
        }
        Ok(())
    })?;
    for ((key, recipient), name) in names {
        let bytes = match store.get(&name, KEY_LIMIT_BYTES) {
            Ok(bytes) => bytes,
            // It was listed: a prune may have deleted it since.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        report.keys += 1;
        let object = SignedKey::decode(&bytes).and_then(|signed| KeyObject::decode(&signed.body));
        let detail = match object {
            Ok(object) if object.key == key && object.recipient == recipient => continue,
            Ok(_) => "it is another's than its name says".to_owned(),
            Err(error) => describe(&error),
        };
        findings.add(Severity::Damage, FindingKind::KeyDamaged, name.as_str(), detail);
    }
    Ok(())
}

fn log_objects(
    store: &dyn Store,
    repository: Option<RepositoryId>,
    readers: usize,
    monitor: &dyn Monitor,
    report: &mut ScrubReport,
    findings: &mut Findings,
) -> Result<(), RepositoryError> {
    let mut listed: Vec<(WalId, u64)> = Vec::new();
    store.list("wal/", &mut |name, info| {
        match names::log_object_of(&name) {
            Some(id) => listed.push((id, info.length_bytes)),
            None => {
                let detail = "it is no object of a log archive";
                findings.add(Severity::Suspicious, FindingKind::Stray, name.as_str(), detail);
            }
        }
        Ok(())
    })?;
    for window in listed.chunks(readers.max(1)) {
        if monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted);
        }
        let looked: Vec<_> = std::thread::scope(|scope| {
            let looking: Vec<_> = window
                .iter()
                .map(|(id, length)| scope.spawn(|| look_at_log_object(store, repository, *id, *length)))
                .collect();
            looking.into_iter().map(|one| one.join().unwrap_or(Err(RepositoryError::Cancelled))).collect()
        });
        for ((id, _), looked) in window.iter().zip(looked) {
            report.log_objects += 1;
            if let Some((kind, detail)) = looked? {
                let severity = if kind == FindingKind::Frozen { Severity::Info } else { Severity::Damage };
                findings.add(severity, kind, names::log_object(*id)?.as_str(), detail);
            }
        }
    }
    Ok(())
}

fn look_at_log_object(
    store: &dyn Store,
    repository: Option<RepositoryId>,
    id: WalId,
    length: u64,
) -> Result<Option<(FindingKind, String)>, RepositoryError> {
    let header = match store.get_range(&names::log_object(id)?, 0, HEADER_LENGTH as u64) {
        Ok(header) => header,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error @ (StoreError::TooLarge { .. } | StoreError::Truncated { .. })) => {
            return Ok(Some((FindingKind::WrongLength, describe(&error))));
        }
        Err(error @ StoreError::Archived { .. }) => return Ok(Some((FindingKind::Frozen, describe(&error)))),
        Err(error) => return Err(error.into()),
    };
    Ok(match Header::decode(&header) {
        _ if !is_object_length(length) => {
            Some((FindingKind::WrongLength, format!("no object of a log archive has {length} bytes")))
        }
        Err(error) => Some((FindingKind::Undecodable, describe(&error))),
        Ok(header) if header.kind != ObjectKind::Wal => {
            Some((FindingKind::Undecodable, "it is an object of another kind".into()))
        }
        Ok(header) if repository.is_some_and(|repository| repository != header.repository) => {
            Some((FindingKind::Undecodable, "it is of another repository".into()))
        }
        Ok(_) => None,
    })
}

fn wanted(store: &dyn Store) -> Result<Vec<Wanted>, RepositoryError> {
    let mut wanted = Vec::new();
    for (folder, kind) in [("packs/", ObjectKind::DataPack), ("meta/", ObjectKind::MetadataPack)] {
        store.list(folder, &mut |name, info| {
            if let Some(id) = names::pack_of(kind, &name) {
                wanted.push(Wanted { name, length: info.length_bytes, kind, hash: id.0 });
            }
            Ok(())
        })?;
    }
    store.list("index/", &mut |name, info| {
        if let Some(index) = names::index_of(&name, info.length_bytes) {
            let kind = ObjectKind::Index;
            wanted.push(Wanted { name, length: info.length_bytes, kind, hash: index.id.0 });
        }
        Ok(())
    })?;
    Ok(wanted)
}

fn look_at(store: &dyn Store, one: &Wanted) -> Result<Option<(FindingKind, String)>, RepositoryError> {
    let limit = if one.kind == ObjectKind::Index { INDEX_LIMIT_BYTES } else { PACK_LIMIT_BYTES };
    let bytes = match store.get(&one.name, limit) {
        Ok(bytes) => bytes,
        // It was listed: a prune may have deleted it since.
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error @ (StoreError::TooLarge { .. } | StoreError::Truncated { .. })) => {
            return Ok(Some((FindingKind::WrongLength, describe(&error))));
        }
        Err(error @ StoreError::Archived { .. }) => return Ok(Some((FindingKind::Frozen, describe(&error)))),
        Err(error) => return Err(error.into()),
    };
    if content_hash(&bytes).0 != one.hash {
        return Ok(Some((FindingKind::HashMismatch, "its bytes do not hash to its name".into())));
    }
    // The bytes are those that were stored under this name; were they an object of this kind?
    let is_kind = Header::decode(&bytes).is_ok_and(|header| header.kind == one.kind);
    let is_formed = is_kind
        && (one.kind == ObjectKind::Index
            || bytes
                .last_chunk::<TRAILER_LENGTH>()
                .is_some_and(|trailer| decode_trailer(trailer, bytes.len() as u64).is_ok()));
    Ok((!is_formed).then(|| (FindingKind::Stray, "it was never an object of this kind".into())))
}
