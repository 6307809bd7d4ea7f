//! Policies, one after the other: each is signed by the root key of the one before it.

use strongroom_format::FormatError;
use strongroom_format::entry::PolicyBody;
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::{Policy, Signer};
use strongroom_keys::sign::verify_policy;

use super::{State, VoidReason};
use crate::error::RepositoryError;

impl State {
    pub(super) fn apply_policy(
        &mut self,
        object: &str,
        number: u64,
        body: &PolicyBody,
    ) -> Result<Result<(), VoidReason>, RepositoryError> {
        if verify_policy(&self.policy.root, self.repository, &body.policy, &body.root_signature).is_err() {
            return Ok(Err(VoidReason::RootSignature));
        }
        let policy = match decode_policy(object, &body.policy) {
            Ok(policy) => policy,
            Err(RepositoryError::Damaged { .. }) => return Ok(Err(VoidReason::Malformed)),
            Err(error) => return Err(error),
        };
        if self.policy.sequence.checked_add(1) != Some(policy.sequence) {
            return Ok(Err(VoidReason::RootSignature));
        }
        if policy.identity != self.policy.identity {
            return Ok(Err(VoidReason::Identity));
        }
        if self.holds_any_of(&policy.forgotten) {
            return Ok(Err(VoidReason::Held));
        }
        self.policies.push((number, body.clone()));
        self.snapshots.retain(|snapshot| !policy.forgotten.contains(&snapshot.state.id));
        self.seen.extend(&policy.forgotten);
        // The root key's holder has looked at what does not open up to there.
        let (settled, open) =
            std::mem::take(&mut self.damaged).into_iter().partition(|(number, _)| *number <= policy.settled);
        self.damaged = open;
        self.undecided.clear();
        let settled: Vec<(u64, String)> = settled;
        self.has_settled_damage |= !settled.is_empty();
        settled.iter().for_each(|(number, _)| self.void(*number, VoidReason::DoesNotOpen));
        list(&mut self.ever_listed, &policy);
        put_in_force(&mut self.metadata_keys, policy.metadata);
        self.policy = policy;
        Ok(Ok(()))
    }
}

pub(super) fn put_in_force(metadata_keys: &mut Vec<KeyRef>, key: KeyRef) {
    metadata_keys.retain(|known| *known != key);
    metadata_keys.push(key);
}

pub(super) fn list(ever_listed: &mut Vec<Signer>, policy: &Policy) {
    for signer in &policy.signers {
        if !ever_listed.iter().any(|known| known.id == signer.id) {
            ever_listed.push(signer.clone());
        }
    }
}

pub(super) fn decode_policy(object: &str, bytes: &[u8]) -> Result<Policy, RepositoryError> {
    let policy = Policy::decode(bytes).map_err(|error| match error {
        FormatError::Unknown { .. } | FormatError::UnknownField { .. } => {
            RepositoryError::NewerFormat { object: object.to_owned(), source: error }
        }
        error => RepositoryError::malformed(object)(error),
    })?;
    match policy.unknown_feature() {
        Some(feature) => Err(RepositoryError::UnknownFeature { feature: feature.to_owned() }),
        None => Ok(policy),
    }
}
