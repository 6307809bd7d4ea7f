//! Parity: is there some for each pack that is to have it, is it what it should be, and does it heal what is damaged?

use strongroom_format::entry::PackRef;
use strongroom_format::parity::{PARITY_LIMIT_BYTES, ParityHeader};
use strongroom_format::policy::Policy;

use super::objects::Leftover;
use super::{Checker, FindingKind, Severity};
use crate::error::RepositoryError;
use crate::names;
use crate::parity::is_parity_of;
use crate::reader::Reader;

/// What is said of a damaged pack that nothing is lost of.
pub(super) const HEALS: &str =
    "its parity heals it: it can be read, and `strongroom repair packs` writes it anew";

const FOLDER: &str = "parity/";
/// Packs that are named; more are counted.
const PACKS_NAMED: usize = 8;

impl Checker<'_> {
    /// Which packs have parity. One that was not listed heals nothing.
    pub(super) fn list_parity(&mut self) -> Result<(), RepositoryError> {
        let (mut strays, mut lengths) = (Vec::new(), Vec::new());
        let (mut leftover, mut retired) = (Leftover::default(), Leftover::default());
        let (state, parity) = (&self.state, &mut self.parity);
        self.repository.origin.list(FOLDER, &mut |name, info| {
            match names::parity_of(&name) {
                None => strays.push(name),
                Some(id) => match state.packs.get(&id) {
                    None if state.retired.contains_key(&id) => retired.add(info.length_bytes),
                    None => leftover.add(info.length_bytes),
                    Some(pack) => {
                        parity.insert(id, None);
                        let length = info.length_bytes;
                        if ParityHeader::of_length(pack.kind, id, pack.length, length).is_none() {
                            lengths.push((id, name, length));
                        }
                    }
                },
            }
            Ok(())
        })?;
        self.checked.parity = self.parity.len() as u64;
        self.report_strays(&strays, "it is no parity of a pack");
        self.report_leftover(FOLDER, "parity objects of packs", &leftover);
        self.report_retired(FOLDER, "parity objects of retired packs", &retired);
        for (id, name, length) in lengths {
            let detail = format!("it is {length} bytes long, and no parity of its pack is");
            let cause = self.suspicious(FindingKind::WrongLength, name.as_str(), detail);
            self.parity.insert(id, Some(cause));
        }
        self.report_without_parity();
        Ok(())
    }

    /// Packs are named once their parity is stored, so those that have none were there before it was asked for. If it
    /// always was, it was deleted.
    fn report_without_parity(&mut self) {
        if self.state.policy.parity == 0 {
            return;
        }
        let asks = |policy: &[u8]| Policy::decode(policy).is_ok_and(|policy| policy.parity > 0);
        let always = self.state.policies.iter().all(|(_, body)| asks(&body.policy));
        let packs: Vec<&PackRef> =
            self.state.packs.values().filter(|pack| !self.parity.contains_key(&pack.id)).collect();
        if packs.is_empty() {
            return;
        }
        let named: Vec<String> =
            packs.iter().take(PACKS_NAMED).map(|pack| self.pack_name(pack.kind, pack.id)).collect();
        let (severity, why) = match always {
            true => (Severity::Suspicious, "though the policy has always asked for it"),
            false => (Severity::Info, "because they were stored before the policy asked for it, or lost it"),
        };
        let detail = format!(
            "{} packs have no parity, {why}: {}{}",
            packs.len(),
            named.join(", "),
            if named.len() == packs.len() { "" } else { ", ..." }
        );
        self.findings.add(severity, FindingKind::Missing, FOLDER, detail);
    }

    /// A damaged or missing pack as it was, if it has parity that heals it.
    pub(super) fn heal(&self, pack: &PackRef) -> Result<Option<Vec<u8>>, RepositoryError> {
        if !self.parity.contains_key(&pack.id) {
            return Ok(None);
        }
        match self.repository.heal_pack(pack) {
            Err(RepositoryError::Store(error)) => self.store_answers(error).map(|_| None),
            other => other,
        }
    }

    /// What is wrong with the parity of a pack, whose bytes are sound.
    pub(super) fn compare_parity(
        &self,
        pack: &PackRef,
        bytes: &[u8],
    ) -> Result<Option<(FindingKind, String)>, RepositoryError> {
        if !self.parity.contains_key(&pack.id) {
            return Ok(None);
        }
        match self.fetch(&names::parity(pack.id)?, PARITY_LIMIT_BYTES)? {
            Ok(parity) if is_parity_of(&parity, pack, bytes)? => Ok(None),
            Ok(_) => {
                let detail = "it is not what the pack gives, and heals less than it should, or nothing";
                Ok(Some((FindingKind::HashMismatch, detail.into())))
            }
            Err((FindingKind::Frozen, _)) => Ok(None),
            Err(problem) => Ok(Some(problem)),
        }
    }

    pub(super) fn report_parity(
        &mut self,
        pack: &PackRef,
        (kind, detail): (FindingKind, String),
    ) -> Result<(), RepositoryError> {
        match self.parity.get(&pack.id) {
            Some(Some(cause)) => self.findings.extend(*cause, &detail),
            _ => drop(self.suspicious(kind, names::parity(pack.id)?.as_str(), detail)),
        }
        Ok(())
    }

    /// Packs that were not looked at themselves, and turned out to be damaged when others needed something of them.
    pub(super) fn report_healed(&mut self, reader: &Reader<'_>) {
        for id in reader.healed() {
            let Some(pack) = self.state.packs.get(&id).copied() else { continue };
            if !self.healed.contains(&id) {
                let name = self.pack_name(pack.kind, id);
                let detail = format!("some of its frames are not what they were; {HEALS}");
                self.damage(FindingKind::FrameDamaged, name, detail);
            }
        }
    }
}
