//! Log archives: every object is what its name says, by somebody who may write its source, and whole.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_format::wal::{HEAD_LENGTH, OBJECT_LIMIT_BYTES, part_count};
use strongroom_format::{RecipientId, WalId};
use strongroom_keys::KeysError;
use strongroom_keys::kms::KmsTrouble;
use strongroom_keys::random;
use strongroom_keys::unlock::key_name;
use strongroom_keys::wal::whole_body;
use strongroom_store::{ObjectInfo, ObjectName};

use super::finding::classify;
use super::{Checker, FindingKind, Severity};
use crate::error::RepositoryError;
use crate::names;
use crate::wal::{ArchivedFile, SignedHead};

/// What is wrong with an object: its name, how bad, and how.
type Wrong = (WalId, Severity, FindingKind, String);

/// What was found of a file.
#[derive(Default)]
struct Parts {
    whole: BTreeSet<u32>,
    count: u32,
}

impl Checker<'_> {
    /// Looks at the head of each object, and reads whole what is to be read.
    pub(super) fn log_archives(&mut self) -> Result<(), RepositoryError> {
        let (mut listed, mut strays) = (Vec::new(), Vec::new());
        self.repository.origin.list("wal/", &mut |name, info| {
            match names::log_object_of(&name) {
                Some(id) => listed.push((id, info)),
                None => strays.push(name),
            }
            Ok(())
        })?;
        self.report_strays(&strays, "it is no object of a log archive");
        let mut wrong: Vec<Wrong> = Vec::new();
        let mut superseded = BTreeSet::new();
        let mut keys = Vec::new();
        let mut files: BTreeMap<ArchivedFile, Parts> = BTreeMap::new();
        for (id, info) in listed {
            self.go_on()?;
            let Some((head, is_whole)) = self.log_object(id, info, &mut wrong)? else { continue };
            let part = &head.head.part;
            keys.push((id, head.head.key.id));
            let parts = files.entry(ArchivedFile::of(part)).or_default();
            parts.count = part_count(head.head.file_bytes);
            if is_whole {
                parts.whole.insert(part.part);
                for attempt in 0..part.attempt {
                    let mut earlier = part.clone();
                    earlier.attempt = attempt;
                    superseded.insert(self.repository.identity.wal_id(&earlier));
                }
            }
        }
        // What was stored again, because its key was retired meanwhile, needs it no more.
        self.log_keys.extend(keys.iter().filter(|(id, _)| !superseded.contains(id)).map(|(_, key)| *key));
        for (id, severity, kind, detail) in wrong {
            let name = names::log_object(id)?;
            if superseded.contains(&id) {
                let detail = format!("{detail}; a later attempt is whole");
                self.findings.add(Severity::Info, kind, name.as_str(), detail);
            } else {
                self.findings.add(severity, kind, name.as_str(), detail);
            }
        }
        self.parts_of_log_files(&files);
        self.keys_of_log_archives()
    }

    /// The head of an object, and whether all of it is as it should be as far as it was looked at.
    fn log_object(
        &mut self,
        id: WalId,
        info: ObjectInfo,
        wrong: &mut Vec<Wrong>,
    ) -> Result<Option<(SignedHead, bool)>, RepositoryError> {
        let name = names::log_object(id)?;
        let reads_all = self.reads_log_object(id)?;
        let fetched = if reads_all {
            self.fetch(&name, OBJECT_LIMIT_BYTES)?
        } else {
            match self.repository.origin.get_range(&name, 0, HEAD_LENGTH as u64) {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(self.store_error(error)?),
            }
        };
        let stored = match fetched {
            Ok(stored) => stored,
            // It was listed: a prune may have deleted it since.
            Err((FindingKind::Missing, _)) => return Ok(None),
            Err((kind, detail)) => {
                let severity = if kind == FindingKind::Frozen { Severity::Info } else { Severity::Damage };
                wrong.push((id, severity, kind, detail));
                return Ok(None);
            }
        };
        self.checked.log_objects += 1;
        let signed = match self.repository.verified_head(&self.state, &name, &stored) {
            Ok(signed) => signed,
            Err(error) => {
                let (kind, detail) = classify(&error);
                // What opens, and nobody has signed who may, somebody put there who has the metadata key.
                let is_forged = matches!(kind, FindingKind::SignatureInvalid | FindingKind::Contradiction);
                let severity = if is_forged { Severity::Suspicious } else { Severity::Damage };
                wrong.push((id, severity, kind, detail));
                return Ok(None);
            }
        };
        let file = ArchivedFile::of(&signed.head.part);
        if self.repository.came_too_late(&self.state, signed.head.key.id, &info)? {
            let detail = format!(
                "{file}: it came after its data key was retired, and nobody was told that it is stored"
            );
            wrong.push((id, Severity::Info, FindingKind::Leftover, detail));
            return Ok(None);
        }
        let mut is_whole = true;
        if info.length_bytes != signed.head.object_bytes() {
            let expected = signed.head.object_bytes();
            let detail = format!("{file}: it is {} bytes long, and was {expected}", info.length_bytes);
            wrong.push((id, Severity::Damage, FindingKind::WrongLength, detail));
            is_whole = false;
        } else if reads_all {
            self.checked.log_objects_read += 1;
            if let Err(error) = self.read_log_object(&name, &signed, &stored) {
                let (kind, detail) = classify(&error);
                let detail = format!("{file}: {detail}");
                if says_nothing_of_the_key(&error) {
                    wrong.push((id, Severity::Info, FindingKind::KeyUnopened, detail));
                } else {
                    wrong.push((id, Severity::Damage, kind, detail));
                    is_whole = false;
                }
            }
        }
        self.stored_in_time(id, info, &signed, wrong)?;
        Ok(Some((signed, is_whole)))
    }

    fn reads_log_object(&self, id: WalId) -> Result<bool, RepositoryError> {
        if self.options.share.is_some_and(|share| !share.has(&id.0)) {
            return Ok(false);
        }
        let Some(percent) = self.options.sample_percent else {
            return Ok(self.options.packs || self.options.read_data);
        };
        let [low, high] = random::array(&*self.repository.random)
            .map_err(|source| RepositoryError::Seal { what: "a sample", source })?;
        Ok(u16::from_le_bytes([low, high]) % 100 < u16::from(percent))
    }

    fn read_log_object(
        &self,
        name: &ObjectName,
        signed: &SignedHead,
        stored: &[u8],
    ) -> Result<(), RepositoryError> {
        whole_body(&signed.head, stored).map_err(RepositoryError::damaged(name))?;
        if self.options.read_data || self.options.sample_percent.is_some() {
            let _ = self.repository.open_log_object(name, &signed.head, stored)?;
        }
        Ok(())
    }

    /// What somebody stored who was not let write the source any more, as the store's clock has it.
    fn stored_in_time(
        &self,
        id: WalId,
        info: ObjectInfo,
        signed: &SignedHead,
        wrong: &mut Vec<Wrong>,
    ) -> Result<(), RepositoryError> {
        let part = &signed.head.part;
        let Some(number) = self.state.stopped_writing(signed.signer, &part.source) else { return Ok(()) };
        let Ok(time_ms) = self.repository.entry_time_ms(number) else { return Ok(()) };
        if info.modified_ms > time_ms {
            let detail = format!(
                "{}: stored after journal entry {number} took the right to write its source from writer {}",
                ArchivedFile::of(part),
                signed.signer
            );
            wrong.push((id, Severity::Suspicious, FindingKind::SignatureInvalid, detail));
        }
        Ok(())
    }

    /// A file is there when its first part is, which is stored last: then none of the others may be missing.
    fn parts_of_log_files(&mut self, files: &BTreeMap<ArchivedFile, Parts>) {
        let mut unfinished = 0_u64;
        for (file, parts) in
            files.iter().filter(|(_, parts)| parts.whole.len() as u64 != u64::from(parts.count))
        {
            if parts.whole.contains(&0) {
                let missing: Vec<_> = (0..parts.count)
                    .filter(|part| !parts.whole.contains(part))
                    .map(|part| part.to_string())
                    .collect();
                let detail =
                    format!("of its {} parts are missing or damaged: {}", parts.count, missing.join(", "));
                self.damage(FindingKind::Missing, file.to_string(), detail);
            } else if parts.count > 1 {
                unfinished += 1;
            }
        }
        if unfinished > 0 {
            let detail = format!("{unfinished} files of logs of which not all parts are stored");
            self.findings.add(Severity::Info, FindingKind::Leftover, "wal/", detail);
        }
    }

    fn keys_of_log_archives(&mut self) -> Result<(), RepositoryError> {
        let vault = RecipientId(self.state.policy.vault.id.0);
        for key in self.log_keys.clone() {
            // A wrap of a KMS alone opens it as well.
            if !self.key_names.iter().any(|(known, _)| *known == key) {
                let name = key_name(key, vault)?;
                let detail = "log archives are sealed under this key, and it is not there";
                self.damage(FindingKind::KeyMissing, name.as_str(), detail);
            }
        }
        Ok(())
    }
}

/// Whether a data key is not opened for want of a right, or because its service is away.
fn says_nothing_of_the_key(error: &RepositoryError) -> bool {
    let RepositoryError::DataKey { source, .. } = error else { return false };
    match source {
        KeysError::NoCredential { .. } | KeysError::WrongCredential { .. } => true,
        KeysError::Kms(error) => error.trouble != KmsTrouble::WrongBlob,
        _ => false,
    }
}
