//! Opens repositories of vectors with this implementation: what state comes out, or which error.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use strongroom_keys::random::OsRandom;
use strongroom_keys::unlock::Credential;
use strongroom_repository::clock::FixedClock;
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::{MemoryStore, ObjectName, Store};

use crate::chain::{Objects, key_file};

/// A store that holds these objects.
pub(crate) fn store(objects: &Objects) -> Result<Arc<dyn Store>> {
    let store = MemoryStore::new();
    for (name, bytes) in objects {
        store.overwrite(&ObjectName::new(name.clone())?, bytes);
    }
    Ok(Arc::new(store))
}

/// Opens them with the key file.
pub(crate) fn open(objects: &Objects) -> Result<Result<Repository, RepositoryError>> {
    open_with(objects, Credential::KeyFile(key_file()))
}

/// Opens them.
pub(crate) fn open_with(
    objects: &Objects,
    credential: Credential,
) -> Result<Result<Repository, RepositoryError>> {
    let options = OpenOptions::new(vec![credential], Arc::new(OsRandom), Arc::new(FixedClock::default()));
    Ok(Repository::open(store(objects)?, options))
}

/// The state, as files of vectors have it.
pub(crate) fn state(repository: &Repository) -> Value {
    let state = repository.state();
    let mut voids: Vec<_> = state.voids.iter().map(|void| (void.number, &void.reason)).collect();
    voids.sort();
    let snapshots: Vec<Value> = state
        .snapshots
        .iter()
        .map(|snapshot| {
            let state = &snapshot.state;
            let keys: Vec<_> = state.keys.iter().map(|key| key.id.to_hex()).collect();
            let holds: Vec<_> = state.holds.iter().map(|hold| json!([hold.name, hold.number])).collect();
            json!({ "entry": state.number, "id": state.id.to_hex(), "time_ms": state.time_ms, "tags": state.tags, "keys": keys, "holds": holds })
        })
        .collect();
    let packs: Vec<Value> = state
        .packs
        .values()
        .zip(state.brought_by.values())
        .map(|(pack, signer)| json!([pack.kind.number(), pack.id.to_hex(), pack.length, signer.to_hex()]))
        .collect();
    json!({
        "head": state.number,
        "void": voids.iter().map(|(number, reason)| json!([number, reason])).collect::<Vec<_>>(),
        "damaged": state.damaged.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        "policy": state.policy.sequence,
        "settled": state.policy.settled,
        "metadata_key": state.policy.metadata.id.to_hex(),
        "chain": state.chain.to_hex(),
        "snapshots": snapshots,
        "attested": state.attested.iter().map(|(pack, by)| json!([pack.to_hex(), by.description.to_hex(), by.last])).collect::<Vec<_>>(),
        "indexes": state.indexes.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "packs": packs,
        "forgotten": state.to_checkpoint().forgotten.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "retired": state.retired.iter().map(|(pack, number)| json!([pack.to_hex(), number])).collect::<Vec<_>>(),
        "retired_keys": state.retired_keys.iter().map(|(key, number)| json!([key.to_hex(), number])).collect::<Vec<_>>(),
    })
}

/// The variant of an error, and of those below it: `Unlock: Commitment`.
pub(crate) fn code(error: &RepositoryError) -> String {
    let variant =
        |debug: String| debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    let outer = variant(format!("{error:?}"));
    match error {
        RepositoryError::Unlock { source, .. } | RepositoryError::Damaged { source, .. } => {
            format!("{outer}: {}", variant(format!("{source:?}")))
        }
        RepositoryError::NewerFormat { source, .. } => format!("{outer}: {source:?}"),
        _ => outer,
    }
}

/// Objects of a base repository, with some exchanged (`null`: missing).
///
/// # Errors
/// Names or bytes that are none.
pub(crate) fn apply(base: &Objects, changes: &Value) -> Result<Objects> {
    let mut objects = base.clone();
    for (name, bytes) in changes.as_object().context("objects by name")? {
        match bytes.as_str() {
            Some(digits) => objects.insert(name.clone(), hex::decode(digits)?),
            None => objects.remove(name),
        };
    }
    Ok(objects)
}
