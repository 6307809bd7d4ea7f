//! A key management service in memory, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use zeroize::Zeroizing;

use super::{EncryptionContext, Kms, KmsBlob, KmsError, KmsKeyName, KmsRetryPolicy, KmsTrouble};
use crate::Secret;
use crate::random::{self, Random};

const NONCE_LENGTH: usize = 12;

/// A fake of AWS KMS for tests: several keys, aliases, a real binding of each blob to its key and context, and
/// trouble to order. It keeps keys in plain memory and writes nothing down, so it is of no other use.
///
/// Handles made by [`MemoryKms::restricted`] share keys, troubles and the record of calls; each has rights of its own.
pub struct MemoryKms {
    shared: Arc<Shared>,
    denied: Mutex<Denied>,
}

type Denied = Box<dyn Fn(&str, Option<&EncryptionContext>) -> bool + Send + Sync>;

struct Shared {
    state: Mutex<State>,
    random: Box<dyn Random>,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<String, Key>,
    /// Alias with `alias/` → ARN of the key.
    aliases: BTreeMap<String, String>,
    throttled: u32,
    unreachable: bool,
    calls: Vec<KmsCall>,
}

struct Key {
    secret: Secret,
    trouble: Option<KmsTrouble>,
}

/// A call that reached the service, refused ones and throttled attempts included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsCall {
    /// `kms:Decrypt`, ...; a re-encryption is one call, `kms:ReEncrypt*`.
    pub action: &'static str,
    /// As it was asked for; of a re-encryption, the source.
    pub key: String,
    /// What it was about; a mere look at the key has none.
    pub context: Option<EncryptionContext>,
}

impl MemoryKms {
    /// A service without keys, whose handle may do anything.
    #[must_use]
    pub fn new(random: impl Random + 'static) -> Self {
        let shared = Shared { state: Mutex::default(), random: Box::new(random) };
        Self { shared: Arc::new(shared), denied: Mutex::new(Box::new(|_, _| false)) }
    }

    /// Adds a key, unless it is there.
    ///
    /// # Errors
    /// `Name` when `arn` is no ARN of a key; `Setup` without randomness.
    pub fn add_key(&self, arn: &str) -> Result<(), KmsTrouble> {
        if !KmsKeyName::parse(arn)?.is_key_arn() {
            return Err(KmsTrouble::Setup { reason: format!("{arn} is no ARN of a key") });
        }
        let secret = Secret::new(self.random()?);
        self.state().keys.entry(arn.to_owned()).or_insert(Key { secret, trouble: None });
        Ok(())
    }

    /// Lets `alias` (`alias/NAME`) point to the key with that ARN, wherever it pointed before.
    pub fn set_alias(&self, alias: &str, arn: &str) {
        self.state().aliases.insert(alias.to_owned(), arn.to_owned());
    }

    /// Another caller of the same service; `denied` says which actions (`kms:Decrypt`, `kms:ReEncryptTo`, ...) on
    /// which contexts it is refused (`kms:DescribeKey` has none).
    #[must_use]
    pub fn restricted(
        &self,
        denied: impl Fn(&str, Option<&EncryptionContext>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { shared: Arc::clone(&self.shared), denied: Mutex::new(Box::new(denied)) }
    }

    /// Changes what this handle is refused.
    pub fn deny(&self, denied: impl Fn(&str, Option<&EncryptionContext>) -> bool + Send + Sync + 'static) {
        *self.denied.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(denied);
    }

    /// What every call with the key with that ARN fails with, such as [`KmsTrouble::Disabled`] or
    /// [`KmsTrouble::PendingDeletion`]; `None` ends it.
    pub fn set_trouble(&self, arn: &str, trouble: Option<KmsTrouble>) {
        if let Some(key) = self.state().keys.get_mut(arn) {
            key.trouble = trouble;
        }
    }

    /// Throttles the next attempts. Like the real service's client, a call makes as many as the default
    /// [`KmsRetryPolicy`] allows, without waiting between them.
    pub fn throttle(&self, attempts: u32) {
        self.state().throttled = attempts;
    }

    /// Whether nobody answers.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.state().unreachable = unreachable;
    }

    /// All calls so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<KmsCall> {
        self.state().calls.clone()
    }

    /// How many calls there were, of all handles together.
    #[must_use]
    pub fn call_count(&self) -> usize {
        self.state().calls.len()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], KmsTrouble> {
        random::array(self.shared.random.as_ref())
            .map_err(|error| KmsTrouble::Setup { reason: error.to_string() })
    }

    /// Lets one call arrive, or not.
    fn arrive(
        &self,
        action: &'static str,
        key: &str,
        context: Option<&EncryptionContext>,
    ) -> Result<(), KmsTrouble> {
        let mut state = self.state();
        if state.unreachable {
            return Err(KmsTrouble::Unreachable {
                endpoint: "memory".to_owned(),
                reason: "nobody answers".to_owned(),
            });
        }
        let most = KmsRetryPolicy::default().busy_attempts;
        for _ in 0..most {
            state.calls.push(KmsCall { action, key: key.to_owned(), context: context.copied() });
            if state.throttled == 0 {
                return Ok(());
            }
            state.throttled -= 1;
        }
        Err(KmsTrouble::Throttled { attempts: most })
    }

    /// A key this handle may use for that: its ARN and its secret.
    fn key(
        &self,
        action: &str,
        name: &str,
        context: Option<&EncryptionContext>,
    ) -> Result<(String, Secret), KmsTrouble> {
        let name = KmsKeyName::parse(name)?;
        if (self.denied.lock().unwrap_or_else(PoisonError::into_inner))(action, context) {
            return Err(KmsTrouble::AccessDenied);
        }
        let state = self.state();
        let (arn, key) = state
            .find(&name)
            .ok_or_else(|| KmsTrouble::NoSuchKey { region: name.region().unwrap_or("memory").to_owned() })?;
        match &key.trouble {
            Some(trouble) => Err(trouble.clone()),
            None => Ok((arn.clone(), key.secret.clone())),
        }
    }

    fn seal(
        &self,
        key: &(String, Secret),
        context: &EncryptionContext,
        secret: &Secret,
    ) -> Result<KmsBlob, KmsTrouble> {
        let (arn, wrapping) = key;
        let nonce: [u8; NONCE_LENGTH] = self.random()?;
        let aad = bound(arn, context);
        let sealed = ChaCha20Poly1305::new(wrapping.expose().into())
            .encrypt(&Nonce::from(nonce), Payload { msg: secret.expose(), aad: &aad })
            .map_err(|_| KmsTrouble::Malformed)?;
        Ok(KmsBlob { arn: arn.clone(), blob: [&nonce[..], &sealed].concat() })
    }
}

impl State {
    fn find(&self, name: &KmsKeyName) -> Option<(&String, &Key)> {
        let text = name.as_str();
        if name.is_key_arn() {
            return self.keys.get_key_value(text);
        }
        let alias = text.find("alias/").and_then(|at| text.get(at..));
        match alias.map(|alias| self.aliases.get(alias)) {
            Some(arn) => self.keys.get_key_value(arn?),
            None => self.keys.iter().find(|(arn, _)| name.may_mean(arn)),
        }
    }
}

/// What a blob is bound to: the key and the context's pairs, each with its length before it.
fn bound(arn: &str, context: &EncryptionContext) -> Vec<u8> {
    let pairs = context.pairs();
    let parts = pairs.iter().flat_map(|(name, value)| [*name, value.as_str()]);
    let mut out = Vec::new();
    for part in std::iter::once(arn).chain(parts) {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out
}

fn open(key: &(String, Secret), context: &EncryptionContext, blob: &[u8]) -> Result<Secret, KmsTrouble> {
    let (arn, wrapping) = key;
    let (nonce, sealed) = blob.split_first_chunk::<NONCE_LENGTH>().ok_or(KmsTrouble::WrongBlob)?;
    let aad = bound(arn, context);
    let plain = ChaCha20Poly1305::new(wrapping.expose().into())
        .decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: &aad })
        .map(Zeroizing::new)
        .map_err(|_| KmsTrouble::WrongBlob)?;
    Ok(Secret::new(plain.as_slice().try_into().map_err(|_| KmsTrouble::Malformed)?))
}

/// Puts a trouble beside what it is about.
fn about<'a>(
    action: &'static str,
    key: &'a str,
    context: Option<&EncryptionContext>,
) -> impl Fn(KmsTrouble) -> KmsError + 'a {
    let purpose = context.map(|context| context.purpose);
    move |trouble| KmsError { action, key: key.to_owned(), purpose, trouble }
}

impl Kms for MemoryKms {
    fn resolve(&self, key: &str) -> Result<String, KmsError> {
        const ACTION: &str = "kms:DescribeKey";
        let resolve = || {
            if KmsKeyName::parse(key)?.is_key_arn() {
                return Ok(key.to_owned());
            }
            self.arrive(ACTION, key, None)?;
            Ok(self.key(ACTION, key, None)?.0)
        };
        resolve().map_err(about(ACTION, key, None))
    }

    fn generate(&self, key: &str, context: &EncryptionContext) -> Result<(Secret, KmsBlob), KmsError> {
        const ACTION: &str = "kms:GenerateDataKey";
        let generate = || {
            self.arrive(ACTION, key, Some(context))?;
            let key = self.key(ACTION, key, Some(context))?;
            let secret = Secret::new(self.random()?);
            let blob = self.seal(&key, context, &secret)?;
            Ok((secret, blob))
        };
        generate().map_err(about(ACTION, key, Some(context)))
    }

    fn encrypt(&self, key: &str, context: &EncryptionContext, secret: &Secret) -> Result<KmsBlob, KmsError> {
        const ACTION: &str = "kms:Encrypt";
        let encrypt = || {
            self.arrive(ACTION, key, Some(context))?;
            self.seal(&self.key(ACTION, key, Some(context))?, context, secret)
        };
        encrypt().map_err(about(ACTION, key, Some(context)))
    }

    fn decrypt(&self, blob: &KmsBlob, context: &EncryptionContext) -> Result<Secret, KmsError> {
        const ACTION: &str = "kms:Decrypt";
        let decrypt = || {
            self.arrive(ACTION, &blob.arn, Some(context))?;
            open(&self.key(ACTION, &blob.arn, Some(context))?, context, &blob.blob)
        };
        decrypt().map_err(about(ACTION, &blob.arn, Some(context)))
    }

    /// Never by `Decrypt` and `Encrypt`: an alias or ID alone has no region here.
    fn re_encrypt(
        &self,
        blob: &KmsBlob,
        context: &EncryptionContext,
        destination: &str,
    ) -> Result<KmsBlob, KmsError> {
        const FROM: &str = "kms:ReEncryptFrom";
        const TO: &str = "kms:ReEncryptTo";
        let from = || {
            self.arrive("kms:ReEncrypt*", &blob.arn, Some(context))?;
            open(&self.key(FROM, &blob.arn, Some(context))?, context, &blob.blob)
        };
        let secret = from().map_err(about(FROM, &blob.arn, Some(context)))?;
        let to = || self.seal(&self.key(TO, destination, Some(context))?, context, &secret);
        to().map_err(about(TO, destination, Some(context)))
    }
}

#[cfg(test)]
mod tests {
    use strongroom_format::registry::Purpose;
    use strongroom_format::{KeyId, RepositoryId, WriterId};

    use super::*;
    use crate::random::SeededRandom;

    const ONE: &str = "arn:aws:kms:eu-central-1:111122223333:key/11111111-1111-1111-1111-111111111111";
    const TWO: &str = "arn:aws:kms:us-east-1:111122223333:key/22222222-2222-2222-2222-222222222222";

    fn context() -> EncryptionContext {
        EncryptionContext {
            repository: RepositoryId([1; 16]),
            purpose: Purpose::Vault,
            key: KeyId([2; 16]),
            writer: WriterId([3; 16]),
        }
    }

    fn kms() -> MemoryKms {
        let kms = MemoryKms::new(SeededRandom::new(b"kms"));
        kms.add_key(ONE).unwrap();
        kms.add_key(TWO).unwrap();
        kms.set_alias("alias/backup", ONE);
        kms
    }

    #[test]
    fn blobs_open_with_their_key_and_context_only() {
        let kms = kms();
        let (secret, blob) = kms.generate(ONE, &context()).unwrap();
        assert_eq!(kms.decrypt(&blob, &context()).unwrap(), secret);
        let given = Secret::new([9; 32]);
        let wrapped = kms.encrypt(TWO, &context(), &given).unwrap();
        assert_eq!(wrapped.arn, TWO);
        assert_eq!(kms.decrypt(&wrapped, &context()).unwrap(), given);

        let others = [
            EncryptionContext { repository: RepositoryId([9; 16]), ..context() },
            EncryptionContext { purpose: Purpose::Data, ..context() },
            EncryptionContext { key: KeyId([9; 16]), ..context() },
            EncryptionContext { writer: WriterId([9; 16]), ..context() },
        ];
        for other in others {
            assert_eq!(kms.decrypt(&blob, &other).unwrap_err().trouble, KmsTrouble::WrongBlob);
        }
        let elsewhere = KmsBlob { arn: TWO.to_owned(), ..blob.clone() };
        assert_eq!(kms.decrypt(&elsewhere, &context()).unwrap_err().trouble, KmsTrouble::WrongBlob);
        for at in 0..blob.blob.len() {
            let mut changed = blob.clone();
            changed.blob[at] ^= 1;
            assert_eq!(kms.decrypt(&changed, &context()).unwrap_err().trouble, KmsTrouble::WrongBlob);
        }
    }

    #[test]
    fn aliases_and_ids_are_resolved_when_wrapping() {
        let kms = kms();
        let names = [
            "alias/backup",
            "arn:aws:kms:eu-central-1:111122223333:alias/backup",
            "11111111-1111-1111-1111-111111111111",
        ];
        for name in names {
            assert_eq!(kms.generate(name, &context()).unwrap().1.arn, ONE, "{name}");
            assert_eq!(kms.resolve(name).unwrap(), ONE, "{name}");
        }
        kms.set_alias("alias/backup", TWO);
        assert_eq!(kms.generate("alias/backup", &context()).unwrap().1.arn, TWO);
        let error = kms.generate("alias/none", &context()).unwrap_err();
        assert_eq!(error.trouble, KmsTrouble::NoSuchKey { region: "memory".to_owned() });
        assert!(matches!(kms.generate("none", &context()).unwrap_err().trouble, KmsTrouble::Name(_)));
        assert!(matches!(kms.add_key("alias/x"), Err(KmsTrouble::Setup { .. })));
    }

    #[test]
    fn re_encryption() {
        let kms = kms();
        let (secret, blob) = kms.generate(ONE, &context()).unwrap();
        let moved = kms.re_encrypt(&blob, &context(), TWO).unwrap();
        assert_eq!(moved.arn, TWO);
        assert_eq!(kms.decrypt(&moved, &context()).unwrap(), secret);
        let to = kms.restricted(|action, _| action == "kms:ReEncryptTo");
        let error = to.re_encrypt(&blob, &context(), TWO).unwrap_err();
        assert_eq!((error.action, error.key.as_str()), ("kms:ReEncryptTo", TWO));
        assert!(error.is_denied());
    }

    #[test]
    fn rights_are_each_handles_own() {
        let kms = kms();
        let writer = kms.restricted(|action, context| {
            action == "kms:Decrypt" && context.is_some_and(|context| context.purpose == Purpose::Vault)
        });
        let (secret, blob) = writer.generate(ONE, &context()).unwrap();
        let error = writer.decrypt(&blob, &context()).unwrap_err();
        assert!(error.is_denied());
        assert_eq!(
            (error.action, error.key.as_str(), error.purpose),
            ("kms:Decrypt", ONE, Some(Purpose::Vault))
        );
        assert_eq!(kms.decrypt(&blob, &context()).unwrap(), secret);
        writer.deny(|_, _| false);
        assert_eq!(writer.decrypt(&blob, &context()).unwrap(), secret);
        kms.deny(|_, _| true);
        assert!(kms.decrypt(&blob, &context()).unwrap_err().is_denied());
    }

    #[test]
    fn troubles_come_and_go() {
        let kms = kms();
        let (secret, blob) = kms.generate(ONE, &context()).unwrap();
        for trouble in [KmsTrouble::Disabled, KmsTrouble::PendingDeletion] {
            kms.set_trouble(ONE, Some(trouble.clone()));
            assert_eq!(kms.decrypt(&blob, &context()).unwrap_err().trouble, trouble);
        }
        kms.set_trouble(ONE, None);
        kms.set_unreachable(true);
        let trouble = kms.decrypt(&blob, &context()).unwrap_err().trouble;
        assert!(matches!(trouble, KmsTrouble::Unreachable { .. }));
        kms.set_unreachable(false);

        kms.forget_calls();
        kms.throttle(3);
        assert_eq!(kms.decrypt(&blob, &context()).unwrap(), secret);
        let call = KmsCall { action: "kms:Decrypt", key: ONE.to_owned(), context: Some(context()) };
        assert_eq!(kms.calls(), vec![call; 4]);
        kms.throttle(20);
        let trouble = kms.decrypt(&blob, &context()).unwrap_err().trouble;
        assert_eq!(trouble, KmsTrouble::Throttled { attempts: 8 });
        assert_eq!(kms.call_count(), 12);
    }
}
