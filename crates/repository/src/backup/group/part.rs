//! Storing parts, and reading all of a group.

use std::collections::BTreeMap;

use strongroom_format::manifest::Manifest;
use strongroom_format::part::{COUNT_LIMIT, PART_LIMIT_BYTES, Part};
use strongroom_format::registry::ObjectKind;
use strongroom_format::{FormatError, Salt, body};
use strongroom_keys::random;
use strongroom_store::{ObjectName, StoreError};

use super::super::require_source;
use super::{GroupError, PartOf, of_group};
use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;

/// All parts of a group, verified.
#[derive(Debug)]
pub struct Group {
    pub(super) name: String,
    /// By their numbers, all that there are.
    pub(super) parts: Vec<StoredPart>,
}

/// A part, and what it says of itself.
#[derive(Debug)]
pub(super) struct StoredPart {
    pub(super) part: Part,
    pub(super) manifest: Manifest,
}

impl Group {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many parts it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// The engine that all parts are of.
    #[must_use]
    pub fn engine(&self) -> &str {
        self.parts.first().map_or("", |first| &first.manifest.engine)
    }

    /// What all parts are of.
    #[must_use]
    pub fn source(&self) -> &str {
        self.parts.first().map_or("", |first| &first.manifest.source)
    }
}

impl Repository {
    fn part_name(&self, of: &PartOf) -> Result<ObjectName, RepositoryError> {
        Ok(names::part(self.identity.group_tag(&of.group), of.number)?)
    }

    /// A part, if it is stored.
    ///
    /// # Errors
    /// `Damaged`, `NewerFormat`, `Inconsistent`; `NotItsSource`, `NoSigner` of one whose writer may not write it;
    /// `Group` for one of a group that has another number of parts.
    pub(super) fn stored_part(&self, of: &PartOf) -> Result<Option<StoredPart>, RepositoryError> {
        let name = self.part_name(of)?;
        let bytes = match self.origin.get(&name, PART_LIMIT_BYTES) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let opened = self
            .metadata
            .of_object(&bytes)
            .and_then(|metadata| metadata.open(ObjectKind::Part, name.as_str(), &bytes))
            .map_err(RepositoryError::damaged(&name))?;
        let id = opened.claimed_signer().map_err(RepositoryError::damaged(&name))?;
        let inconsistent = |reason: &str| RepositoryError::Inconsistent {
            object: name.to_string(),
            reason: reason.to_owned(),
        };
        let signer = self.state.policy.signer(id);
        let signer = signer.ok_or_else(|| inconsistent("signed by nobody the policy lists"))?;
        let content = opened.verify(&signer.public).map_err(RepositoryError::damaged(&name))?;
        let part = Part::decode(content).map_err(RepositoryError::malformed(&name))?;
        let manifest = Manifest::decode(&part.manifest).map_err(RepositoryError::malformed(&name))?;
        if (&part.group, part.number) != (&of.group, of.number) {
            return Err(inconsistent("it is another part than its name says"));
        }
        // Whoever commits it vouches for it.
        require_source(&self.state, id, &manifest.source)?;
        Ok(Some(StoredPart { part, manifest }))
    }

    /// Stores a part; says whether nobody had before.
    pub(super) fn store_part(&self, part: &Part) -> Result<bool, RepositoryError> {
        let of = PartOf { group: part.group.clone(), number: part.number, count: part.count };
        let name = self.part_name(&of)?;
        let unstorable = |source| RepositoryError::Unstorable { what: "a part of a group".into(), source };
        let content = part.encode().map_err(unstorable)?;
        if Part::decode(&content).as_ref() != Ok(part) {
            return Err(RepositoryError::Inconsistent {
                object: format!("{name}, before it was written,"),
                reason: "it does not decode to itself".into(),
            });
        }
        let seal = |source| RepositoryError::Seal { what: "a part of a group", source };
        let salt = Salt(random::array(&*self.random).map_err(seal)?);
        let bytes = self
            .metadata_key()?
            .seal(ObjectKind::Part, name.as_str(), body::OBJECT_FLOOR_BYTES, &content, self.signer()?, salt)
            .map_err(seal)?;
        let length = bytes.len() as u64;
        if length > PART_LIMIT_BYTES {
            return Err(unstorable(FormatError::Limit {
                what: "part",
                value: length,
                limit: PART_LIMIT_BYTES,
            }));
        }
        let put = self.store.put_if_absent(&name, &bytes)?;
        if put == strongroom_store::PutOutcome::Created {
            return Ok(true);
        }
        // One's own, after an answer that was lost; or that of another process that was started for the same part.
        Ok(self.origin.get(&name, PART_LIMIT_BYTES)? == bytes)
    }

    /// All parts of a group; `count` is how many there should be, where that is known.
    ///
    /// # Errors
    /// `Group` when some are missing, or are no parts of one snapshot; as for a part that cannot be read.
    pub fn group(&mut self, group: &str, count: Option<u32>) -> Result<Group, RepositoryError> {
        self.refresh()?;
        let wrong = of_group(group);
        let mut stored = BTreeMap::new();
        for number in self.part_numbers(group)? {
            let of = PartOf { group: group.to_owned(), number, count: 0 };
            if let Some(part) = self.stored_part(&of)? {
                stored.insert(number, part);
            }
        }
        let Some(first) = stored.values().next() else { return Err(wrong(GroupError::NoParts)) };
        for other in stored.values().skip(1) {
            agree(first, other).map_err(&wrong)?;
        }
        let found = first.part.count;
        if let Some(expected) = count.filter(|expected| *expected != found) {
            return Err(wrong(GroupError::Count { expected, found }));
        }
        let missing: Vec<u32> = (1..=found).filter(|number| !stored.contains_key(number)).collect();
        if !missing.is_empty() {
            return Err(wrong(GroupError::Incomplete { missing, count: found }));
        }
        Ok(Group { name: group.to_owned(), parts: stored.into_values().collect() })
    }

    fn part_numbers(&self, group: &str) -> Result<Vec<u32>, RepositoryError> {
        let tag = self.identity.group_tag(group);
        let mut numbers = Vec::new();
        self.origin.list(&format!("parts/{tag}/"), &mut |name, _| {
            numbers.extend(names::part_of(&name).map(|(_, number)| number).filter(|n| *n <= COUNT_LIMIT));
            Ok(())
        })?;
        Ok(numbers)
    }
}

/// Whether two parts may be of one snapshot.
fn agree(one: &StoredPart, other: &StoredPart) -> Result<(), GroupError> {
    let said = |stored: &StoredPart| {
        let manifest = &stored.manifest;
        let parent = manifest.parent.map_or("none".to_owned(), |parent| parent.to_string());
        [
            ("number of parts", stored.part.count.to_string()),
            ("source", format!("`{}`", manifest.source)),
            ("engine", manifest.engine.clone()),
            ("host", format!("`{}`", manifest.host)),
            ("parent snapshot", parent),
        ]
    };
    for ((what, expected), (_, found)) in said(one).into_iter().zip(said(other)) {
        if expected != found {
            let (number, other) = (other.part.number, one.part.number);
            return Err(GroupError::Disagreement { number, what, found, other, expected });
        }
    }
    Ok(())
}
