//! The key management service of AWS.

mod failure;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{Builder, Credentials, Region};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyState, KeyUsageType};
use strongroom_store::aws::{AwsOptions, block_on, endpoint, load_config};
use zeroize::Zeroizing;

use super::retry::{Failure, Retry};
use super::{
    EncryptionContext, KMS_BLOB_MAX_BYTES, Kms, KmsBlob, KmsError, KmsKeyName, KmsRetryPolicy, KmsTrouble,
};
use crate::Secret;

/// A call moves a few hundred bytes; one that takes longer than this is lost.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const SECRET_BYTES: i32 = 32;

const DESCRIBE: &str = "kms:DescribeKey";
const GENERATE: &str = "kms:GenerateDataKey";
const ENCRYPT: &str = "kms:Encrypt";
const DECRYPT: &str = "kms:Decrypt";
const RE_ENCRYPT: &str = "kms:ReEncrypt*";
const RE_ENCRYPT_FROM: &str = "kms:ReEncryptFrom";
const RE_ENCRYPT_TO: &str = "kms:ReEncryptTo";

/// How to reach the service; what is not set comes from the environment, the profile, or the machine.
#[derive(Debug, Clone, Default)]
pub struct AwsKmsOptions {
    /// Region (of aliases and key IDs; an ARN names its own), endpoint (of all regions), authorities, profile.
    pub aws: AwsOptions,
    /// Credentials to use in place of AWS's usual chain.
    pub credentials: Option<StaticCredentials>,
    /// How long to try.
    pub retry: KmsRetryPolicy,
}

/// Credentials that do not change.
#[derive(Clone)]
pub struct StaticCredentials {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Zeroizing<String>,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticCredentials({}, ..)", self.access_key_id)
    }
}

/// AWS KMS. Nothing is asked of the service, the configuration or the machine before the first call.
///
/// Keys that pass through are zeroized here; the copies that the SDK makes for its requests, and the answers in the
/// buffers of HTTP and TLS, are not within reach.
pub struct AwsKms {
    options: AwsKmsOptions,
    retry: Retry,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    config: Option<SdkConfig>,
    by_region: BTreeMap<String, Regional>,
}

/// The service in one region.
#[derive(Clone)]
struct Regional {
    client: Client,
    place: Place,
}

/// Where a call went, for messages.
#[derive(Clone)]
struct Place {
    region: String,
    endpoint: String,
}

impl AwsKms {
    /// Reaches the service as `options` say.
    #[must_use]
    pub fn new(options: AwsKmsOptions) -> Self {
        let retry = Retry::new(options.retry);
        Self { options, retry, clients: Mutex::default() }
    }

    /// The client of a region, or of the default one.
    fn regional(&self, region: Option<&str>) -> Result<Regional, KmsTrouble> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Clients { config, by_region } = &mut *clients;
        let config = match config {
            Some(config) => config,
            None => config.insert(load_config(&self.options.aws).map_err(|error| failure::setup(&error))?),
        };
        let region = match (region, config.region()) {
            (Some(region), _) => region,
            (None, Some(region)) => region.as_ref(),
            (None, None) => return Err(KmsTrouble::NoRegion),
        };
        if let Some(regional) = by_region.get(region) {
            return Ok(regional.clone());
        }
        let regional = self.connect(config, region);
        by_region.insert(region.to_owned(), regional.clone());
        Ok(regional)
    }

    fn connect(&self, config: &SdkConfig, region: &str) -> Regional {
        let timeouts = config.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let mut builder = Builder::from(config)
            .region(Region::new(region.to_owned()))
            .timeout_config(timeouts.operation_attempt_timeout(ATTEMPT_TIMEOUT).build());
        if let Some(StaticCredentials { access_key_id, secret_access_key, session_token }) =
            &self.options.credentials
        {
            let token = session_token.as_ref().map(|token| token.to_string());
            let (id, secret) = (access_key_id.as_str(), secret_access_key.as_str());
            builder = builder.credentials_provider(Credentials::new(id, secret, token, None, "options"));
        }
        let endpoint = endpoint(config, "KMS").unwrap_or_else(|| public_endpoint(config, region));
        let place = Place { region: region.to_owned(), endpoint };
        Regional { client: Client::from_conf(builder.build()), place }
    }

    /// Asks until there is an answer, or reason to give up.
    fn call<T, E, F>(&self, regional: &Regional, attempt: impl Fn(&Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        self.retry.run(|| match block_on(attempt(&regional.client)) {
            Ok(answer) => answer.map_err(|error| failure::of(&error, &regional.place)),
            Err(error) => Err(failure::setup(&error).into()),
        })
    }

    fn describe(&self, name: &KmsKeyName) -> Result<String, Failure> {
        let regional = self.regional(name.region())?;
        let answer = self.call(&regional, |client| client.describe_key().key_id(name.as_str()).send())?;
        let key = answer.key_metadata.ok_or(KmsTrouble::Malformed)?;
        if let Some(trouble) = unfit(&key) {
            return Err(trouble.into());
        }
        Ok(answered(name, key.arn)?)
    }

    fn generate_in(&self, key: &str, context: &EncryptionContext) -> Result<(Secret, KmsBlob), Failure> {
        let name = KmsKeyName::parse(key).map_err(KmsTrouble::from)?;
        let regional = self.regional(name.region())?;
        let answer = self.call(&regional, |client| {
            let call = client.generate_data_key().key_id(key).number_of_bytes(SECRET_BYTES);
            call.set_encryption_context(pairs(context)).send()
        })?;
        let secret = secret(answer.plaintext)?;
        Ok((secret, wrapped(&name, answer.key_id, answer.ciphertext_blob)?))
    }

    fn encrypt_in(
        &self,
        key: &str,
        context: &EncryptionContext,
        secret: &Secret,
    ) -> Result<KmsBlob, Failure> {
        let name = KmsKeyName::parse(key).map_err(KmsTrouble::from)?;
        let regional = self.regional(name.region())?;
        let answer = self.call(&regional, |client| {
            let call = client.encrypt().key_id(key).plaintext(Blob::new(secret.expose().as_slice()));
            call.set_encryption_context(pairs(context)).send()
        })?;
        Ok(wrapped(&name, answer.key_id, answer.ciphertext_blob)?)
    }

    fn decrypt_in(&self, blob: &KmsBlob, context: &EncryptionContext) -> Result<Secret, Failure> {
        let name = wrapping_key(blob)?;
        let regional = self.regional(name.region())?;
        let answer = self.call(&regional, |client| {
            let call = client.decrypt().key_id(&blob.arn).ciphertext_blob(Blob::new(blob.blob.as_slice()));
            call.set_encryption_context(pairs(context)).send()
        })?;
        let secret = secret(answer.plaintext);
        answered(&name, answer.key_id)?;
        Ok(secret?)
    }

    fn re_encrypt_in(
        &self,
        regional: &Regional,
        (source, destination): (&KmsKeyName, &KmsKeyName),
        blob: &KmsBlob,
        context: &EncryptionContext,
    ) -> Result<KmsBlob, Failure> {
        let answer = self.call(regional, |client| {
            client
                .re_encrypt()
                .source_key_id(source.as_str())
                .ciphertext_blob(Blob::new(blob.blob.as_slice()))
                .set_source_encryption_context(pairs(context))
                .destination_key_id(destination.as_str())
                .set_destination_encryption_context(pairs(context))
                .send()
        })?;
        answered(source, answer.source_key_id)?;
        Ok(wrapped(destination, answer.key_id, answer.ciphertext_blob)?)
    }
}

impl Kms for AwsKms {
    /// As the trait says; a key that is disabled, pending deletion, or not for symmetric encryption is refused.
    fn resolve(&self, key: &str) -> Result<String, KmsError> {
        let resolve = || {
            let name = KmsKeyName::parse(key).map_err(KmsTrouble::from)?;
            if name.is_key_arn() { Ok(name.as_str().to_owned()) } else { self.describe(&name) }
        };
        let error = |Failure { trouble, .. }| KmsError {
            action: DESCRIBE,
            key: key.to_owned(),
            purpose: None,
            trouble,
        };
        resolve().map_err(error)
    }

    fn generate(&self, key: &str, context: &EncryptionContext) -> Result<(Secret, KmsBlob), KmsError> {
        self.generate_in(key, context).map_err(|failure| about(GENERATE, key, context, failure))
    }

    fn encrypt(&self, key: &str, context: &EncryptionContext, secret: &Secret) -> Result<KmsBlob, KmsError> {
        self.encrypt_in(key, context, secret).map_err(|failure| about(ENCRYPT, key, context, failure))
    }

    fn decrypt(&self, blob: &KmsBlob, context: &EncryptionContext) -> Result<Secret, KmsError> {
        self.decrypt_in(blob, context).map_err(|failure| about(DECRYPT, &blob.arn, context, failure))
    }

    fn re_encrypt(
        &self,
        blob: &KmsBlob,
        context: &EncryptionContext,
        destination: &str,
    ) -> Result<KmsBlob, KmsError> {
        let from = |trouble: KmsTrouble| about(RE_ENCRYPT_FROM, &blob.arn, context, trouble.into());
        let to = |trouble: KmsTrouble| about(RE_ENCRYPT_TO, destination, context, trouble.into());
        let source = wrapping_key(blob).map_err(from)?;
        let target = KmsKeyName::parse(destination).map_err(|error| to(error.into()))?;
        let regional = self.regional(source.region()).map_err(from)?;
        if self.regional(target.region()).map_err(to)?.place.region != regional.place.region {
            let secret = self.decrypt(blob, context)?;
            return self.encrypt(destination, context, &secret);
        }
        self.re_encrypt_in(&regional, (&source, &target), blob, context).map_err(|failure| {
            let (action, key) = side(&failure, &blob.arn, destination);
            about(action, key, context, failure)
        })
    }
}

/// AWS's own endpoint, for messages.
fn public_endpoint(config: &SdkConfig, region: &str) -> String {
    let params = Params::builder()
        .region(region)
        .set_use_fips(config.use_fips())
        .set_use_dual_stack(config.use_dual_stack())
        .build();
    let resolved = params.ok().and_then(|params| {
        let resolver = DefaultResolver::new();
        block_on(async { resolver.resolve_endpoint(&params).await }).ok()?.ok()
    });
    resolved.map_or_else(|| format!("AWS's endpoint of {region}"), |endpoint| endpoint.url().to_owned())
}

fn about(action: &'static str, key: &str, context: &EncryptionContext, failure: Failure) -> KmsError {
    KmsError { action, key: key.to_owned(), purpose: Some(context.purpose), trouble: failure.trouble }
}

/// Which right on which of two keys a failed re-encryption was about, as far as the service's words tell.
fn side<'a>(failure: &Failure, source: &'a str, destination: &'a str) -> (&'static str, &'a str) {
    let words = failure.words.as_str();
    if matches!(failure.trouble, KmsTrouble::WrongBlob | KmsTrouble::OtherKey { .. })
        || words.contains(RE_ENCRYPT_FROM)
    {
        (RE_ENCRYPT_FROM, source)
    } else if words.contains(RE_ENCRYPT_TO) || words.contains(destination) && !words.contains(source) {
        (RE_ENCRYPT_TO, destination)
    } else {
        (RE_ENCRYPT, source)
    }
}

fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    Some(context.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The key that a stored blob is wrapped under. Only its ARN will do: a name that is resolved anew could be made to
/// mean another key.
fn wrapping_key(blob: &KmsBlob) -> Result<KmsKeyName, KmsTrouble> {
    let name = KmsKeyName::parse(&blob.arn)?;
    if name.is_key_arn() { Ok(name) } else { Err(KmsTrouble::WrongBlob) }
}

/// The ARN in an answer, if the key asked for can be that one.
fn answered(asked: &KmsKeyName, answer: Option<String>) -> Result<String, KmsTrouble> {
    let arn = answer.ok_or(KmsTrouble::Malformed)?;
    if !KmsKeyName::parse(&arn).is_ok_and(|name| name.is_key_arn()) {
        return Err(KmsTrouble::Malformed);
    }
    if asked.may_mean(&arn) { Ok(arn) } else { Err(KmsTrouble::OtherKey { answered: arn }) }
}

fn wrapped(asked: &KmsKeyName, arn: Option<String>, blob: Option<Blob>) -> Result<KmsBlob, KmsTrouble> {
    let arn = answered(asked, arn)?;
    let blob = blob.map(Blob::into_inner).unwrap_or_default();
    if blob.is_empty() || blob.len() > KMS_BLOB_MAX_BYTES {
        return Err(KmsTrouble::Malformed);
    }
    Ok(KmsBlob { arn, blob })
}

fn secret(plaintext: Option<Blob>) -> Result<Secret, KmsTrouble> {
    let plaintext = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
    Ok(Secret::new(plaintext.as_slice().try_into().map_err(|_| KmsTrouble::Malformed)?))
}

/// Why a key that exists cannot wrap.
fn unfit(key: &KeyMetadata) -> Option<KmsTrouble> {
    let unusable = |reason: String| Some(KmsTrouble::Unusable { reason });
    match &key.key_state {
        None | Some(KeyState::Enabled | KeyState::Updating) => {}
        Some(KeyState::Disabled) => return Some(KmsTrouble::Disabled),
        Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => {
            return Some(KmsTrouble::PendingDeletion);
        }
        Some(state) => return unusable(format!("its state is {}", state.as_str())),
    }
    match (&key.key_usage, &key.key_spec) {
        (Some(usage), _) if *usage != KeyUsageType::EncryptDecrypt => {
            unusable(format!("it is for {}, not for ENCRYPT_DECRYPT", usage.as_str()))
        }
        (_, Some(spec)) if *spec != KeySpec::SymmetricDefault => {
            unusable(format!("it is a key of type {}, not SYMMETRIC_DEFAULT", spec.as_str()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::retry::Again;

    const ONE: &str = "arn:aws:kms:eu-central-1:111122223333:key/11111111-1111-1111-1111-111111111111";
    const TWO: &str = "arn:aws:kms:eu-central-1:111122223333:key/22222222-2222-2222-2222-222222222222";

    fn name(text: &str) -> KmsKeyName {
        KmsKeyName::parse(text).unwrap()
    }

    #[test]
    fn answers_must_name_the_key_that_was_asked_for() {
        assert_eq!(answered(&name(ONE), Some(ONE.to_owned())).unwrap(), ONE);
        assert_eq!(answered(&name("alias/x"), Some(TWO.to_owned())).unwrap(), TWO);
        let other = KmsTrouble::OtherKey { answered: TWO.to_owned() };
        assert_eq!(answered(&name(ONE), Some(TWO.to_owned())), Err(other));
        let alias = "arn:aws:kms:eu-central-1:111122223333:alias/x";
        for answer in [None, Some(""), Some("alias/x"), Some(alias), Some(&ONE[44..])] {
            let answer = answer.map(str::to_owned);
            assert_eq!(answered(&name("alias/x"), answer.clone()), Err(KmsTrouble::Malformed), "{answer:?}");
        }
    }

    #[test]
    fn answers_must_have_a_blob_and_32_bytes() {
        let blob = |length: usize| Some(Blob::new(vec![1; length]));
        for length in [1, KMS_BLOB_MAX_BYTES] {
            assert_eq!(wrapped(&name(ONE), Some(ONE.to_owned()), blob(length)).unwrap().blob.len(), length);
        }
        for blob in [None, blob(0), blob(KMS_BLOB_MAX_BYTES + 1)] {
            assert_eq!(wrapped(&name(ONE), Some(ONE.to_owned()), blob), Err(KmsTrouble::Malformed));
        }
        assert_eq!(secret(blob(32)), Ok(Secret::new([1; 32])));
        for plaintext in [None, blob(0), blob(31), blob(33)] {
            assert_eq!(secret(plaintext), Err(KmsTrouble::Malformed));
        }
    }

    #[test]
    fn public_endpoints_are_named_in_full() {
        let config = SdkConfig::builder().build();
        assert_eq!(public_endpoint(&config, "eu-west-1"), "https://kms.eu-west-1.amazonaws.com");
        assert_eq!(public_endpoint(&config, "cn-north-1"), "https://kms.cn-north-1.amazonaws.com.cn");
        let config = SdkConfig::builder().use_fips(true).build();
        assert_eq!(public_endpoint(&config, "us-east-1"), "https://kms-fips.us-east-1.amazonaws.com");
    }

    #[test]
    fn a_stored_blob_names_its_key_by_arn() {
        let blob = |arn: &str| KmsBlob { arn: arn.to_owned(), blob: vec![1] };
        assert!(wrapping_key(&blob(ONE)).is_ok());
        assert_eq!(wrapping_key(&blob("alias/x")), Err(KmsTrouble::WrongBlob));
        assert!(matches!(wrapping_key(&blob("x")), Err(KmsTrouble::Name(_))));
    }

    #[test]
    fn a_failed_re_encryption_names_the_side_it_failed_on() {
        let failure = |trouble: KmsTrouble, words: &str| Failure {
            trouble,
            again: Again::Never,
            words: words.to_owned(),
        };
        let denied = |words: &str| failure(KmsTrouble::AccessDenied, words);
        let to = format!("User: x is not authorized to perform: kms:ReEncryptTo on resource: {TWO}");
        let from = format!("User: x is not authorized to perform: kms:ReEncryptFrom on resource: {ONE}");
        assert_eq!(side(&denied(&to), ONE, TWO), (RE_ENCRYPT_TO, TWO));
        assert_eq!(side(&denied(&from), ONE, TWO), (RE_ENCRYPT_FROM, ONE));
        assert_eq!(side(&denied("no"), ONE, TWO), (RE_ENCRYPT, ONE));
        let disabled = failure(KmsTrouble::Disabled, &format!("{TWO} is disabled."));
        assert_eq!(side(&disabled, ONE, TWO), (RE_ENCRYPT_TO, TWO));
        assert_eq!(side(&failure(KmsTrouble::WrongBlob, ""), ONE, TWO), (RE_ENCRYPT_FROM, ONE));
    }

    #[test]
    fn keys_that_cannot_wrap() {
        let key = |state: KeyState, usage: KeyUsageType, spec: KeySpec| {
            let key = KeyMetadata::builder().key_id("1").key_state(state).key_usage(usage).key_spec(spec);
            unfit(&key.build().unwrap())
        };
        let (usage, spec) = (KeyUsageType::EncryptDecrypt, KeySpec::SymmetricDefault);
        assert_eq!(key(KeyState::Enabled, usage.clone(), spec.clone()), None);
        assert_eq!(key(KeyState::Disabled, usage.clone(), spec.clone()), Some(KmsTrouble::Disabled));
        let deleted = key(KeyState::PendingDeletion, usage.clone(), spec.clone());
        assert_eq!(deleted, Some(KmsTrouble::PendingDeletion));
        let unusable = |trouble| matches!(trouble, Some(KmsTrouble::Unusable { .. }));
        assert!(unusable(key(KeyState::PendingImport, usage.clone(), spec.clone())));
        assert!(unusable(key(KeyState::Enabled, KeyUsageType::SignVerify, spec)));
        assert!(unusable(key(KeyState::Enabled, usage, KeySpec::Rsa4096)));
    }

    #[test]
    fn credentials_are_not_shown() {
        let credentials = StaticCredentials {
            access_key_id: "AKIA1".to_owned(),
            secret_access_key: "hunter2".to_owned().into(),
            session_token: Some("token1".to_owned().into()),
        };
        let options = AwsKmsOptions { credentials: Some(credentials), ..AwsKmsOptions::default() };
        let shown = format!("{options:?}");
        assert!(
            shown.contains("AKIA1") && !shown.contains("hunter2") && !shown.contains("token1"),
            "{shown}"
        );
    }
}
