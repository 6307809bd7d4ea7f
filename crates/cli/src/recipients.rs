//! What a person writes for a recipient: `passphrase`, `key-file:PATH`, `x25519:PUBLIC`, `aws-kms:ARN-OR-ALIAS`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use strongroom_format::RecipientId;
use strongroom_format::policy::Policy;
use strongroom_format::registry::RecipientType;
use strongroom_keys::key_file::{self, KeyFile};
use strongroom_keys::random::{self, OsRandom};
use strongroom_keys::wrap::{ARGON2_COSTS, WrapTo, aws_kms_recipient, key_file_recipient, x25519_recipient};
use strongroom_keys::{KeysError, Secret};

use crate::arguments::Global;
use crate::credentials;
use crate::exit::Usage;

/// Key files that were made for new recipients.
#[derive(Default)]
pub(crate) struct NewKeys(Vec<NewKey>);

struct NewKey {
    key: Secret,
    /// Where it lies until the repository has its fingerprint, and after.
    path: PathBuf,
    /// Whether it is renamed to the fingerprint then.
    by_fingerprint: bool,
}

impl NewKeys {
    /// Understands a recipient; a key file that is not there is made.
    pub(crate) fn recipient(&mut self, global: &Global, text: &str) -> anyhow::Result<WrapTo> {
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        match (kind, rest) {
            ("passphrase", None) => {
                Ok(WrapTo::passphrase(&credentials::new_passphrase(global)?, ARGON2_COSTS, &OsRandom)?)
            }
            ("key-file", None) => {
                let name = format!("new-{}", hex::encode(random::array::<8>(&OsRandom)?));
                self.make(&credentials::default_key_file(&name)?, true)
            }
            ("key-file", Some(path)) if Path::new(path).exists() => {
                match credentials::read_key_file(Path::new(path))? {
                    KeyFile::Symmetric(key) => Ok(WrapTo::KeyFile { key }),
                    KeyFile::X25519(private) => {
                        Ok(WrapTo::x25519(strongroom_keys::wrap::x25519_public(&private)?))
                    }
                }
            }
            ("key-file", Some(path)) if !path.is_empty() => self.make(Path::new(path), false),
            ("x25519", Some(_)) => match key_file::parse_public(text) {
                Ok(public) => Ok(WrapTo::x25519(public)),
                Err(KeysError::KeyFile { reason }) => {
                    Err(Usage(format!("`{text}` is no public key: {reason}")).into())
                }
                Err(error) => Err(error.into()),
            },
            ("aws-kms", Some(key)) if !key.is_empty() => {
                Ok(WrapTo::aws_kms(key, credentials::kms(global))?)
            }
            _ => Err(Usage(format!(
                "`{text}` is no recipient: write passphrase, key-file, key-file:PATH, x25519:PUBLIC or aws-kms:ARN-OR-ALIAS"
            ))
            .into()),
        }
    }

    /// The key is on disk before anything is wrapped for it: a crash leaves a key without a repository, never the
    /// other way round.
    fn make(&mut self, path: &Path, by_fingerprint: bool) -> anyhow::Result<WrapTo> {
        let key = Secret::new(random::array(&OsRandom)?);
        credentials::write_key_file(path, &key, "being made")?;
        self.0.push(NewKey { key: key.clone(), path: path.to_owned(), by_fingerprint });
        Ok(WrapTo::KeyFile { key })
    }

    /// Removes them: the key of what does not exist opens nothing.
    pub(crate) fn discard(self) {
        self.0.iter().for_each(|new| drop(fs::remove_file(&new.path)));
    }

    /// Puts the fingerprint into their texts, and into the name of one that is this user's default. Gives the paths.
    pub(crate) fn keep(self, fingerprint: &str) -> anyhow::Result<Vec<PathBuf>> {
        self.0.iter().map(|new| new.name(fingerprint)).collect()
    }
}

impl NewKey {
    fn name(&self, fingerprint: &str) -> anyhow::Result<PathBuf> {
        let path =
            if self.by_fingerprint { credentials::default_key_file(fingerprint)? } else { self.path.clone() };
        let named = path.with_extension("key.named");
        credentials::write_key_file(&named, &self.key, fingerprint)?;
        fs::rename(&named, &path)
            .with_context(|| format!("cannot rename the key file to {}", path.display()))?;
        if path != self.path {
            fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))?;
        }
        Ok(path)
    }
}

/// Finds a recipient of the policy: by ID or its beginning, label, or what it was added as.
pub(crate) fn find(global: &Global, policy: &Policy, text: &str) -> anyhow::Result<RecipientId> {
    let exact = match text.split_once(':') {
        Some(("x25519", _)) => Some(x25519_recipient(&key_file::parse_public(text)?)),
        Some(("key-file", path)) => match credentials::read_key_file(Path::new(path))? {
            KeyFile::Symmetric(key) => Some(key_file_recipient(&key)),
            KeyFile::X25519(private) => {
                Some(x25519_recipient(&strongroom_keys::wrap::x25519_public(&private)?))
            }
        },
        Some(("aws-kms", key)) => {
            let is_named = |recipient: &&strongroom_format::policy::Recipient| {
                recipient.kind == RecipientType::AwsKms && recipient.public == key.as_bytes()
            };
            match policy.recipients.iter().find(is_named) {
                Some(named) => Some(named.id),
                None => Some(aws_kms_recipient(&Arc::clone(&credentials::kms(global)).resolve(key)?)),
            }
        }
        _ => None,
    };
    let matching: Vec<RecipientId> = policy
        .recipients
        .iter()
        .filter(|recipient| match exact {
            Some(exact) => recipient.id == exact,
            None => recipient.label == text || (text.len() >= 4 && recipient.id.to_hex().starts_with(text)),
        })
        .map(|recipient| recipient.id)
        .collect();
    match matching[..] {
        [one] => Ok(one),
        [] => Err(Usage(format!(
            "`{text}` is no recipient of the repository; `strongroom key list` lists them"
        ))
        .into()),
        _ => {
            Err(Usage(format!("`{text}` fits {} recipients: give more digits of its ID", matching.len()))
                .into())
        }
    }
}
