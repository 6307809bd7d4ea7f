//! Data keys that nobody can open any more: what is sealed under them is lost.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_format::KeyId;
use strongroom_format::key_object::KEY_LIMIT_BYTES;
use strongroom_store::StoreError;

use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;

impl Repository {
    /// Of these keys the ones of which no wrap is left that is what was stored; and why. Whether a wrap opens, only
    /// whoever it is for could tell.
    pub(super) fn lost_keys(
        &self,
        keys: &BTreeSet<KeyId>,
    ) -> Result<BTreeMap<KeyId, String>, RepositoryError> {
        let mut lost = BTreeMap::new();
        for key in keys {
            let mut wraps = Vec::new();
            self.origin.list(&format!("keys/{key}/"), &mut |name, _| {
                wraps.extend(names::key_of(&name).map(|(_, recipient)| (name, recipient)));
                Ok(())
            })?;
            let count = wraps.len();
            let mut is_there = false;
            for (name, recipient) in wraps {
                match self.origin.get(&name, KEY_LIMIT_BYTES) {
                    Ok(bytes) => {
                        is_there |= self.verified_wrap(&self.state, *key, recipient, &bytes).is_ok();
                    }
                    Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if !is_there {
                let why = match count {
                    0 => format!("data key {key} is wrapped for nobody any more"),
                    1 => format!("the only wrap of data key {key} is damaged"),
                    count => format!("all {count} wraps of data key {key} are damaged"),
                };
                lost.insert(*key, why);
            }
        }
        Ok(lost)
    }
}
