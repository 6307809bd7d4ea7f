//! Whether writers store deltas, and against what.

use strongroom_format::FormatError;
use strongroom_format::policy::BASE_KEYS_LIMIT;

use crate::error::RepositoryError;
use crate::repository::Repository;

/// What of the policy is to be set; what is `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeltaRules {
    /// Whether writers may store new chunks as what differs from an earlier snapshot.
    pub deltas: Option<bool>,
    /// The data keys of how many of its own last runs a host may keep that has no right to read: 0 (none) to 64.
    pub base_keys: Option<u8>,
}

impl Repository {
    /// Puts these rules in force for runs that begin from now on; what is stored stays as it is. Gives the entry of the
    /// policy, `None` where the one in force says so already.
    ///
    /// # Errors
    /// `Unstorable` for more than 64 runs; `NoSigner`, `Unlock` (the root key), `Store`, `Contention`.
    pub fn set_delta_rules(&mut self, rules: DeltaRules) -> Result<Option<u64>, RepositoryError> {
        if let Some(runs) = rules.base_keys.filter(|runs| *runs > BASE_KEYS_LIMIT) {
            return Err(RepositoryError::Unstorable {
                what: "the policy".into(),
                source: FormatError::Limit {
                    what: "runs whose data keys are kept",
                    value: runs.into(),
                    limit: BASE_KEYS_LIMIT.into(),
                },
            });
        }
        self.refresh()?;
        let policy = &self.state.policy;
        let (deltas, base_keys) =
            (rules.deltas.unwrap_or(policy.deltas), rules.base_keys.unwrap_or(policy.base_keys));
        if (deltas, base_keys) == (policy.deltas, policy.base_keys) {
            return Ok(None);
        }
        self.change_policy(|_, policy| {
            policy.deltas = rules.deltas.unwrap_or(policy.deltas);
            policy.base_keys = rules.base_keys.unwrap_or(policy.base_keys);
            Ok(())
        })
        .map(Some)
    }
}
