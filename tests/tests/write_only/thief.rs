//! Somebody who stole a host that backs up: its access key, its own key, and the crates of this project, to forge with.

use std::sync::Arc;

use strongroom_format::entry::{JournalEntry, Statement};
use strongroom_format::registry::{ObjectKind, Purpose};
use strongroom_format::{KeyId, Salt, WriterId, body};
use strongroom_keys::derive::Identity;
use strongroom_keys::key_file::{self, KeyFile};
use strongroom_keys::kms::{AwsKms, AwsKmsOptions, StaticCredentials};
use strongroom_keys::random::{self, OsRandom};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::{Credential, Reach, Unlocker};
use strongroom_keys::{KeysError, Secret};
use strongroom_repository::clock::SystemClock;
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::aws::{AwsOptions, load_config};
use strongroom_store::{S3Store, Store, StoreOptions};
use strongroom_tests::http::Answer;
use strongroom_tests::services::aws::{AwsClient, Credentials, REGION, accepted, object};

use super::estate::{Estate, Host, PREFIX};

/// A name is created with it, and never replaced.
pub const CREATE_ONLY: [(&str, &str); 1] = [("If-None-Match", "*")];

/// With what he found on the host, and what that opened before anybody noticed.
pub struct Thief {
    pub s3: AwsClient,
    pub bucket: String,
    store: Arc<dyn Store>,
    kms_endpoint: String,
    credentials: Credentials,
    own_key: Option<String>,
    /// Opened when he came, and kept: nobody can take them from him.
    pub loot: Loot,
}

/// Keys of a write-only host.
pub struct Loot {
    pub metadata_secret: Secret,
    pub metadata: MetadataKey,
    pub identity: Identity,
    pub signer: Signer,
}

impl Thief {
    pub fn new(estate: &Estate, host: &Host) -> Self {
        let credentials = host.credentials.clone();
        let store = store(&estate.proxy.s3_endpoint(), &estate.bucket, &credentials);
        let kms_endpoint = estate.proxy.kms_endpoint();
        let own_key = host.key_file.as_ref().map(|file| std::fs::read_to_string(file).unwrap());
        let opens = unlocking(&credentials, &kms_endpoint, own_key.as_deref());
        let repository = open(&store, opens, &host.name).unwrap();
        let (id, policy) = (repository.config().repository, &repository.state().policy);
        let opens = unlocking(&credentials, &kms_endpoint, own_key.as_deref());
        let unlocker = Unlocker::new(Arc::clone(&store), id, opens, Vec::new());
        let secret = |key, purpose| unlocker.with_credentials(key, purpose, &Reach::ALL).unwrap();
        let metadata_secret = secret(policy.metadata.id, Purpose::Metadata);
        let me = policy.signers.iter().find(|signer| signer.name == host.name).unwrap().id;
        let loot = Loot {
            metadata: MetadataKey::new(policy.metadata.id, id, &metadata_secret),
            metadata_secret,
            identity: Identity::new(&secret(policy.identity.id, Purpose::Identity)),
            signer: Signer::new(me, &secret(KeyId(me.0), Purpose::Signing)),
        };
        Self {
            s3: AwsClient::new(estate.proxy.s3_address(), credentials.clone()),
            bucket: estate.bucket.clone(),
            store,
            kms_endpoint,
            credentials,
            own_key,
            loot,
        }
    }

    /// The repository as he can open it now.
    pub fn try_open(&self) -> Result<Repository, RepositoryError> {
        open(&self.store, self.opens(), "db1")
    }

    pub fn open(&self) -> Repository {
        self.try_open().unwrap()
    }

    /// Tries to open a key with everything he has.
    pub fn unlock(&self, key: KeyId, purpose: Purpose) -> Result<Secret, KeysError> {
        let repository = self.loot.metadata.repository();
        let unlocker = Unlocker::new(Arc::clone(&self.store), repository, self.opens(), Vec::new());
        unlocker.with_credentials(key, purpose, &Reach::ALL)
    }

    /// KMS as his role may use it.
    pub fn kms(&self) -> AwsKms {
        kms(&self.credentials, &self.kms_endpoint)
    }

    fn opens(&self) -> Vec<Credential> {
        unlocking(&self.credentials, &self.kms_endpoint, self.own_key.as_deref())
    }

    /// A signer whom nobody listed.
    pub fn stranger(&self) -> Signer {
        Signer::new(WriterId([0x55; 16]), &Secret::new([0x55; 32]))
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        self.s3.get(&self.bucket, &format!("{PREFIX}{name}")).unwrap()
    }

    /// Asks for a new object.
    pub fn try_create(&self, name: &str, bytes: &[u8]) -> Answer {
        let target = object(&self.bucket, &format!("{PREFIX}{name}"));
        self.s3.s3("PUT", &target, &CREATE_ONLY, bytes).unwrap()
    }

    /// A new object, which the store lets him make.
    #[track_caller]
    pub fn create(&self, name: &str, bytes: &[u8]) {
        accepted(self.try_create(name, bytes)).unwrap();
    }

    /// Seals something under the metadata key.
    pub fn seal(&self, kind: ObjectKind, path: &str, content: &[u8], signer: &Signer) -> Vec<u8> {
        let salt = Salt(random::array(&OsRandom).unwrap());
        let floor =
            if kind == ObjectKind::Entry { body::ENTRY_FLOOR_BYTES } else { body::OBJECT_FLOOR_BYTES };
        self.loot.metadata.seal(kind, path, floor, content, signer, salt).unwrap()
    }

    /// The entry that would follow now.
    pub fn next_entry(&self, statement: Statement) -> JournalEntry {
        let repository = self.open();
        let state = repository.state();
        JournalEntry {
            number: state.number + 1,
            base: state.number,
            previous: state.chain,
            previous_time_ms: 1,
            statement,
        }
    }

    /// Appends a statement signed so; gives the name of its entry.
    #[track_caller]
    pub fn append(&self, statement: Statement, signer: &Signer) -> String {
        let entry = self.next_entry(statement);
        self.append_content(entry.number, &entry.encode(), signer)
    }

    /// Appends any content; gives the name of its entry.
    #[track_caller]
    pub fn append_content(&self, number: u64, content: &[u8], signer: &Signer) -> String {
        let name = entry_name(number);
        self.create(&name, &self.seal(ObjectKind::Entry, &name, content, signer));
        name
    }
}

pub fn entry_name(number: u64) -> String {
    format!("journal/{number:016x}")
}

fn unlocking(credentials: &Credentials, kms_endpoint: &str, own_key: Option<&str>) -> Vec<Credential> {
    let mut opens = vec![Credential::Kms(Arc::new(kms(credentials, kms_endpoint)))];
    opens.extend(own_key.map(credential));
    opens
}

/// What is in a key file.
pub fn credential(text: &str) -> Credential {
    match key_file::decode(text).unwrap() {
        KeyFile::X25519(private) => Credential::X25519(private),
        KeyFile::Symmetric(key) => Credential::KeyFile(key),
    }
}

/// KMS at an address.
pub fn kms(credentials: &Credentials, endpoint: &str) -> AwsKms {
    AwsKms::new(AwsKmsOptions {
        aws: AwsOptions {
            region: Some(REGION.to_owned()),
            endpoint: Some(endpoint.to_owned()),
            ..AwsOptions::default()
        },
        credentials: Some(StaticCredentials {
            access_key_id: credentials.access_key.clone(),
            secret_access_key: credentials.secret_key.clone().into(),
            session_token: credentials.session_token.clone().map(Into::into),
        }),
        ..AwsKmsOptions::default()
    })
}

/// The repository's objects as somebody with these credentials sees them.
pub fn store(endpoint: &str, bucket: &str, credentials: &Credentials) -> Arc<dyn Store> {
    let options = AwsOptions {
        region: Some(REGION.to_owned()),
        endpoint: Some(endpoint.to_owned()),
        ..AwsOptions::default()
    };
    let Credentials { access_key, secret_key, session_token } = credentials.clone();
    let of_sdk = aws_credential_types::Credentials::new(access_key, secret_key, session_token, None, "test");
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(of_sdk);
    let config = load_config(&options).unwrap().into_builder().credentials_provider(provider).build();
    let prefix = PREFIX.trim_end_matches('/');
    Arc::new(S3Store::with_config(&config, bucket, prefix, &StoreOptions::default()).unwrap())
}

/// The repository as that writer opens it.
pub fn open(
    store: &Arc<dyn Store>,
    opens: Vec<Credential>,
    writer: &str,
) -> Result<Repository, RepositoryError> {
    let options = OpenOptions {
        writer: Some(writer.to_owned()),
        ..OpenOptions::new(opens, Arc::new(OsRandom), Arc::new(SystemClock))
    };
    Repository::open(Arc::clone(store), options)
}
