//! The store in a bucket, against MinIO, which checks signatures, and moto, which has cold storage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod answers;

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials as SdkCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use strongroom_store::aws::{AwsOptions, load_config};
use strongroom_store::conformance::ConformanceError;
use strongroom_store::{
    CredentialsReason, History as _, LockMode, ObjectLock, ObjectName, PutOutcome, RetryPolicy, RetryStore,
    S3Store, Store, StoreError, StoreOptions, ThawState, conformance,
};
use strongroom_tests::closed_port::ClosedPort;
use strongroom_tests::http::tls::TlsServer;
use strongroom_tests::services::aws::{AwsClient, Credentials, REGION, accepted, object};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::{self, Moto};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config(endpoint: &str, credentials: &Credentials) -> SdkConfig {
    config_trusting(endpoint, credentials, None)
}

fn config_trusting(endpoint: &str, credentials: &Credentials, ca_bundle: Option<&Path>) -> SdkConfig {
    let options = AwsOptions {
        region: Some(REGION.to_owned()),
        endpoint: Some(endpoint.to_owned()),
        ca_bundle: ca_bundle.map(Path::to_owned),
        ..AwsOptions::default()
    };
    let Credentials { access_key, secret_key, session_token } = credentials.clone();
    let credentials = SdkCredentials::new(access_key, secret_key, session_token, None, "test");
    let provider = SharedCredentialsProvider::new(credentials);
    load_config(&options).unwrap().into_builder().credentials_provider(provider).build()
}

/// A server, and who may do everything there.
struct Service {
    endpoint: String,
    credentials: Credentials,
}

impl Service {
    fn minio() -> Option<Self> {
        let server = Minio::shared().unwrap()?;
        Some(Self { endpoint: server.endpoint(), credentials: server.root().clone() })
    }

    fn moto() -> Option<Self> {
        let server = Moto::shared().unwrap()?;
        Some(Self { endpoint: server.endpoint(), credentials: moto::credentials("administrator") })
    }

    fn client(&self) -> AwsClient {
        AwsClient::at(&self.endpoint, self.credentials.clone()).unwrap()
    }

    fn store(&self, bucket: &str, prefix: &str) -> S3Store {
        self.store_with(bucket, prefix, &StoreOptions::default())
    }

    fn store_with(&self, bucket: &str, prefix: &str, options: &StoreOptions) -> S3Store {
        S3Store::with_config(&config(&self.endpoint, &self.credentials), bucket, prefix, options).unwrap()
    }

    fn store_of(&self, credentials: &Credentials) -> S3Store {
        let config = config(&self.endpoint, credentials);
        S3Store::with_config(&config, "some-bucket", "p", &StoreOptions::default()).unwrap()
    }
}

fn name(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}

fn put(store: &dyn Store, object: &str, bytes: &[u8]) {
    assert_eq!(store.put_if_absent(&name(object), bytes).unwrap(), PutOutcome::Created, "{object}");
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

fn whole_sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

type Suite = fn(&dyn Store) -> Result<(), ConformanceError>;

fn conforms(service: &Service, bucket: &str, suite: Suite) {
    service.client().create_bucket(bucket).unwrap();
    for prefix in ["", "a/b", "Sicherung für ü + 100%/日本"] {
        suite(&service.store(bucket, prefix)).unwrap_or_else(|error| panic!("{prefix:?}: {error}"));
    }
    conformance::probe(&service.store(bucket, "probe")).unwrap();
}

#[test]
fn minio_conforms() {
    let Some(service) = Service::minio() else { return };
    conforms(&service, "conformance", conformance::suite);
    conformance::many_objects(&service.store("conformance", "many")).unwrap();
    conformance::large_object(&service.store("conformance", "large")).unwrap();
}

#[test]
fn moto_conforms() {
    let Some(service) = Service::moto() else { return };
    // It looks whether a name is there, and then writes: of two at once both may be told that they created it.
    conforms(&service, "conformance", conformance::suite_of_one_writer);
    conformance::many_objects(&service.store("conformance", "many")).unwrap();
    conformance::large_object(&service.store("conformance", "large")).unwrap();
}

#[test]
fn a_bucket_with_versions_conforms() {
    let Some(service) = Service::minio() else { return };
    service.client().create_locking_bucket("conformance-locking").unwrap();
    conformance::suite(&service.store("conformance-locking", "p")).unwrap();
}

#[test]
fn a_checksum_is_kept_with_every_object() {
    for service in [Service::minio(), Service::moto()].into_iter().flatten() {
        let client = service.client();
        client.create_bucket("checksums").unwrap();
        put(&service.store("checksums", "p"), "packs/1", b"123456789");
        let mode = [("x-amz-checksum-mode", "ENABLED")];
        let answer = accepted(client.s3("GET", "/checksums/p/packs/1", &mode, b"").unwrap()).unwrap();
        let checksum = answer.head.headers.first("x-amz-checksum-crc32");
        assert_eq!(checksum, Some("y/Q5Jg=="), "{}: {:?}", service.endpoint, answer.head);
    }
}

/// What is not this repository's, and what has no name that it could have, is not seen.
fn foreign_keys_are_skipped(service: &Service, bucket: &str) {
    let client = service.client();
    client.create_bucket(bucket).unwrap();
    let store = service.store(bucket, "r");
    put(&store, "a/b", b"1");
    for key in ["r/Über Maß", "r/a//c", "r/a/b/", "r/a\u{1}x", "r2/a", "r", "r/a b+c", "other"] {
        client.put(bucket, key, b"foreign").unwrap();
    }
    let mut found = Vec::new();
    store
        .list("", &mut |name, info| {
            found.push((name.to_string(), info.length_bytes));
            Ok(())
        })
        .unwrap();
    assert_eq!(found, [("a/b".to_owned(), 1)]);
}

#[test]
fn foreign_keys_are_skipped_on_minio() {
    let Some(service) = Service::minio() else { return };
    // MinIO itself refuses names that no file can have.
    let client = service.client();
    client.create_bucket("foreign").unwrap();
    let store = service.store("foreign", "r");
    put(&store, "a/b", b"1");
    for key in ["r/Über Maß", "r2/a", "r/a b+c", "other"] {
        client.put("foreign", key, b"foreign").unwrap();
    }
    let mut found = Vec::new();
    store
        .list("", &mut |name, _| {
            found.push(name.to_string());
            Ok(())
        })
        .unwrap();
    assert_eq!(found, ["a/b"]);
}

#[test]
fn foreign_keys_are_skipped_on_moto() {
    let Some(service) = Service::moto() else { return };
    foreign_keys_are_skipped(&service, "foreign");
}

/// Retained versions cannot be deleted; overwritten and deleted objects come back.
fn is_locked(service: &Service, bucket: &str) {
    let client = service.client();
    client.create_locking_bucket(bucket).unwrap();
    let store = service.store(bucket, "p");
    let retention = store.retention().unwrap();
    retention.set(Some(ObjectLock { mode: LockMode::Compliance, data: 2 * DAY, keys: 9 * DAY }));
    for object in ["config", "packs/3f/1", "parts/g/1"] {
        put(&store, object, b"good");
    }

    let day_ms = 24 * 60 * 60 * 1000;
    let days_left = |object: &str| {
        let until = retention.retain_until(&name(object)).unwrap()?;
        Some((until.saturating_sub(now_ms()) + day_ms / 2) / day_ms)
    };
    assert_eq!(days_left("config"), Some(9));
    assert_eq!(days_left("packs/3f/1"), Some(2));
    assert_eq!(days_left("parts/g/1"), None);

    let pack = name("packs/3f/1");
    retention.extend(&pack, now_ms() + 5 * day_ms).unwrap();
    assert_eq!(days_left("packs/3f/1"), Some(5));
    // Nothing is ever shortened, whatever the mode that is asked for.
    retention.set(Some(ObjectLock { mode: LockMode::Governance, data: DAY, keys: DAY }));
    retention.extend(&pack, now_ms() + day_ms).unwrap();
    assert_eq!(days_left("packs/3f/1"), Some(5));
    retention.extend(&pack, now_ms() + 6 * day_ms).unwrap();
    assert_eq!(days_left("packs/3f/1"), Some(6));
    retention.set(None);

    let versions = |object: &str| store.versions(&name(object)).unwrap();
    let [first] = &versions("packs/3f/1")[..] else { panic!("one version") };
    assert!(first.is_newest && !first.is_delete_marker && first.length_bytes == 4);
    let target = format!("{}?versionId={}", object(bucket, "p/packs/3f/1"), first.id);
    let answer = client.s3("DELETE", &target, &[], b"").unwrap();
    assert!((400..500).contains(&answer.head.status), "{}", answer.text());
    assert_eq!(store.get(&pack, 4).unwrap(), b"good");

    // Somebody with more rights than a writer writes over it, and then deletes it.
    client.put(bucket, "p/packs/3f/1", b"evil!").unwrap();
    client.put(bucket, "p/packs/3f/12", b"longer name").unwrap();
    assert_eq!(store.get(&pack, 5).unwrap(), b"evil!");
    let found = versions("packs/3f/1");
    assert_eq!(found.iter().map(|version| version.length_bytes).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(found[1].id, first.id);
    assert!(found[0].is_newest && !found[1].is_newest);
    assert_eq!(store.get_version(&pack, &first.id, 4).unwrap(), b"good");
    let error = store.get_version(&pack, &found[0].id, 4).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { length_bytes: 5, .. }), "{error}");
    store.make_newest(&pack, &first.id).unwrap();
    assert_eq!(store.get(&pack, 4).unwrap(), b"good");
    assert_eq!(versions("packs/3f/1").len(), 3);

    store.delete(&pack).unwrap();
    assert!(store.get(&pack, 4).unwrap_err().is_not_found());
    assert!(store.delete(&pack).unwrap_err().is_not_found());
    let found = versions("packs/3f/1");
    assert!(found[0].is_newest && found[0].is_delete_marker && found.len() == 4, "{found:?}");
    let deleted = |prefix: &str| store.history().unwrap().deleted(prefix).unwrap();
    assert_eq!((deleted("packs/"), deleted("journal/")), (vec![pack.clone()], vec![]));
    assert!(store.get_version(&pack, &found[0].id, 4).unwrap_err().is_not_found());
    store.make_newest(&pack, &first.id).unwrap();
    assert_eq!(store.get(&pack, 4).unwrap(), b"good");

    assert_eq!(deleted("packs/"), []);

    let never = name("packs/3f/never");
    assert_eq!(store.versions(&never).unwrap(), []);
    assert!(store.get_version(&never, &first.id, 4).unwrap_err().is_not_found());
    assert!(store.make_newest(&never, &first.id).unwrap_err().is_not_found());
    assert!(store.retention().unwrap().extend(&never, now_ms()).unwrap_err().is_not_found());
}

#[test]
fn retained_versions_stay_on_minio() {
    let Some(service) = Service::minio() else { return };
    is_locked(&service, "locking");
}

#[test]
fn retained_versions_stay_on_moto() {
    let Some(service) = Service::moto() else { return };
    is_locked(&service, "locking");
}

#[test]
fn a_bucket_without_object_lock_retains_nothing() {
    for service in [Service::minio(), Service::moto()].into_iter().flatten() {
        service.client().create_bucket("not-locking").unwrap();
        let store = service.store("not-locking", "p");
        let lock = ObjectLock { mode: LockMode::Governance, data: DAY, keys: DAY };
        store.retention().unwrap().set(Some(lock));
        let error = store.put_if_absent(&name("config"), b"x").unwrap_err();
        assert!(matches!(error, StoreError::NotLockable { .. }), "{}", whole_sentence(&error));
        assert!(store.stat(&name("config")).unwrap_err().is_not_found());
        put(&store, "running/1", b"not retained");
        assert_eq!(store.retention().unwrap().retain_until(&name("running/1")).unwrap(), None);
    }
}

#[test]
fn storage_class_and_encryption_are_asked_for() {
    let Some(service) = Service::moto() else { return };
    let client = service.client();
    client.create_bucket("classes").unwrap();
    let key = client.create_key("objects").unwrap();
    let options = StoreOptions {
        storage_class_packs: Some("standard-ia".to_owned()),
        sse_kms_key: Some(key.clone()),
        ..StoreOptions::default()
    };
    let store = service.store_with("classes", "p", &options);
    for (object, class) in [("packs/3f/1", Some("STANDARD_IA")), ("meta/3f/1", None), ("config", None)] {
        put(&store, object, b"x");
        let answer = client.s3("HEAD", &format!("/classes/p/{object}"), &[], b"").unwrap();
        let headers = &accepted(answer).unwrap().head.headers;
        assert_eq!(headers.first("x-amz-storage-class"), class, "{object}");
        assert_eq!(headers.first("x-amz-server-side-encryption"), Some("aws:kms"), "{object}");
        assert_eq!(headers.first("x-amz-server-side-encryption-aws-kms-key-id"), Some(&*key), "{object}");
    }
    let options = StoreOptions { storage_class_packs: Some("COLDEST".to_owned()), ..StoreOptions::default() };
    let config = config(&service.endpoint, &service.credentials);
    let error = S3Store::with_config(&config, "classes", "p", &options).unwrap_err();
    assert!(matches!(error, StoreError::InvalidOption { option: "storage class", .. }), "{error}");
}

#[test]
fn cold_objects_are_thawed() {
    let Some(service) = Service::moto() else { return };
    service.client().create_bucket("cold").unwrap();
    let options =
        StoreOptions { storage_class_packs: Some("DEEP_ARCHIVE".to_owned()), ..StoreOptions::default() };
    let store = service.store_with("cold", "p", &options);
    let archive = store.archive().unwrap();
    put(&store, "packs/3f/1", b"frozen");
    put(&store, "meta/3f/1", b"warm");
    let (pack, meta) = (name("packs/3f/1"), name("meta/3f/1"));
    assert_eq!(archive.state(&meta).unwrap(), ThawState::Ready);
    assert_eq!(archive.state(&pack).unwrap(), ThawState::Frozen);
    for error in [store.get(&pack, 6).unwrap_err(), store.get_range(&pack, 0, 3).unwrap_err()] {
        assert!(matches!(error, StoreError::Archived { .. }), "{}", whole_sentence(&error));
    }
    archive.thaw(&pack, 3).unwrap();
    assert_eq!(archive.state(&pack).unwrap(), ThawState::Ready);
    assert_eq!(store.get(&pack, 6).unwrap(), b"frozen");
    archive.thaw(&pack, 3).unwrap();
    archive.thaw(&meta, 3).unwrap();
    assert!(archive.thaw(&name("packs/3f/2"), 3).unwrap_err().is_not_found());
}

#[test]
fn a_missing_bucket_is_named() {
    for service in [Service::minio(), Service::moto()].into_iter().flatten() {
        let store = service.store("no-such-bucket", "p");
        let object = name("config");
        for error in [
            store.get(&object, 1).unwrap_err(),
            store.put_if_absent(&object, b"x").unwrap_err(),
            store.list("", &mut |_, _| Ok(())).unwrap_err(),
            store.versions(&object).unwrap_err(),
        ] {
            let said = whole_sentence(&error);
            assert!(matches!(error, StoreError::NoSuchBucket { .. }), "{said}");
            assert!(said.contains("s3://no-such-bucket/p") && said.contains("does not exist"), "{said}");
            assert!(!error.is_transient() && error.is_without_effect());
        }
    }
}

#[test]
fn wrong_credentials_are_told_apart() {
    let Some(service) = Service::minio() else { return };
    let root = &service.credentials;
    for (credentials, expected) in [
        (Credentials::new("nobody-known", &root.secret_key), CredentialsReason::Unknown),
        (Credentials::new(&root.access_key, "not-the-secret"), CredentialsReason::Signature),
    ] {
        let store = service.store_of(&credentials);
        for error in [
            store.get(&name("config"), 1).unwrap_err(),
            store.put_if_absent(&name("config"), b"x").unwrap_err(),
            store.list("", &mut |_, _| Ok(())).unwrap_err(),
        ] {
            let said = whole_sentence(&error);
            assert!(matches!(error, StoreError::Credentials { reason, .. } if reason == expected), "{said}");
            assert!(!said.contains(&root.secret_key) && !said.contains("not-the-secret"), "{said}");
        }
    }
}

#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none of the ways has any")))
    }
}

#[test]
fn missing_credentials_are_no_network_trouble() {
    let nobody = config("http://127.0.0.1:1", &Credentials::new("a", "b"));
    let nobody =
        nobody.into_builder().credentials_provider(SharedCredentialsProvider::new(NoCredentials)).build();
    let store = S3Store::with_config(&nobody, "some-bucket", "", &StoreOptions::default()).unwrap();
    let error = store.get(&name("config"), 1).unwrap_err();
    let said = whole_sentence(&error);
    assert!(matches!(error, StoreError::Credentials { reason: CredentialsReason::Missing, .. }), "{said}");
    assert!(said.contains("none of the ways has any"), "{said}");
}

#[test]
fn nobody_there_is_unreachable() {
    let closed = ClosedPort::take().unwrap();
    let endpoint = closed.endpoint();
    let config = config(&endpoint, &Credentials::new("a", "b"));
    let store = S3Store::with_config(&config, "some-bucket", "p", &StoreOptions::default()).unwrap();
    let policy = RetryPolicy { first_contact: Duration::from_millis(300), ..RetryPolicy::default() };
    let error = RetryStore::new(store, policy).put_if_absent(&name("config"), b"x").unwrap_err();
    let said = whole_sentence(&error);
    assert!(matches!(error, StoreError::Unreachable { .. }), "{said}");
    assert!(error.is_transient() && error.is_without_effect() && said.contains(&endpoint), "{said}");
}

#[test]
fn a_private_authority_has_to_be_named() {
    let TlsServer { endpoint, certificate } = TlsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, certificate).unwrap();
    let open = |ca_bundle| {
        let config = config_trusting(&endpoint, &Credentials::new("a", "b"), ca_bundle);
        S3Store::with_config(&config, "some-bucket", "p", &StoreOptions::default()).unwrap()
    };
    let error = open(None).get(&name("config"), 1).unwrap_err();
    let said = whole_sentence(&error);
    assert!(matches!(error, StoreError::Untrusted { .. }) && !error.is_transient(), "{said}");
    assert!(said.contains("CA bundle"), "{said}");
    let error = open(Some(&bundle)).get(&name("config"), 1).unwrap_err();
    assert!(error.is_not_found(), "{}", whole_sentence(&error));
}
