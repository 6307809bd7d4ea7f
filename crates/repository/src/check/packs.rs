//! Packs that are read whole: which, and what is said of what was found.

use std::cmp::Reverse;

use strongroom_format::PackId;
use strongroom_format::entry::{Attestation, PackRef};
use strongroom_format::registry::ObjectKind;
use strongroom_keys::random;

use super::parity::HEALS;
use super::reading::{Read, Reading};
use super::{Checker, FindingKind, Severity, sample};
use crate::cache::Cache;
use crate::error::RepositoryError;
use crate::reader::Reader;

/// Which packs to read, and how.
pub(super) struct Plan {
    pub(super) packs: Vec<PackRef>,
    /// Whether frames are opened; else only where the hash is not the name and parity does not heal it.
    pub(super) open: Vec<bool>,
}

impl Checker<'_> {
    pub(super) fn read_packs(&mut self, cache: &Cache, reader: &Reader<'_>) -> Result<(), RepositoryError> {
        let plan = self.plan()?;
        let total = plan.packs.iter().map(|pack| pack.length).sum();
        self.monitor.begin("reading packs", Some(total));
        let results = Reading::new(self, cache, reader, &plan).run()?;
        for (id, read) in results {
            self.checked.packs_frozen += u64::from(read.is_frozen);
            self.checked.packs_read += u64::from(!read.is_frozen && self.present.contains(&id));
            self.checked.bytes_read += read.bytes;
            self.report_pack(id, &read);
            if let (Some(problem), Some(pack)) = (read.parity, self.state.packs.get(&id).copied()) {
                self.report_parity(&pack, problem)?;
            }
            if let Some(description) = read.description {
                self.opened.push(Attestation { pack: id, description });
            }
        }
        Ok(())
    }

    fn plan(&self) -> Result<Plan, RepositoryError> {
        let share = self.options.share;
        let is_shared = |pack: &&PackRef| share.is_none_or(|share| share.has(&pack.id.0));
        let present =
            self.state.packs.values().filter(|pack| self.may_be_read(pack)).filter(is_shared).copied();
        let mut drawn: Vec<PackId> = Vec::new();
        if let Some(percent) = self.options.sample_percent {
            let mut candidates = Vec::new();
            for pack in present.clone() {
                let ticket = random::array(&*self.repository.random)
                    .map_err(|source| RepositoryError::Seal { what: "a sample", source })?;
                let attested = self.state.attested.get(&pack.id).map(|by| by.last);
                candidates.push(sample::Candidate { attested, ticket, id: pack.id });
            }
            drawn = sample::draw(candidates, percent);
        }
        // Deltas first: what they open of others need not be opened again.
        let mut present: Vec<_> = present.collect();
        present
            .sort_by_key(|pack| (Reverse(self.depths.get(&pack.id).copied().unwrap_or_default()), pack.id));
        let mut plan = Plan { packs: Vec::new(), open: Vec::new() };
        for pack in present {
            let open = if self.options.sample_percent.is_some() {
                drawn.binary_search(&pack.id).is_ok()
            } else {
                self.options.read_data
            };
            // One that is known to be damaged is always read: to know what of it can be saved.
            if open || self.options.packs || self.suspect.contains_key(&pack.id) {
                plan.packs.push(pack);
                plan.open.push(open);
            }
        }
        Ok(plan)
    }

    /// Says once how many there are: a store may have all of them frozen.
    pub(super) fn report_frozen(&mut self) {
        let frozen = self.checked.packs_frozen;
        if frozen > 0 {
            let detail = format!(
                "{frozen} packs are in cold storage, or build on some that are, and were not read; what `restore` thaws is read again"
            );
            self.findings.add(Severity::Info, FindingKind::Frozen, "packs/", detail);
        }
    }

    fn report_pack(&mut self, id: PackId, read: &Read) {
        let kind = self.state.packs.get(&id).map_or(ObjectKind::DataPack, |pack| pack.kind);
        let name = self.pack_name(kind, id);
        for number in &read.lies {
            let detail = "an index object describes it otherwise than it does itself";
            let cause = self.suspicious(FindingKind::Contradiction, name.clone(), detail);
            self.bad.packs.insert(*number, cause);
        }
        let mut cause = self.suspect.get(&id).copied();
        for (kind, detail) in &read.object {
            match cause {
                // Said already.
                Some(_) if *kind == FindingKind::Missing => {}
                Some(cause) => self.findings.extend(cause, detail),
                None => cause = Some(self.damage(*kind, name.clone(), detail.clone())),
            }
        }
        match (cause, read.heals) {
            (Some(cause), Some(true)) => {
                self.findings.extend(cause, HEALS);
                self.healed.insert(id);
            }
            (Some(cause), Some(false)) => self.findings.extend(cause, "its parity does not heal it"),
            _ => {}
        }
        let Some((_, why)) = read.frames.first() else {
            if let Some(cause) = cause.filter(|_| read.is_opened) {
                self.findings.extend(cause, "every frame in it opens");
            }
            return;
        };
        let numbers: Vec<String> =
            read.frames.iter().take(8).map(|(place, _)| place.frame.to_string()).collect();
        let detail = format!(
            "{} of its frames cannot be read ({}{}): {why}",
            read.frames.len(),
            numbers.join(", "),
            if numbers.len() == read.frames.len() { "" } else { ", ..." },
        );
        let cause = match cause {
            Some(cause) => {
                self.findings.extend(cause, &detail);
                cause
            }
            None => self.damage(FindingKind::FrameDamaged, name, detail),
        };
        self.bad.frames.extend(read.frames.iter().map(|(place, _)| (*place, cause)));
    }
}
