//! Moving from one recipient to another, without touching what is stored.

use std::collections::BTreeSet;

use strongroom_format::key_object::{KEY_LIMIT_BYTES, KeyObject};
use strongroom_format::registry::RecipientType;
use strongroom_format::{KeyId, RecipientId};
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo, rewrap_with_kms};

use super::taken;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::repository::Repository;

/// What a rewrap did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Keys that were wrapped for the new recipient.
    pub wrapped: usize,
    /// Keys that it had before.
    pub kept: usize,
}

impl Repository {
    /// Wraps for `to` every key that is wrapped for `from`, and names it in the policy with the same purposes. From
    /// one KMS key to another the service does it, and no key is seen here; else each is opened. Interrupted, it
    /// goes on where it was. `from` stays: see [`Repository::remove_recipient`].
    ///
    /// # Errors
    /// `NoSuchRecipient`; `Wrap`, `Unlock`, `NoSigner`, `Store`, `Interrupted`.
    pub fn rewrap(
        &mut self,
        from: RecipientId,
        to: &WrapTo,
        monitor: &dyn Monitor,
    ) -> Result<Rewrapped, RepositoryError> {
        self.root()?;
        let missing = || RepositoryError::NoSuchRecipient { recipient: from.to_hex() };
        if !self.state.policy.recipients.iter().any(|known| known.id == from) {
            return Err(missing());
        }
        let mut done = BTreeSet::new();
        let mut report = self.rewrap_once(from, to, &mut done, monitor)?;
        let (id, kind, public) = (to.recipient(), to.kind(), to.public());
        self.change_policy(|_, policy| {
            let mut new =
                policy.recipients.iter().find(|known| known.id == from).ok_or_else(missing)?.clone();
            (new.id, new.kind, new.public) = (id, kind, public.clone());
            match policy.recipients.iter_mut().find(|known| known.id == id) {
                Some(known) => known.purposes |= new.purposes,
                None => policy.recipients.push(new),
            }
            Ok(())
        })?;
        // Keys that other hosts made before they saw the new policy.
        let late = self.rewrap_once(from, to, &mut done, monitor)?;
        report.wrapped += late.wrapped;
        Ok(report)
    }

    fn rewrap_once(
        &self,
        from: RecipientId,
        to: &WrapTo,
        done: &mut BTreeSet<KeyId>,
        monitor: &dyn Monitor,
    ) -> Result<Rewrapped, RepositoryError> {
        let wraps = self.wraps()?;
        let has: BTreeSet<KeyId> =
            wraps.iter().filter(|(_, recipient)| *recipient == to.recipient()).map(|(key, _)| *key).collect();
        let of: Vec<KeyId> =
            wraps.iter().filter(|(_, recipient)| *recipient == from).map(|(key, _)| *key).collect();
        let mut report = Rewrapped::default();
        monitor.begin("wrapping keys", None);
        for key in of {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            if !done.insert(key) {
                continue;
            }
            if has.contains(&key) {
                self.verify_wrap(key, from, to.recipient())?;
                report.kept += 1;
                continue;
            }
            self.rewrap_key(key, from, to)?;
            report.wrapped += 1;
        }
        Ok(report)
    }

    /// That what is there wraps the same key, by whoever wrapped that or an admin.
    fn verify_wrap(&self, key: KeyId, from: RecipientId, to: RecipientId) -> Result<(), RepositoryError> {
        let (_, object) = self
            .keyring
            .unlocker()
            .read(key, from)
            .map_err(|source| RepositoryError::Unlock { what: "a wrapped key", source })?;
        let name = key_name(key, to)?;
        let stored = self.store.get(&name, KEY_LIMIT_BYTES)?;
        if self.is_wrap_of(&stored, &KeyObject { recipient: to, ..object }) {
            Ok(())
        } else {
            Err(taken(&name))
        }
    }

    fn rewrap_key(&self, key: KeyId, from: RecipientId, to: &WrapTo) -> Result<(), RepositoryError> {
        let unlocker = self.keyring.unlocker();
        let read = |source| RepositoryError::Unlock { what: "a wrapped key", source };
        let (_, object) = unlocker.read(key, from).map_err(read)?;
        let failed = |source| RepositoryError::Wrap { purpose: object.purpose, source };
        if let WrapTo::AwsKms { arn, kms } = to
            && object.wrap.recipient_type() == RecipientType::AwsKms
        {
            let wrapped = rewrap_with_kms(&object, self.config.repository, (arn, &**kms), self.signer()?)
                .map_err(failed)?;
            return self.put_wrap(&wrapped);
        }
        let secret = match unlocker.open(&object) {
            Some(opened) => opened.map_err(failed)?,
            // Its holder is elsewhere; the vault may open the same key.
            None => self.keyring.open_by_id(&self.state.policy, key, object.purpose).map_err(failed)?,
        };
        self.wrap_key(&NamedKey { id: key, purpose: object.purpose, secret }, to)
    }
}
