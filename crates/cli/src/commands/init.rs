//! `init`: makes a repository, and the keys that open it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use strongroom_keys::Secret;
use strongroom_keys::random::{self, OsRandom};
use strongroom_keys::wrap::{ARGON2_COSTS, WrapTo};
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{LocalStore, NotAStoreReason, Store, StoreError};

use crate::arguments::Init;
use crate::context::{Context, host_name};
use crate::credentials;
use crate::exit::{Outcome, Usage};

/// A key file that is made with the repository.
struct NewKey {
    key: Secret,
    /// Where it lies until the repository has its fingerprint, and after.
    path: PathBuf,
    /// Whether it is renamed to the fingerprint then.
    by_fingerprint: bool,
}

pub(crate) fn run(context: &Context<'_>, arguments: &Init) -> anyhow::Result<Outcome> {
    let location = context.location()?;
    let store: Arc<dyn Store> = Arc::new(create(location)?);
    let (recipients, new_keys) = recipients(context, arguments)?;
    let made = strongroom_repository::init(
        &store,
        &recipients,
        &arguments.host.clone().unwrap_or_else(host_name),
        &OsRandom,
    );
    let fingerprint = match made {
        Ok(fingerprint) => fingerprint,
        Err(error) => {
            // The key of a repository that does not exist opens nothing.
            new_keys.iter().for_each(|new| drop(fs::remove_file(&new.path)));
            return Err(error.into());
        }
    };
    let mut key_files = Vec::new();
    for new in new_keys {
        key_files.push(name_key_file(&new, &fingerprint)?);
    }
    if context.global.json {
        let files: Vec<_> = key_files.iter().map(|path| path.display().to_string()).collect();
        context.json(&json!({ "type": "init", "repository": location.display().to_string(), "fingerprint": fingerprint, "key_files": files }));
        return Ok(Outcome::Done);
    }
    crate::output::line!("made a repository at {}", location.display());
    crate::output::line!("fingerprint {fingerprint}");
    for path in &key_files {
        crate::output::line!("key file {}", path.display());
    }
    if !key_files.is_empty() {
        context
            .terminal
            .say("Keep a copy of the key file somewhere else: without it nobody can read the repository.");
    }
    context.terminal.say("Other hosts may pin the fingerprint in STRONGROOM_FINGERPRINT.");
    Ok(Outcome::Done)
}

/// A new store; a folder that holds a repository is told from one that holds anything else.
fn create(location: &Path) -> anyhow::Result<LocalStore> {
    let error = match LocalStore::create(location) {
        Ok(store) => return Ok(store),
        Err(error) => error,
    };
    let is_taken = matches!(error, StoreError::NotAStore { reason: NotAStoreReason::NotEmpty, .. });
    if !is_taken || Repository::fingerprint_of(&LocalStore::open(location)?).is_err() {
        return Err(error.into());
    }
    let place = location.display().to_string();
    let finished = location.join("journal").join(format!("{:016x}", 0)).exists();
    Err(if finished {
        RepositoryError::AlreadyARepository { location: place }
    } else {
        RepositoryError::UnfinishedInit { location: place }
    }
    .into())
}

fn recipients(context: &Context<'_>, arguments: &Init) -> anyhow::Result<(Vec<WrapTo>, Vec<NewKey>)> {
    let mut wanted: Vec<String> = arguments.recipient.clone();
    if wanted.is_empty() {
        wanted.extend(context.global.key_file.as_ref().map(|path| format!("key-file:{}", path.display())));
        if credentials::passphrase(context.global)?.is_some() {
            wanted.push("passphrase".into());
        }
        if wanted.is_empty() {
            wanted.push("key-file".into());
        }
    }
    let (mut recipients, mut new_keys) = (Vec::new(), Vec::new());
    for recipient in &wanted {
        let key = match recipient.split_once(':') {
            None if recipient == "passphrase" => {
                recipients.push(WrapTo::passphrase(
                    &credentials::new_passphrase(context.global)?,
                    ARGON2_COSTS,
                    &OsRandom,
                )?);
                continue;
            }
            None if recipient == "key-file" => {
                let path = credentials::default_key_file(&format!(
                    "new-{}",
                    hex::encode(random::array::<8>(&OsRandom)?)
                ))?;
                make_key(&path, true, &mut new_keys)?
            }
            Some(("key-file", path)) if Path::new(path).exists() => {
                credentials::read_key_file(Path::new(path))?
            }
            Some(("key-file", path)) if !path.is_empty() => make_key(Path::new(path), false, &mut new_keys)?,
            _ => {
                return Err(Usage(format!(
                    "`{recipient}` is no recipient: write passphrase, key-file or key-file:PATH"
                ))
                .into());
            }
        };
        recipients.push(WrapTo::KeyFile { key });
    }
    Ok((recipients, new_keys))
}

/// The key is on disk before anything is wrapped for it: a crash leaves a key without a repository, never the
/// other way round.
fn make_key(path: &Path, by_fingerprint: bool, new_keys: &mut Vec<NewKey>) -> anyhow::Result<Secret> {
    let key = Secret::new(random::array(&OsRandom)?);
    credentials::write_key_file(path, &key, "being made")?;
    new_keys.push(NewKey { key: key.clone(), path: path.to_owned(), by_fingerprint });
    Ok(key)
}

/// Puts the fingerprint into the new key file's text, and into its name where it is this user's default.
fn name_key_file(new: &NewKey, fingerprint: &str) -> anyhow::Result<PathBuf> {
    let path =
        if new.by_fingerprint { credentials::default_key_file(fingerprint)? } else { new.path.clone() };
    let named = path.with_extension("key.named");
    credentials::write_key_file(&named, &new.key, fingerprint)?;
    fs::rename(&named, &path).with_context(|| format!("cannot rename the key file to {}", path.display()))?;
    if path != new.path {
        fs::remove_file(&new.path).with_context(|| format!("cannot remove {}", new.path.display()))?;
    }
    Ok(path)
}
