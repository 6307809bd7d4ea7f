//! `init`: makes a repository, and the keys that open it.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use strongroom_keys::random::OsRandom;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::{InitOptions, Made, Repository, RepositoryError};
use strongroom_store::{LocalStore, NotAStoreReason, Store, StoreError, StoreOptions, StoreUrl, conformance};

use crate::arguments::Init;
use crate::configured;
use crate::context::{Context, host_name};
use crate::credentials;
use crate::exit::Outcome;
use crate::output::line;
use crate::recipients::NewKeys;

pub(crate) fn run(context: &Context<'_>, arguments: &Init) -> anyhow::Result<Outcome> {
    let mut new_keys = NewKeys::default();
    // First, because a passphrase that is too short leaves nothing behind.
    let recipients = match recipients(context, arguments, &mut new_keys) {
        Ok(recipients) => recipients,
        Err(error) => {
            new_keys.discard();
            return Err(error);
        }
    };
    let host = arguments.host.clone().or_else(|| context.global.writer.clone()).unwrap_or_else(host_name);
    let made = make(context, arguments, &recipients, &host);
    let (location, made) = match made {
        Ok(made) => made,
        Err(error) => {
            // The key of a repository that does not exist opens nothing.
            new_keys.discard();
            return Err(error);
        }
    };
    let (fingerprint, id) = (made.fingerprint, made.repository.to_hex());
    let key_files = new_keys.keep(&fingerprint)?;
    if context.global.json {
        let files: Vec<_> = key_files.iter().map(|path| path.display().to_string()).collect();
        context.json(&json!({ "type": "init", "repository": location, "id": id, "fingerprint": fingerprint, "key_files": files }));
        return Ok(Outcome::Done);
    }
    line!("made a repository at {location}");
    line!("fingerprint {fingerprint}");
    line!("ID {id}");
    for path in &key_files {
        line!("key file {}", path.display());
    }
    if !key_files.is_empty() {
        context
            .terminal
            .say("Keep a copy of the key file somewhere else: without it nobody can read the repository.");
    }
    context.terminal.say("Other hosts may pin the fingerprint in STRONGROOM_FINGERPRINT.");
    Ok(Outcome::Done)
}

/// Makes it; gives its place and what it is.
fn make(
    context: &Context<'_>,
    arguments: &Init,
    recipients: &[WrapTo],
    host: &str,
) -> anyhow::Result<(String, Made)> {
    let store = context.store_at(create)?;
    // Of a folder that is known; a bucket, or what claims to be one, has to show it.
    if !matches!(context.url()?, StoreUrl::Local(_)) {
        conformance::probe(&*store)?;
    }
    let (object_lock, parity) = (arguments.object_lock, arguments.parity.unwrap_or_default());
    let options = InitOptions { host, object_lock, parity };
    let made = strongroom_repository::init(&store, recipients, options, &OsRandom)?;
    Ok((store.location(), made))
}

/// A new store; a folder that holds a repository is told from one that holds anything else.
fn create(url: &StoreUrl, options: &StoreOptions) -> anyhow::Result<Arc<dyn Store>> {
    let error = match url.create(options) {
        Ok(store) => return Ok(store),
        Err(error) => error,
    };
    let is_taken = matches!(error, StoreError::NotAStore { reason: NotAStoreReason::NotEmpty, .. });
    let StoreUrl::Local(location) = url else { return Err(error.into()) };
    if !is_taken || Repository::fingerprint_of(&LocalStore::open(location)?).is_err() {
        return Err(error.into());
    }
    Err(there_already(location).into())
}

fn there_already(location: &Path) -> RepositoryError {
    let place = location.display().to_string();
    if location.join("journal").join(format!("{:016x}", 0)).exists() {
        RepositoryError::AlreadyARepository { location: place }
    } else {
        RepositoryError::UnfinishedInit { location: place }
    }
}

fn recipients(
    context: &Context<'_>,
    arguments: &Init,
    new_keys: &mut NewKeys,
) -> anyhow::Result<Vec<WrapTo>> {
    context.url()?;
    let mut wanted: Vec<String> = arguments.recipient.clone();
    if wanted.is_empty() {
        wanted = configured::recipients(context)?;
    }
    if wanted.is_empty() {
        wanted.extend(context.global.key_file.as_ref().map(|path| format!("key-file:{}", path.display())));
        if credentials::passphrase(context.global)?.is_some() {
            wanted.push("passphrase".into());
        }
        if wanted.is_empty() {
            wanted.push("key-file".into());
        }
    }
    wanted.iter().map(|recipient| new_keys.recipient(context.global, recipient)).collect()
}
