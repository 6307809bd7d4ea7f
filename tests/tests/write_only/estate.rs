//! A repository in a bucket of MinIO, under a KMS key of moto, behind the policies of `deploy/iam/`.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use strongroom_format::config::Config;
use strongroom_keys::wrap::WrapTo;
use strongroom_tests::proxy::iam::IamProxy;
use strongroom_tests::proxy::iam::policy::Policy;
use strongroom_tests::proxy::iam::roles::{Filling, Role};
use strongroom_tests::sandbox::{Ran, Sandbox, id_of, text};
use strongroom_tests::services::aws::{AwsClient, Credentials};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::Moto;

use super::Way;
use super::thief::{self, Thief};

/// The path of the repository in its bucket.
pub const PREFIX: &str = "backups/";

/// A repository, its admin, and two hosts that back up: `db1` the source `a`, `db2` the source `b`.
pub struct Estate {
    pub way: Way,
    pub proxy: IamProxy,
    pub bucket: String,
    pub key: String,
    pub repository: String,
    pub admin: Host,
    pub db1: Host,
    pub db2: Host,
    minio: &'static Minio,
    moto: &'static Moto,
}

/// Somebody with credentials of AWS, a home and a cache.
pub struct Host {
    pub name: String,
    pub sandbox: Sandbox,
    pub credentials: Credentials,
    /// Its signer in the repository.
    pub writer: String,
    /// The file of its X25519 key, if it has one.
    pub key_file: Option<PathBuf>,
}

impl Estate {
    /// A new one in a bucket of its own; `None` where a server is missing.
    #[track_caller]
    pub fn new(way: Way, bucket: &str) -> Option<Self> {
        let (minio, moto) = (Minio::shared().unwrap()?, Moto::shared().unwrap()?);
        minio.client().create_bucket(bucket).unwrap();
        let key = moto.client().create_key(bucket).unwrap();
        let proxy = IamProxy::start(minio.address(), moto.address()).unwrap();
        let filling = Filling::new(bucket, PREFIX, &key, "*", "none");
        proxy.set_bucket_policy(bucket, filling.bucket_policy().unwrap());
        let admin = Host::new(&proxy, minio, bucket, "admin");
        // Before there is a repository the admin's policy names any.
        proxy.grant(&admin.credentials.access_key, "admin", vec![filling.policy(Role::Admin).unwrap()]);
        let recovery = admin.generate_key("recovery.key");
        let kms = format!("aws-kms:{key}");
        let _made = admin
            .run(["init", "--host", "admin", "--recipient", &kms, "--recipient", &recovery])
            .assert_code(0);
        let config = minio.client().get(bucket, &format!("{PREFIX}config")).unwrap();
        let repository = Config::decode(&config).unwrap().repository.to_hex();
        let mut estate = Self {
            way,
            db1: Host::new(&proxy, minio, bucket, "db1"),
            db2: Host::new(&proxy, minio, bucket, "db2"),
            proxy,
            bucket: bucket.to_owned(),
            key,
            repository,
            admin,
            minio,
            moto,
        };
        estate.grant(&estate.admin, Role::Admin);
        let (mut db1, mut db2) = (estate.host("db1"), estate.host("db2"));
        estate.add_writer(&mut db1, Role::Backup, &["--source", "a"]);
        estate.add_writer(&mut db2, Role::Backup, &["--source", "b"]);
        (estate.db1, estate.db2) = (db1, db2);
        Some(estate)
    }

    /// Somebody new, who may do nothing yet.
    pub fn host(&self, name: &str) -> Host {
        Host::new(&self.proxy, self.minio, &self.bucket, name)
    }

    /// Lets a host sign, as the admin does, with its keys wrapped in this estate's way; its role gets its policy.
    #[track_caller]
    pub fn add_writer(&self, host: &mut Host, role: Role, options: &[&str]) {
        let recipient = match self.way {
            Way::Kms => format!("aws-kms:{}", self.key),
            Way::X25519 => host.own_key(),
        };
        let arguments = ["key", "add-writer", &host.name, "--recipient", &recipient, "--json"];
        let added = self.admin.run(arguments.iter().chain(options)).assert_code(0);
        host.writer = text(&added.one("writer")["id"]);
        self.grant(host, role);
    }

    /// Gives a host the policy of a role, without the rights on the KMS key where there is another way.
    pub fn grant(&self, host: &Host, role: Role) {
        let policy = match self.way {
            Way::X25519 if role != Role::Admin => self.policy_of_store(host, role),
            _ => self.filling(host).policy(role).unwrap(),
        };
        self.proxy.grant(&host.credentials.access_key, role.name(), vec![policy]);
    }

    /// The part of a role's policy that is about the store.
    pub fn policy_of_store(&self, host: &Host, role: Role) -> Policy {
        let mut policy: Value =
            serde_json::from_str(&self.filling(host).fill(role.template()).unwrap()).unwrap();
        let is_of_kms = |statement: &Value| statement["Action"].to_string().contains("kms:");
        policy["Statement"].as_array_mut().unwrap().retain(|statement| !is_of_kms(statement));
        Policy::of_identity(&policy.to_string()).unwrap()
    }

    fn filling(&self, host: &Host) -> Filling {
        Filling::new(&self.bucket, PREFIX, &self.key, &self.repository, &host.writer)
    }

    /// The bucket as nobody but the tests sees it: without any policy in between.
    pub fn root(&self) -> AwsClient {
        self.minio.client()
    }

    /// S3 with a host's credentials.
    pub fn client(&self, host: &Host) -> AwsClient {
        AwsClient::new(self.proxy.s3_address(), host.credentials.clone())
    }

    /// A KMS key of another account: whoever has it may do everything with it.
    pub fn kms_key_of_somebody_else(&self) -> WrapTo {
        let arn = self.moto.client().create_key("somebody else's").unwrap();
        let credentials = strongroom_tests::services::moto::credentials("somebody");
        WrapTo::AwsKms { arn, kms: Arc::new(thief::kms(&credentials, &self.moto.endpoint())) }
    }

    /// A checkpoint, as one is due after some hundred entries.
    pub fn write_checkpoint(&self) {
        let store = thief::store(&self.minio.endpoint(), &self.bucket, self.minio.root());
        let recovery = std::fs::read_to_string(self.admin.sandbox.path("recovery.key")).unwrap();
        let admin = thief::open(&store, vec![thief::credential(&recovery)], "admin").unwrap();
        admin.write_checkpoint().unwrap();
    }

    /// Every object of the repository and its bytes.
    pub fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let keys = self.root().list(&self.bucket, PREFIX).unwrap();
        keys.into_iter().map(|key| (key.clone(), self.root().get(&self.bucket, &key).unwrap())).collect()
    }

    /// Somebody who stole `db1`.
    pub fn thief(&self) -> Thief {
        Thief::new(self, &self.db1)
    }

    /// Asserts that nothing was asked of AWS that the role had no right to, since decisions were last forgotten.
    #[track_caller]
    pub fn assert_nothing_denied(&self) {
        let denied: Vec<_> =
            self.proxy.decisions().into_iter().filter(|decision| !decision.allowed()).collect();
        assert!(denied.is_empty(), "{denied:#?}");
    }
}

impl Host {
    fn new(proxy: &IamProxy, minio: &Minio, bucket: &str, name: &str) -> Self {
        let credentials = minio.caller(name).unwrap();
        let mut sandbox = Sandbox::remote(&format!("s3://{bucket}/{PREFIX}"), credentials.environment());
        sandbox.set("AWS_ENDPOINT_URL_S3", proxy.s3_endpoint());
        sandbox.set("AWS_ENDPOINT_URL_KMS", proxy.kms_endpoint());
        sandbox.set("STRONGROOM_WRITER", name);
        Self { name: name.to_owned(), sandbox, credentials, writer: "none".to_owned(), key_file: None }
    }

    /// Makes an X25519 key in a file; gives what the admin is told of it.
    #[track_caller]
    pub fn generate_key(&self, file: &str) -> String {
        let made = self.run(["key", "generate-recovery", file, "--json"]).assert_code(0);
        text(&made.one("recovery_key")["public"])
    }

    /// Its own key, which opens the repository for it from now on.
    #[track_caller]
    fn own_key(&mut self) -> String {
        let public = self.generate_key("host.key");
        let file = self.sandbox.path("host.key");
        self.sandbox.set("STRONGROOM_KEY_FILE", &file);
        self.key_file = Some(file);
        public
    }

    #[track_caller]
    pub fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Ran {
        self.sandbox.run(arguments)
    }

    /// Backs a stream up; gives the report.
    #[track_caller]
    pub fn try_backup(&self, source: &str, data: &[u8]) -> Ran {
        self.sandbox.feed(["backup", "stdin", "--json", "--source", source, "--name", "dump.sql"], data)
    }

    /// Backs a stream up; gives the snapshot and the report.
    #[track_caller]
    pub fn backup(&self, source: &str, data: &[u8]) -> (String, Value) {
        let report = self.try_backup(source, data).assert_code(0).one("backup");
        (id_of(&report), report)
    }

    /// The IDs of all snapshots, seen with nothing remembered.
    #[track_caller]
    pub fn sees(&self) -> Vec<String> {
        let listed = self.run(["snapshots", "--json", "--no-cache"]).assert_code(0).all("snapshot");
        listed.iter().map(|snapshot| text(&snapshot["id"])).collect()
    }

    /// Restores a snapshot and compares it byte for byte.
    #[track_caller]
    pub fn assert_restores(&self, snapshot: &str, data: &[u8]) {
        let target = self.sandbox.path(format!("restored-{snapshot}"));
        let target = target.to_string_lossy();
        let _restored =
            self.run(["restore", snapshot, "--target", &target, "--overwrite", "always"]).assert_code(0);
        let found = std::fs::read(format!("{target}/dump.sql")).unwrap();
        assert!(found == data, "{snapshot} is not what was backed up");
    }

    /// Asserts that a check finds nothing at all that matters.
    #[track_caller]
    pub fn assert_clean(&self) {
        let checked = self.run(["check", "--json", "--no-cache"]).assert_code(0).one("check");
        assert_eq!(checked["clean"], true, "{checked}");
    }

    /// What a check that exits with 4 finds, what is only for information left out: severity, kind, object, detail.
    #[track_caller]
    pub fn findings(&self, options: &[&str]) -> Vec<Finding> {
        let checked = self.run(["check", "--json", "--no-cache"].iter().chain(options)).assert_code(4);
        let of = |finding: &Value| Finding {
            severity: text(&finding["severity"]),
            kind: text(&finding["kind"]),
            object: text(&finding["object"]),
            detail: text(&finding["detail"]),
        };
        checked.all("finding").iter().map(of).filter(|finding| finding.severity != "info").collect()
    }
}

/// Something that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: String,
    pub kind: String,
    pub object: String,
    pub detail: String,
}
