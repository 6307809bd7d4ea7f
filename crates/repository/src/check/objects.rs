//! Index objects, and which packs and keys are there: one listing each, whatever their number.

use std::collections::BTreeMap;

use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::index::INDEX_LIMIT_BYTES;
use strongroom_format::pack::KeyRef;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{KeyId, RecipientId};
use strongroom_keys::KeysError;
use strongroom_keys::derive::content_hash;
use strongroom_keys::kms::KmsTrouble;
use strongroom_keys::unlock::key_name;
use strongroom_store::ObjectName;

use super::finding::{Cause, classify};
use super::{Checker, FindingKind, Severity};
use crate::cache::{Cache, DescribedPack, Location, PackNumber, description};
use crate::error::RepositoryError;
use crate::names;
use crate::repository::ADDED_AT_ONCE;
use crate::state::describe;

/// Objects of a kind that nothing names.
#[derive(Default)]
pub(super) struct Leftover {
    count: u64,
    bytes: u64,
}

impl Leftover {
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Checker<'_> {
    /// Whether every pack of the state is there, in its length.
    pub(super) fn list_packs(&mut self) -> Result<(), RepositoryError> {
        for (folder, kind) in [("packs/", ObjectKind::DataPack), ("meta/", ObjectKind::MetadataPack)] {
            let (mut leftover, mut strays, mut lengths) = (Leftover::default(), Vec::new(), Vec::new());
            let mut retired = Leftover::default();
            let (state, present) = (&self.state, &mut self.present);
            self.repository.origin.list(folder, &mut |name, info| {
                match names::pack_of(kind, &name) {
                    None => strays.push(name),
                    Some(id) => match state.packs.get(&id).filter(|pack| pack.kind == kind) {
                        None if state.retired.contains_key(&id) => retired.add(info.length_bytes),
                        None => leftover.add(info.length_bytes),
                        Some(pack) => {
                            present.insert(id);
                            if info.length_bytes != pack.length {
                                lengths.push((id, name, info.length_bytes, pack.length));
                            }
                        }
                    },
                }
                Ok(())
            })?;
            self.report_strays(&strays, "it is no pack");
            self.report_leftover(folder, "packs", &leftover);
            self.report_retired(folder, "retired packs", &retired);
            for (id, name, found, expected) in lengths {
                let detail = format!("it is {found} bytes long, and was {expected}");
                let cause = self.damage(FindingKind::WrongLength, name.as_str(), detail);
                self.suspect.insert(id, cause);
            }
        }
        let state_packs: Vec<_> = self.state.packs.values().copied().collect();
        for pack in state_packs {
            if self.present.contains(&pack.id) {
                self.checked.packs += 1;
            } else {
                let name = self.pack_name(pack.kind, pack.id);
                let cause = self.damage(FindingKind::Missing, name, "it is not there");
                self.suspect.insert(pack.id, cause);
            }
        }
        Ok(())
    }

    /// Parts of groups: which of them was committed, their names do not tell.
    pub(super) fn list_parts(&mut self) -> Result<(), RepositoryError> {
        let (mut parts, mut strays) = (Leftover::default(), Vec::new());
        self.repository.origin.list("parts/", &mut |name, info| {
            match names::part_of(&name) {
                Some(_) => parts.add(info.length_bytes),
                None => strays.push(name),
            }
            Ok(())
        })?;
        self.report_strays(&strays, "it is no part of a group");
        if parts.count > 0 {
            let detail = format!(
                "{} parts of groups ({} bytes), which `prune` deletes when they are as old as leftovers",
                parts.count, parts.bytes
            );
            self.findings.add(Severity::Info, FindingKind::Leftover, "parts/", detail);
        }
        Ok(())
    }

    pub(super) fn report_strays(&mut self, strays: &[ObjectName], detail: &str) {
        for stray in strays {
            self.suspicious(FindingKind::Stray, stray.as_str(), detail);
        }
    }

    pub(super) fn report_leftover(&mut self, folder: &str, what: &str, leftover: &Leftover) {
        if leftover.count > 0 {
            let detail = format!(
                "{} {what} ({} bytes) that no journal entry names: of runs that did not finish, or are under way",
                leftover.count, leftover.bytes
            );
            self.findings.add(Severity::Info, FindingKind::Leftover, folder, detail);
        }
    }

    pub(super) fn report_retired(&mut self, folder: &str, what: &str, retired: &Leftover) {
        if retired.count > 0 {
            let detail = format!(
                "{} {what} ({} bytes), which `prune` deletes when their grace has passed",
                retired.count, retired.bytes
            );
            self.findings.add(Severity::Info, FindingKind::Leftover, folder, detail);
        }
    }

    /// Reads and verifies the index, into `cache`.
    pub(super) fn index(&mut self, cache: &Cache) -> Result<(), RepositoryError> {
        let mut leftover = Leftover::default();
        let mut strays = Vec::new();
        self.repository.origin.list("index/", &mut |name, info| {
            match names::index_of(&name, info.length_bytes) {
                None => strays.push(name),
                Some(index) if !self.state.indexes.contains_key(&index.id) => leftover.add(info.length_bytes),
                Some(_) => {}
            }
            Ok(())
        })?;
        self.report_strays(&strays, "it is no index object");
        self.report_leftover("index/", "index objects", &leftover);
        let state = self.state.clone();
        cache.synchronize(&state, None, |index| self.index_object(index))?;
        self.undescribed(cache)
    }

    fn index_object(&mut self, index: &IndexRef) -> Result<Option<Vec<DescribedPack>>, RepositoryError> {
        let name = names::index_ref(index)?;
        let found = match self.fetch(&name, INDEX_LIMIT_BYTES)? {
            Err(found) => Err(found),
            Ok(bytes) if bytes.len() as u64 != index.length => {
                let detail = format!("it is {} bytes long, and was {}", bytes.len(), index.length);
                Err((FindingKind::WrongLength, detail))
            }
            Ok(bytes) if content_hash(&bytes).0 != index.id.0 => {
                Err((FindingKind::HashMismatch, "its bytes do not hash to its name".into()))
            }
            Ok(bytes) => self.repository.open_index(index, &name, &bytes).map_err(|error| classify(&error)),
        };
        let packs = match found {
            Ok(packs) => self.repository.with_verdicts(packs),
            Err((kind, detail)) => {
                let cause = self.damage(kind, name.as_str(), detail);
                self.index_causes.push(cause);
                return Ok(None);
            }
        };
        self.checked.index_objects += 1;
        for (_, entry, _) in packs.iter().filter(|(_, _, verified)| !verified) {
            let detail = format!("what it says of pack {} is signed by nobody the policy lists", entry.id);
            self.damage(FindingKind::SignatureInvalid, name.as_str(), detail);
        }
        Ok(Some(packs))
    }

    /// Packs that no index object describes: what they say of themselves is taken, as readers do.
    fn undescribed(&mut self, cache: &Cache) -> Result<(), RepositoryError> {
        let mut named = Vec::new();
        let mut count = 0_u64;
        let mut described = Vec::new();
        for pack in cache.undescribed(&self.state)? {
            self.go_on()?;
            let name = self.pack_name(pack.kind, pack.id);
            if named.len() < 8 {
                named.push(name.clone());
            }
            count += 1;
            if !self.may_be_read(&pack) {
                continue;
            }
            match self.repository.read_footer(&pack) {
                Ok((stored, entry)) => {
                    let verified = self.repository.footer_verifies(&entry);
                    described.push((stored, entry, verified));
                    if described.len() == ADDED_AT_ONCE {
                        cache.add(&self.state, None, std::mem::take(&mut described))?;
                    }
                    if !verified {
                        let detail = "its footer is signed by nobody the policy lists";
                        self.damage(FindingKind::SignatureInvalid, name, detail);
                    }
                }
                Err(RepositoryError::Store(error)) => {
                    let (kind, detail) = self.store_error(error)?;
                    self.damage(kind, name, detail);
                }
                Err(error) => {
                    let (kind, detail) = classify(&error);
                    self.damage(kind, name, detail);
                }
            }
        }
        cache.add(&self.state, None, described)?;
        if count > 0 {
            let detail = format!(
                "{count} packs that no index object describes: {}{}",
                named.join(", "),
                if named.len() as u64 == count { "" } else { ", ..." }
            );
            let cause = self.damage(FindingKind::NotIndexed, "index/", detail);
            self.index_causes.push(cause);
        }
        Ok(())
    }

    /// Whether a pack is there, or has parity that may give it back.
    pub(super) fn may_be_read(&self, pack: &PackRef) -> bool {
        self.present.contains(&pack.id) || self.parity.contains_key(&pack.id)
    }

    pub(super) fn list_keys(&mut self) -> Result<(), RepositoryError> {
        let (names, mut strays) = (&mut self.key_names, Vec::new());
        self.repository.origin.list("keys/", &mut |name, _| {
            match names::key_of(&name) {
                Some(key) => drop(names.insert(key)),
                None => strays.push(name),
            }
            Ok(())
        })?;
        self.report_strays(&strays, "it is no wrapped key");
        Ok(())
    }

    /// What is known to be bad of what the index describes: packs that are not there, frames whose key is not.
    pub(super) fn footers(&mut self, cache: &Cache) -> Result<(), RepositoryError> {
        let mut keys = BTreeMap::new();
        let packs: Vec<_> = self.state.packs.values().copied().collect();
        for pack in packs {
            self.go_on()?;
            let numbers = cache.numbers_of(pack.id)?;
            if numbers.len() > 1 {
                self.described_variously(cache, &pack, &numbers)?;
            }
            for number in numbers {
                if !self.may_be_read(&pack)
                    && let Some(cause) = self.suspect.get(&pack.id)
                {
                    self.bad.packs.insert(number, *cause);
                }
                self.depth_and_keys_of(cache, number, &mut keys)?;
            }
        }
        Ok(())
    }

    /// A pack that is described in several ways, of which at most one is true. What a verifier has attested is; when
    /// those who said otherwise may not sign any more, all is known that can be.
    fn described_variously(
        &mut self,
        cache: &Cache,
        pack: &PackRef,
        numbers: &[PackNumber],
    ) -> Result<(), RepositoryError> {
        let attested = self.state.attested.get(&pack.id).map(|by| by.description);
        let (mut is_told, mut liars) = (false, 0_u64);
        for number in numbers {
            let Some(entry) = cache.pack(*number)? else { continue };
            let footer = entry.footer.encode().map_err(RepositoryError::malformed("a pack's footer"))?;
            if attested == Some(description(&entry.header, &footer)) {
                is_told = true;
            } else if self.state.policy.signer(entry.footer.signer).is_some() {
                liars += 1;
            }
        }
        let (severity, more) = match (is_told, liars) {
            (true, 0) => {
                (Severity::Info, ": the one that a verifier attested; all others are by dropped signers")
            }
            _ => (Severity::Suspicious, ""),
        };
        let detail = format!("it is described in {} ways; at most one is true{more}", numbers.len());
        let name = self.pack_name(pack.kind, pack.id);
        self.findings.add(severity, FindingKind::Contradiction, name, detail);
        Ok(())
    }

    /// Frames whose key is not there cannot be read. `keys` remembers what was found of each.
    fn depth_and_keys_of(
        &mut self,
        cache: &Cache,
        number: PackNumber,
        keys: &mut BTreeMap<KeyId, Option<Cause>>,
    ) -> Result<(), RepositoryError> {
        // Metadata packs are under the metadata key, which is at hand.
        let Some(entry) = cache.pack(number)?.filter(|entry| entry.kind == ObjectKind::DataPack) else {
            return Ok(());
        };
        if let Some(depth) =
            entry.footer.frames.iter().map(|frame| frame.depth).max().filter(|depth| *depth > 0)
        {
            self.depths.insert(entry.id, depth);
        }
        for (frame, record) in (0_u32..).zip(&entry.footer.frames) {
            let Some(key) = entry.footer.keys.get(usize::from(record.key)) else { continue };
            let cause = match keys.get(&key.id) {
                Some(cause) => *cause,
                None => {
                    let cause = self.data_key(key)?;
                    keys.insert(key.id, cause);
                    cause
                }
            };
            if let Some(cause) = cause {
                self.bad.frames.insert(Location { pack: number, frame }, cause);
            }
        }
        Ok(())
    }

    fn data_key(&mut self, key: &KeyRef) -> Result<Option<Cause>, RepositoryError> {
        let vault = RecipientId(self.state.policy.vault.id.0);
        let name = key_name(key.id, vault)?;
        if !self.key_names.contains(&(key.id, vault)) {
            let detail = "frames are sealed under this key, and it is not there";
            return Ok(Some(self.damage(FindingKind::KeyMissing, name.as_str(), detail)));
        }
        if !self.options.keys {
            return Ok(None);
        }
        match self.repository.data_key(key) {
            Ok(_) => Ok(None),
            // This host has no right to it, or the service is away: that says nothing about the key.
            Err(RepositoryError::DataKey {
                source: KeysError::NoCredential { .. } | KeysError::WrongCredential { .. },
                ..
            }) => Ok(None),
            Err(RepositoryError::DataKey { source: KeysError::Kms(error), .. })
                if error.trouble != KmsTrouble::WrongBlob =>
            {
                Ok(None)
            }
            Err(RepositoryError::DataKey { source: KeysError::Store(error), .. }) => {
                let (kind, detail) = self.store_error(error)?;
                Ok(Some(self.damage(kind, name.as_str(), detail)))
            }
            Err(error) => {
                let detail = format!("frames are sealed under this key: {}", describe(&error));
                Ok(Some(self.damage(FindingKind::KeyDamaged, name.as_str(), detail)))
            }
        }
    }
}
