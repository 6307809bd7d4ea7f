//! Buckets on a bad day: what is refused, changes or goes while it is read, lists that break off. A snapshot holds what its
//! facts say, or there is none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::Value;
use strongroom_tests::noise::noise;
use strongroom_tests::proxy::fault::{Fault, FaultProxy, Kind, Rule};
use strongroom_tests::sandbox::{Sandbox, id_of};
use strongroom_tests::services::aws::AwsClient;
use strongroom_tests::services::minio::Minio;

struct Place {
    client: AwsClient,
    proxy: FaultProxy,
    sandbox: Sandbox,
    bucket: String,
}

impl Place {
    /// A bucket with objects, behind a proxy.
    fn new(bucket: &str) -> Option<Self> {
        let minio = Minio::shared().unwrap()?;
        let proxy = FaultProxy::start(minio.address()).unwrap();
        let mut sandbox = Sandbox::new();
        for (name, value) in minio.root().environment() {
            sandbox.set(name, value);
        }
        sandbox.set("STRONGROOM_S3_ENDPOINT", proxy.endpoint());
        let client = minio.client();
        client.create_bucket(bucket).unwrap();
        for number in 0..6 {
            client.put(bucket, &format!("some/{number}"), &noise(1000 + number, number as u64)).unwrap();
            client.put(bucket, &format!("secret/{number}"), &noise(1000, 100 + number as u64)).unwrap();
        }
        client.put(bucket, "long", &noise(17 << 20, 77)).unwrap();
        Some(Self { client, proxy, sandbox, bucket: bucket.to_owned() })
    }

    fn facts(&self) -> Value {
        self.sandbox.run(["show", "latest", "--json"]).assert_code(0).json_lines()[0]["facts"].clone()
    }

    /// Whether the snapshot has the bucket as it is.
    fn assert_as_it_is(&self) {
        for key in self.client.list(&self.bucket, "").unwrap() {
            assert!(
                self.sandbox.cat("latest", &key) == self.client.get(&self.bucket, &key).unwrap(),
                "{key}"
            );
        }
    }
}

#[test]
fn what_passes_is_waited_for() {
    let Some(place) = Place::new("s3-passing") else { return };
    for (number, fault) in (0..).zip(Fault::PASSING) {
        place.proxy.add(Rule::new(fault).on(Kind::Get).at(&format!("/some/{number}")));
    }
    // One request alone waits longer each time.
    for fault in [Fault::SlowDown, Fault::ShortBody, Fault::HalfBody] {
        place.proxy.add(Rule::new(fault).on(Kind::List));
    }
    place.proxy.add(Rule::new(Fault::HalfBody).on(Kind::Get).at("/secret/3"));
    place.proxy.add(Rule::new(Fault::SlowDown).on(Kind::Get).times(5));
    let _ = place.sandbox.backup(["s3", &place.bucket]);
    assert!(place.proxy.faults() >= 15, "{}", place.proxy.faults());
    place.assert_as_it_is();
    // And of a restore.
    place.client.create_bucket("s3-passing-restored").unwrap();
    for (number, fault) in (0..).zip(Fault::PASSING) {
        place.proxy.add(Rule::new(fault).on(Kind::Put).at(&format!("/some/{number}")));
    }
    let _ = place.sandbox.run(["restore", "latest", "--to", "s3://s3-passing-restored"]).assert_code(0);
    for key in place.client.list(&place.bucket, "").unwrap() {
        let restored = place.client.get("s3-passing-restored", &key).unwrap();
        assert!(restored == place.client.get(&place.bucket, &key).unwrap(), "{key}");
    }
}

#[test]
fn what_is_denied_is_named_and_the_rest_is_there() {
    let Some(place) = Place::new("s3-denied") else { return };
    place.proxy.add(Rule::new(Fault::AccessDenied).on(Kind::Get).at("/secret/").forever());
    place.proxy.add(Rule::new(Fault::AccessDenied).at("lifecycle").forever());
    let ran = place.sandbox.run(["backup", "s3", &place.bucket, "--json"]).assert_code(3);
    let report = ran.one("backup");
    assert_eq!(report["unreadable"], 6, "{report}");
    for text in ["secret/0", "secret/5", "GetBucketLifecycleConfiguration", "denied"] {
        assert!(ran.stderr.contains(text), "{text}: {}", ran.stderr);
    }
    let facts = place.facts();
    assert_eq!((&facts["objects"], &facts["unreadable_keys"][5]), (&7.into(), &"secret/5".into()), "{facts}");
    // Nothing at all, and no list.
    let made = place.sandbox.snapshots();
    for (kind, words) in [(Kind::Get, "none of the"), (Kind::List, "ListObjectsV2 of the bucket failed")] {
        place.proxy.heal();
        place.proxy.add(Rule::new(Fault::AccessDenied).on(kind).forever());
        place.proxy.add(Rule::new(Fault::AccessDenied).on(Kind::Head).forever());
        let ran = place.sandbox.run(["backup", "s3", &place.bucket, "--force"]).assert_code(1);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    assert_eq!(place.sandbox.snapshots(), made);
}

#[test]
fn what_goes_and_changes_meanwhile_is_as_it_was_at_one_moment() {
    let Some(place) = Place::new("s3-changing") else { return };
    let _ = place.sandbox.backup(["s3", &place.bucket]);
    // The list is that of before.
    place.client.delete(&place.bucket, "some/1").unwrap();
    place.client.put(&place.bucket, "some/2", b"another").unwrap();
    place.client.put(&place.bucket, "long", &noise(18 << 20, 78)).unwrap();
    place.proxy.add(Rule::new(Fault::StaleList).forever());
    let _ = place.sandbox.backup(["s3", &place.bucket, "--force"]);
    let facts = place.facts();
    assert_eq!((&facts["vanished"], &facts["objects"]), (&1.into(), &12.into()), "{facts}");
    place.assert_as_it_is();
    assert!(!place.sandbox.run(["cat", "latest", "some/1"]).stderr.is_empty());
    // The next one, whose list is as it is, reads those again whose date was not that of what was read.
    place.proxy.heal();
    let _ = place.sandbox.backup(["s3", &place.bucket]);
    assert_eq!(place.facts()["read"], 2);
}

#[test]
fn a_restore_that_breaks_off_says_so() {
    let Some(place) = Place::new("s3-broken") else { return };
    let _ = place.sandbox.backup(["s3", &place.bucket]);
    place.client.create_bucket("s3-broken-restored").unwrap();
    // An object that is refused is named; all else is there, and nothing is deleted.
    place.client.put("s3-broken-restored", "stray", b"x").unwrap();
    place.proxy.add(Rule::new(Fault::AccessDenied).on(Kind::Put).at("/some/4").forever());
    let mirror = ["restore", "latest", "--to", "s3://s3-broken-restored", "--drop-existing", "--json"];
    let ran = place.sandbox.run(mirror).assert_code(3);
    let done = ran.one("restore");
    assert_eq!(
        (&done["objects"], &done["failed"], &done["deleted"]),
        (&12.into(), &1.into(), &0.into()),
        "{done}"
    );
    assert!(ran.stderr.contains("some/4") && ran.stderr.contains("nothing was deleted"), "{}", ran.stderr);
    // Credentials that end in the middle.
    place.proxy.heal();
    place.client.create_bucket("s3-broken-half").unwrap();
    place.proxy.add(Rule::new(Fault::ExpiredToken).on(Kind::Put).at("/some/").after(3).forever());
    let ran = place.sandbox.run(["restore", "latest", "--to", "s3://s3-broken-half"]).assert_code(1);
    assert!(ran.stderr.contains("restored in part only"), "{}", ran.stderr);
    place.proxy.heal();
    let half = ["restore", "latest", "--to", "s3://s3-broken-half", "--drop-existing", "--json"];
    let done = place.sandbox.run(half).assert_code(0).one("restore");
    assert_eq!(done["objects"].as_u64().unwrap() + done["left"].as_u64().unwrap(), 13, "{done}");
    // A damaged repository is told from all else.
    assert_eq!(id_of(&place.sandbox.backup(["s3", &place.bucket])).len(), 64);
}
