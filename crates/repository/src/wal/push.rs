//! Pushing files of a log: parts are sealed, and stored under names that are created once.
//!
//! A file is there when its first part is, so that one is stored last: whoever dies in between has stored nothing that
//! anybody finds. What is there already is read, and never replaced: the same bytes are success, others are not.
//!
//! Prune may retire a data key that it finds nothing under, at the moment when an object is stored under it. So the
//! journal is read on after an object is stored, and an object under a retired key does not do; and prune looks for
//! objects once more after its entry, before it deletes a wrap.

use std::io::{Read, Seek, SeekFrom};

use strongroom_format::pack::KeyRef;
use strongroom_format::registry::{Codec, Purpose};
use strongroom_format::wal::{ATTEMPT_LIMIT, FILE_LIMIT_BYTES, PART_BYTES, WalHead, part_count};
use strongroom_format::{ContentHash, FormatError, KeyId, Salt};
use strongroom_keys::KeysError;
use strongroom_keys::derive::{commitment, content_hash};
use strongroom_keys::random;
use strongroom_keys::wal::{WalKey, seal_object};
use strongroom_keys::wrap::WrapTo;
use strongroom_store::{ObjectName, PutOutcome};

use super::ArchivedFile;
use crate::error::RepositoryError;
use crate::names;
use crate::new_data_key::DataKeyMaker;
use crate::open::vault_recipient;
use crate::repository::Repository;
use crate::zstd::compress_log;

/// How long files are sealed under one data key, ns.
const KEY_AGE_NS: i64 = 60 * 60 * 1_000_000_000;
const COMPRESSION_LEVEL: i32 = 2;

/// What became of a file that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is stored now.
    Stored,
    /// It was there, with the same bytes.
    WasThere,
}

/// Pushes files into the log archives of a repository, for as long as it lives; sealed under a data key of its own, and
/// another one every hour.
///
/// It needs the role write for each source, and no right to read what is stored.
pub struct WalWriter<'a> {
    repository: &'a mut Repository,
    key: Option<OwnKey>,
}

struct OwnKey {
    key: WalKey,
    reference: KeyRef,
    made_ns: i64,
}

/// A part that is to be stored, as a payload.
struct Part<'a> {
    of: &'a ArchivedFile,
    number: u32,
    file_bytes: u64,
    file_hash: ContentHash,
    part_hash: ContentHash,
    codec: Codec,
    payload: Vec<u8>,
}

/// What lies under a name that is taken.
enum Found {
    /// The same part of the same bytes, whole, sealed under this key.
    Same(KeyId),
    /// Another file.
    Other,
    /// Nothing that can be read.
    Damaged,
}

impl<'a> WalWriter<'a> {
    /// Begins; nothing is stored before there is something to push.
    #[must_use]
    pub fn new(repository: &'a mut Repository) -> Self {
        Self { repository, key: None }
    }

    /// Stores a file of 1 byte to 1 GiB; it is durable when this returns. A file of several parts is read twice.
    ///
    /// # Errors
    /// `NotItsSource`, `NoSigner`; `LogFileDiffers` when the archive has another file of that name; `LogFileExpired`;
    /// `LogFileChanged` when it is not the same when it is read again; `Read`; `Store`, `Wrap`, `Seal`.
    pub fn push<R: Read + Seek>(
        &mut self,
        file: &ArchivedFile,
        content: &mut R,
    ) -> Result<Pushed, RepositoryError> {
        self.require_allowed(file)?;
        let read = |source| RepositoryError::Read { path: file.file.to_string(), source };
        let length = content.seek(SeekFrom::End(0)).map_err(read)?;
        check_length(file, length)?;
        let file_hash = match part_count(length) {
            1 => None,
            _ => Some(self.hash_all(file, content)?),
        };
        let mut pushed = Pushed::WasThere;
        for number in (0..part_count(length)).rev() {
            let plain = read_part(file, content, number, length)?;
            let part_hash = self.repository.log_hash(&plain);
            let (codec, payload) = compressed(plain)?;
            let part = Part {
                of: file,
                number,
                file_bytes: length,
                file_hash: file_hash.unwrap_or(part_hash),
                part_hash,
                codec,
                payload,
            };
            if self.store(&part)? == Pushed::Stored {
                pushed = Pushed::Stored;
            }
        }
        Ok(pushed)
    }

    fn require_allowed(&self, file: &ArchivedFile) -> Result<(), RepositoryError> {
        let state = &self.repository.state;
        crate::backup::require_source(state, self.repository.signer()?.id(), &file.source)?;
        match state.expired_by(&file.source, file.system, file.file) {
            Some(entry) => Err(RepositoryError::LogFileExpired { file: file.to_string(), entry }),
            None => Ok(()),
        }
    }

    fn hash_all<R: Read + Seek>(
        &self,
        file: &ArchivedFile,
        content: &mut R,
    ) -> Result<ContentHash, RepositoryError> {
        let read = |source| RepositoryError::Read { path: file.file.to_string(), source };
        content.seek(SeekFrom::Start(0)).map_err(read)?;
        let mut hasher = self.repository.identity.log_file_hasher();
        hasher.update_reader(content).map_err(read)?;
        Ok(ContentHash(*hasher.finalize().as_bytes()))
    }

    fn store(&mut self, part: &Part<'_>) -> Result<Pushed, RepositoryError> {
        for attempt in 0..ATTEMPT_LIMIT {
            let wanted = part.of.part(part.number, attempt);
            let name = names::log_object(self.repository.identity.wal_id(&wanted))?;
            let (object, key) = self.seal(part, attempt, &name)?;
            let created = self.repository.store.put_if_absent(&name, &object)?;
            drop(object);
            let found = match created {
                PutOutcome::Created => None,
                PutOutcome::AlreadyExists => Some(self.look_at(part, &name)?),
            };
            // What others said meanwhile: only now it is certain that whoever retires the key saw the object.
            self.repository.refresh()?;
            self.require_allowed(part.of)?;
            let is_retired = |key: KeyId| self.repository.state.retired_keys.contains_key(&key);
            match found {
                None if !is_retired(key) => return Ok(Pushed::Stored),
                Some(Found::Same(key)) if !is_retired(key) => return Ok(Pushed::WasThere),
                Some(Found::Other) => {
                    return Err(RepositoryError::LogFileDiffers { file: part.of.to_string() });
                }
                None | Some(Found::Same(_) | Found::Damaged) => {}
            }
            if is_retired(key) {
                self.key = None;
            }
        }
        Err(RepositoryError::LogFileUnavailable {
            file: part.of.to_string(),
            reasons: format!("all {ATTEMPT_LIMIT} names that it may have are taken by what cannot be read"),
        })
    }

    /// Reads what is there: all of it, so that what is said to be stored is whole.
    fn look_at(&self, part: &Part<'_>, name: &ObjectName) -> Result<Found, RepositoryError> {
        match self.repository.verified_object(name) {
            Ok((signed, _)) if signed.head.file_hash != part.file_hash => Ok(Found::Other),
            Ok((signed, _)) if signed.head.part_hash == part.part_hash => {
                let key = signed.head.key.id;
                // Without any of its wraps nobody opens it.
                Ok(if self.has_wraps(key)? { Found::Same(key) } else { Found::Damaged })
            }
            Ok(_) => Ok(Found::Damaged),
            Err(error) if error.is_of_content() => Ok(Found::Damaged),
            Err(error) => Err(error),
        }
    }

    fn has_wraps(&self, key: KeyId) -> Result<bool, RepositoryError> {
        let mut has = false;
        self.repository.origin.list(&format!("keys/{key}/"), &mut |_, _| {
            has = true;
            Ok(())
        })?;
        Ok(has)
    }

    fn seal(
        &mut self,
        part: &Part<'_>,
        attempt: u32,
        name: &ObjectName,
    ) -> Result<(Vec<u8>, KeyId), RepositoryError> {
        self.make_key()?;
        let repository = &*self.repository;
        let own = self.key.as_ref().ok_or(RepositoryError::Cancelled)?;
        let failed = |source| RepositoryError::Seal { what: "a file of the log", source };
        let salt = || -> Result<Salt, KeysError> { Ok(Salt(random::array(&*repository.random)?)) };
        let body =
            own.key.seal_body(name.as_str(), &part.payload, salt().map_err(failed)?).map_err(failed)?;
        let head = WalHead {
            part: part.of.part(part.number, attempt),
            file_bytes: part.file_bytes,
            file_hash: part.file_hash,
            part_hash: part.part_hash,
            key: own.reference,
            codec: part.codec,
            payload_bytes: u32::try_from(part.payload.len()).unwrap_or(u32::MAX),
            body_hash: content_hash(&body),
        };
        let (metadata, signer) = (repository.metadata_key()?, repository.signer()?);
        let object = seal_object(metadata, name.as_str(), &head, &body, signer, salt().map_err(failed)?);
        Ok((object.map_err(failed)?, own.reference.id))
    }

    /// A key that is no older than an hour, by the client's clock.
    fn make_key(&mut self) -> Result<(), RepositoryError> {
        let now_ns = self.repository.clock.now_ns();
        let is_young = |key: &OwnKey| (0..KEY_AGE_NS).contains(&now_ns.saturating_sub(key.made_ns));
        if self.key.as_ref().is_some_and(is_young) {
            return Ok(());
        }
        let repository = &*self.repository;
        let policy = &repository.state.policy;
        let vault =
            WrapTo::X25519 { recipient: vault_recipient(policy.vault.id), public: policy.vault_public };
        let id = repository.config.repository;
        let kms = repository.data_kms();
        let made = DataKeyMaker {
            store: &*repository.store,
            random: &*repository.random,
            signer: repository.signer()?,
            repository: id,
            vault: &vault,
            kms: kms.as_ref(),
        }
        .make()?;
        self.key = Some(OwnKey {
            key: WalKey::from_data_key(made.id, id, &made.secret),
            reference: KeyRef {
                id: made.id,
                commitment: commitment(&made.secret, id, made.id, Purpose::Data),
            },
            made_ns: now_ns,
        });
        Ok(())
    }
}

fn check_length(file: &ArchivedFile, length: u64) -> Result<(), RepositoryError> {
    if (1..=FILE_LIMIT_BYTES).contains(&length) {
        return Ok(());
    }
    let source = FormatError::Limit { what: "length of a log file", value: length, limit: FILE_LIMIT_BYTES };
    Err(RepositoryError::Unstorable { what: file.to_string(), source })
}

fn read_part<R: Read + Seek>(
    file: &ArchivedFile,
    content: &mut R,
    number: u32,
    length: u64,
) -> Result<Vec<u8>, RepositoryError> {
    let read = |source| RepositoryError::Read { path: file.file.to_string(), source };
    let start = u64::from(number) * u64::from(PART_BYTES);
    let wanted = length.saturating_sub(start).min(PART_BYTES.into());
    content.seek(SeekFrom::Start(start)).map_err(read)?;
    let mut plain = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
    content.take(wanted).read_to_end(&mut plain).map_err(read)?;
    if plain.len() as u64 == wanted {
        Ok(plain)
    } else {
        Err(RepositoryError::LogFileChanged { file: file.to_string() })
    }
}

fn compressed(plain: Vec<u8>) -> Result<(Codec, Vec<u8>), RepositoryError> {
    let mut payload = Vec::new();
    if compress_log(COMPRESSION_LEVEL, &plain, &mut payload)? {
        Ok((Codec::Zstd, payload))
    } else {
        Ok((Codec::Raw, plain))
    }
}
