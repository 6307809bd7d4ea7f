//! How writers store what they back up: whether as deltas, and against what; and with how much parity.

use strongroom_format::FormatError;
use strongroom_format::parity::PARITY_LIMIT_PERCENT;
use strongroom_format::policy::{BASE_KEYS_LIMIT, Policy};

use crate::error::RepositoryError;
use crate::repository::Repository;

/// What of the policy is to be set; what is `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StorageRules {
    /// Whether writers may store new chunks as what differs from an earlier snapshot.
    pub deltas: Option<bool>,
    /// The data keys of how many of its own last runs a host may keep that has no right to read: 0 (none) to 64.
    pub base_keys: Option<u8>,
    /// Recovery blocks that writers store for each pack, percent of its blocks: 0 (none) to 100.
    pub parity: Option<u8>,
}

impl StorageRules {
    fn put_into(self, policy: &mut Policy) {
        policy.deltas = self.deltas.unwrap_or(policy.deltas);
        policy.base_keys = self.base_keys.unwrap_or(policy.base_keys);
        policy.parity = self.parity.unwrap_or(policy.parity);
    }
}

impl Repository {
    /// Puts these rules in force for runs that begin from now on; what is stored stays as it is. Gives the entry of the
    /// policy, `None` where the one in force says so already.
    ///
    /// # Errors
    /// `Unstorable` for more than 64 runs or 100 percent; `NoSigner`, `Unlock` (the root key), `Store`, `Contention`.
    pub fn set_storage_rules(&mut self, rules: StorageRules) -> Result<Option<u64>, RepositoryError> {
        within("runs whose data keys are kept", rules.base_keys, BASE_KEYS_LIMIT)?;
        within("percentage of parity", rules.parity, PARITY_LIMIT_PERCENT)?;
        self.refresh()?;
        let mut changed = self.state.policy.clone();
        rules.put_into(&mut changed);
        if changed == self.state.policy {
            return Ok(None);
        }
        self.change_policy(|_, policy| {
            rules.put_into(policy);
            Ok(())
        })
        .map(Some)
    }
}

fn within(what: &'static str, value: Option<u8>, limit: u8) -> Result<(), RepositoryError> {
    match value.filter(|value| *value > limit) {
        None => Ok(()),
        Some(value) => Err(RepositoryError::Unstorable {
            what: "the policy".into(),
            source: FormatError::Limit { what, value: value.into(), limit: limit.into() },
        }),
    }
}
