//! The roles of `deploy/iam/` in front of real servers: KMS of moto, S3 of moto and of MinIO.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use strongroom_tests::proxy::iam::IamProxy;
use strongroom_tests::proxy::iam::roles::{Filling, Role};
use strongroom_tests::services::aws::{AwsClient, Credentials, accepted, object, refused};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::{self, Moto};

const REPOSITORY: &str = "000102030405060708090a0b0c0d0e0f";
const WRITER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
const CREATE_ONLY: [(&str, &str); 1] = [("If-None-Match", "*")];

/// A proxy in front of a bucket of that S3 and a key of that KMS, with every role.
struct Guarded {
    proxy: IamProxy,
    bucket: String,
    key: String,
    callers: Vec<(Role, Credentials)>,
}

impl Guarded {
    fn new(
        bucket: &str,
        s3: &AwsClient,
        s3_address: SocketAddr,
        kms: &Moto,
        caller: impl Fn(Role) -> Credentials,
    ) -> Self {
        s3.create_bucket(bucket).unwrap();
        let key = kms.client().create_key("repository").unwrap();
        let filling = Filling::new(bucket, "p/", &key, REPOSITORY, WRITER);
        let proxy = IamProxy::start(s3_address, kms.address()).unwrap();
        let callers: Vec<_> = Role::ALL.into_iter().map(|role| (role, caller(role))).collect();
        for (role, credentials) in &callers {
            proxy.grant(&credentials.access_key, role.name(), vec![filling.policy(*role).unwrap()]);
        }
        proxy.set_bucket_policy(bucket, filling.bucket_policy().unwrap());
        Self { proxy, bucket: bucket.to_owned(), key, callers }
    }

    fn credentials(&self, role: Role) -> Credentials {
        self.callers.iter().find(|(other, _)| *other == role).unwrap().1.clone()
    }

    fn s3(&self, role: Role) -> AwsClient {
        AwsClient::new(self.proxy.s3_address(), self.credentials(role))
    }

    fn kms(&self, role: Role) -> AwsClient {
        AwsClient::new(self.proxy.kms_address(), self.credentials(role))
    }

    fn assert_writes_once_and_deletes_not(&self) {
        let (backup, prune) = (self.s3(Role::Backup), self.s3(Role::Prune));
        let pack = object(&self.bucket, "p/packs/aa/x");
        accepted(backup.s3("PUT", &pack, &CREATE_ONLY, b"sealed").unwrap()).unwrap();
        refused(&backup.s3("PUT", &pack, &CREATE_ONLY, b"other").unwrap(), 412, "PreconditionFailed")
            .unwrap();
        refused(&backup.s3("PUT", &pack, &[], b"other").unwrap(), 403, "AccessDenied").unwrap();
        refused(&backup.s3("DELETE", &pack, &[], b"").unwrap(), 403, "AccessDenied").unwrap();
        let many = b"<Delete><Object><Key>p/packs/aa/x</Key></Object></Delete>";
        let target = format!("/{}?delete", self.bucket);
        refused(&backup.s3("POST", &target, &[], many).unwrap(), 403, "AccessDenied").unwrap();
        assert_eq!(backup.get(&self.bucket, "p/packs/aa/x").unwrap(), b"sealed");
        assert_eq!(backup.list(&self.bucket, "p/packs/").unwrap(), ["p/packs/aa/x"]);
        let missing = backup.s3("GET", &object(&self.bucket, "p/journal/1"), &[], b"").unwrap();
        refused(&missing, 404, "NoSuchKey").unwrap();
        prune.delete(&self.bucket, "p/packs/aa/x").unwrap();
        assert!(prune.list(&self.bucket, "p/packs/").unwrap().is_empty());
        let denied = self.proxy.decisions().into_iter().filter(|decision| !decision.allowed()).count();
        assert_eq!(denied, 3);
    }
}

fn of_moto(bucket: &str, server: &Moto) -> Guarded {
    Guarded::new(bucket, &server.client(), server.address(), server, |role| moto::credentials(role.name()))
}

#[test]
fn a_backup_host_writes_once_and_deletes_nothing() {
    let (Some(minio), Some(moto)) = (Minio::shared().unwrap(), Moto::shared().unwrap()) else { return };
    of_moto("once", moto).assert_writes_once_and_deletes_not();
    let caller = |role: Role| minio.caller(role.name()).unwrap();
    Guarded::new("once", &minio.client(), minio.address(), moto, caller).assert_writes_once_and_deletes_not();
}

#[test]
fn a_backup_host_makes_data_keys_that_only_restore_opens() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let guarded = of_moto("keys", moto);
    let alias = "alias/guarded";
    moto.client().create_alias(alias, &guarded.key).unwrap();
    let context = |purpose: &str, writer: &str| json!({ "sr:repository": REPOSITORY, "sr:purpose": purpose, "sr:key-id": "00", "sr:writer": writer });
    let call =
        |role: Role, operation: &str, arguments: Value| guarded.kms(role).kms(operation, &arguments).unwrap();
    let data = context("data", WRITER);
    // By an alias too: rights are on the key.
    let made = call(
        Role::Backup,
        "GenerateDataKey",
        json!({ "KeyId": alias, "KeySpec": "AES_256", "EncryptionContext": data }),
    );
    let made: Value = serde_json::from_slice(&accepted(made).unwrap().body).unwrap();
    let open = |role: Role, context: &Value| {
        call(
            role,
            "Decrypt",
            json!({ "KeyId": guarded.key, "CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": context }),
        )
    };
    for role in [Role::Backup, Role::Prune, Role::Audit] {
        refused(&open(role, &data), 400, "AccessDeniedException").unwrap();
        // Nor by saying that it is something else.
        refused(&open(role, &context("metadata", WRITER)), 400, "InvalidCiphertextException").unwrap();
    }
    let opened: Value = serde_json::from_slice(&accepted(open(Role::Restore, &data)).unwrap().body).unwrap();
    assert_eq!(opened["Plaintext"], made["Plaintext"]);
    let other = "0".repeat(32);
    let in_anothers_name =
        json!({ "KeyId": alias, "KeySpec": "AES_256", "EncryptionContext": context("data", &other) });
    refused(&call(Role::Backup, "GenerateDataKey", in_anothers_name), 400, "AccessDeniedException").unwrap();
    // An administrator moves it to another context of the same key, and nobody else.
    let moved = json!({ "CiphertextBlob": made["CiphertextBlob"], "SourceKeyId": guarded.key, "DestinationKeyId": guarded.key,
                        "SourceEncryptionContext": data, "DestinationEncryptionContext": context("vault", WRITER) });
    accepted(call(Role::Admin, "ReEncrypt", moved.clone())).unwrap();
    refused(&call(Role::Restore, "ReEncrypt", moved), 400, "kms:ReEncryptFrom").unwrap();
    let nowhere = json!({ "KeyId": "alias/nowhere", "KeySpec": "AES_256", "EncryptionContext": data });
    refused(&call(Role::Backup, "GenerateDataKey", nowhere), 400, "NotFoundException").unwrap();
}
