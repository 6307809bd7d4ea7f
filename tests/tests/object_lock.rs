//! Repositories in buckets with Object Lock: what somebody with every right to the bucket writes over or deletes is
//! still there, is read, and is brought back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Sandbox, text};
use strongroom_tests::services::aws::{AwsClient, Credentials, accepted, object};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::{self, Moto};

/// Nobody listens there.
const NO_KMS: &str = "http://127.0.0.1:9";

/// Nobody names it.
const FOREIGN: &str = "p/packs/ab/foreign";

/// A bucket that keeps versions and refuses to delete locked ones, and a repository in it.
struct Locked {
    client: AwsClient,
    bucket: String,
    sandbox: Sandbox,
}

impl Locked {
    fn new(endpoint: &str, credentials: &Credentials, bucket: &str, lock: &[&str]) -> Self {
        let client = AwsClient::at(endpoint, credentials.clone()).unwrap();
        client.create_locking_bucket(bucket).unwrap();
        let mut sandbox = Sandbox::on_aws(&format!("s3://{bucket}/p"), credentials, endpoint, NO_KMS);
        let key = sandbox.path("the.key");
        sandbox.set("STRONGROOM_KEY_FILE", key);
        let _made = sandbox.run(["init"].iter().chain(lock)).assert_code(0);
        Self { client, bucket: bucket.to_owned(), sandbox }
    }

    fn names(&self) -> Vec<String> {
        self.client.list(&self.bucket, "p/").unwrap()
    }

    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.names()
            .into_iter()
            .map(|key| (key.clone(), self.client.get(&self.bucket, &key).unwrap()))
            .collect()
    }

    /// Deletes what is newest, as a bucket with versions does.
    fn delete(&self, key: &str) {
        self.client.delete(&self.bucket, key).unwrap();
    }

    fn versions(&self) -> Vec<(String, String)> {
        let listed = self.client.s3("GET", &format!("/{}?versions", self.bucket), &[], b"").unwrap();
        let text = accepted(listed).unwrap().text();
        let versions = text.split("<Version>").skip(1);
        let element = |part: &str, name: &str| {
            let (_, rest) = part.split_once(&format!("<{name}>")).unwrap();
            rest.split_once(&format!("</{name}>")).unwrap().0.to_owned()
        };
        versions.map(|part| (element(part, "Key"), element(part, "VersionId"))).collect()
    }
}

fn kind(key: &str) -> &str {
    key.strip_prefix("p/").unwrap().split('/').next().unwrap()
}

/// The account's own root cannot.
fn assert_nothing_can_be_deleted(locked: &Locked) {
    let Locked { client, bucket, .. } = locked;
    let good = locked.objects();
    let mut versions = locked.versions();
    // All but what `init` tried the store with.
    versions.retain(|(key, _)| good.contains_key(key));
    assert_eq!(versions.len(), good.len());
    for (key, version) in &versions {
        let target = format!("{}?versionId={version}", object(bucket, key));
        for headers in [&[][..], &[("x-amz-bypass-governance-retention", "true")]] {
            let answer = client.s3("DELETE", &target, headers, b"").unwrap();
            assert!((400..500).contains(&answer.head.status), "{key}: {}", answer.text());
        }
    }
}

fn whatever_happens_to_the_newest_version(locked: &Locked) {
    let Locked { client, bucket, sandbox } = locked;
    let data = [1, 2].map(|seed| noise(600_000, seed));
    let ids = data.each_ref().map(|data| sandbox.backup_stream("dump.sql", data));
    let good = locked.objects();
    let kinds: BTreeSet<&str> = good.keys().map(|key| kind(key)).collect();
    assert!(kinds.is_superset(&BTreeSet::from(["config", "index", "journal", "keys", "meta", "packs"])));

    // Packs and index objects overwritten: a restore reads what they were.
    for key in good.keys().filter(|key| ["packs", "meta", "index"].contains(&kind(key))) {
        client.put(bucket, key, b"nothing of the kind").unwrap();
    }
    let host = sandbox.other_host();
    assert!(host.cat(&ids[0], "dump.sql") == data[0]);
    let checked = host.run(["check", "--read-data", "--json"]).assert_code(4);
    assert!(!checked.all("finding").is_empty(), "{checked}");

    // Then the rest too, half of it deleted.
    let good: BTreeMap<_, _> = locked
        .objects()
        .into_iter()
        .map(|(key, newest)| (key.clone(), good.get(&key).cloned().unwrap_or(newest)))
        .collect();
    for (number, key) in good.keys().enumerate() {
        if number % 2 == 0 { locked.delete(key) } else { client.put(bucket, key, b"junk").unwrap() }
    }
    let anew = sandbox.other_host();
    let _gone = anew.run(["snapshots"]).assert_code(1);
    let told = anew.run(["repair", "versions", "--dry-run", "--json"]);
    assert!(told.all("repaired").iter().any(|repaired| text(&repaired["object"]) == "config"), "{told}");
    assert_eq!(client.s3("GET", &object(bucket, "p/config"), &[], b"").unwrap().head.status, 404);
    let repaired = anew.run(["repair", "versions", "--json"]).assert_code(0).one("repair");
    assert_eq!((&repaired["lost"], &repaired["restored"]), (&0.into(), &good.len().into()));
    assert!(locked.objects() == good, "something is not what it was");
    let again = anew.run(["repair", "versions", "--json"]).assert_code(0).one("repair");
    assert_eq!(again["restored"], 0);
    for (id, data) in ids.iter().zip(&data) {
        assert!(anew.cat(id, "dump.sql") == *data);
    }
    for host in [sandbox, &anew] {
        let _clean = host.run(["check", "--read-data", "--keys", "--no-cache"]).assert_code(0);
    }
    let _more = sandbox.backup_stream("dump.sql", &data[0]);
}

#[test]
fn whatever_happens_to_the_newest_version_on_minio() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    let locked =
        Locked::new(&minio.endpoint(), minio.root(), "object-lock", &["--object-lock", "compliance:30d"]);
    let _snapshot = locked.sandbox.backup_stream("dump.sql", &noise(600_000, 0));
    assert_nothing_can_be_deleted(&locked);
    whatever_happens_to_the_newest_version(&locked);
}

/// moto wants a checksum of the body of a copy that is to be locked, which has none.
#[test]
fn whatever_happens_to_the_newest_version_without_locks_on_moto() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let locked = Locked::new(&moto.endpoint(), &moto::credentials("owner"), "object-lock", &[]);
    whatever_happens_to_the_newest_version(&locked);
}

/// What a lock lacks is added, for what is still needed and no more.
#[test]
fn locks_are_extended_for_what_is_needed() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    let locked = Locked::new(
        &minio.endpoint(),
        minio.root(),
        "object-lock-extend",
        &["--object-lock", "governance:30d"],
    );
    let Locked { client, bucket, sandbox } = &locked;
    let _first = sandbox.backup_stream("dump.sql", &noise(600_000, 1));
    let extend = || sandbox.run(["object-lock", "extend", "--json"]).assert_code(0).one("object_lock");
    let all = locked.names().len();
    let nothing_lacks = extend();
    assert_eq!((&nothing_lacks["extended"], &nothing_lacks["kept"]), (&0.into(), &all.into()));
    client.put(bucket, FOREIGN, b"foreign").unwrap();
    // A version that nothing locks.
    let pack = locked.names().into_iter().find(|key| kind(key) == "packs" && *key != FOREIGN).unwrap();
    let good = client.get(bucket, &pack).unwrap();
    client.put(bucket, &pack, &good).unwrap();
    let extended = extend();
    // The first left a note, which is locked.
    assert_eq!((&extended["extended"], &extended["kept"]), (&1.into(), &all.into()));
    let mut deleted = Vec::new();
    // What `init` tried the store with is none of the repository.
    for (key, version) in locked.versions().into_iter().filter(|(key, _)| kind(key) != "running") {
        let target = format!("{}?versionId={version}", object(bucket, &key));
        if client.s3("DELETE", &target, &[], b"").unwrap().head.status < 300 {
            deleted.push(key);
        }
    }
    assert_eq!(deleted, [FOREIGN]);
    // With one more right this mode lets go.
    let (key, version) = locked.versions().into_iter().find(|(key, _)| *key == pack).unwrap();
    let target = format!("{}?versionId={version}", object(bucket, &key));
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    let _deleted = accepted(client.s3("DELETE", &target, &bypass, b"").unwrap()).unwrap();
    let _clean = sandbox.run(["check", "--read-data"]).assert_code(0);
}

/// A lock that the bucket cannot keep makes no repository.
#[test]
fn a_bucket_without_locks_is_refused() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    minio.client().create_bucket("no-locks").unwrap();
    let sandbox = Sandbox::on_aws("s3://no-locks/p", minio.root(), &minio.endpoint(), NO_KMS);
    let refused = sandbox.run(["init", "--object-lock", "compliance:30d"]);
    assert!(refused.status.code() != Some(0), "{refused}");
    let _said = refused.assert_says(["Object Lock", "no-locks"]);
    assert!(minio.client().list("no-locks", "p/").unwrap().is_empty());
    let _made = sandbox.run(["init"]).assert_code(0);
    let _refused = sandbox.run(["object-lock", "extend"]).assert_code(1).assert_says(["lock"]);
}
