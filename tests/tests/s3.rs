//! Buckets, backed up and restored: every object with what belongs to it, versions and delete markers, by several workers,
//! beside the repository, into other buckets and services.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use serde_json::Value;
use strongroom_tests::noise::noise;
use strongroom_tests::proxy::fault::{FaultProxy, Kind};
use strongroom_tests::sandbox::{Sandbox, id_of};
use strongroom_tests::services::aws::{AwsClient, Credentials, accepted, object};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::{self, Moto};

/// A repository in a folder, and a service with buckets.
struct Place {
    client: AwsClient,
    sandbox: Sandbox,
}

impl Place {
    fn new(client: AwsClient, endpoint: &str, credentials: &Credentials) -> Self {
        let mut sandbox = Sandbox::new();
        for (name, value) in credentials.environment() {
            sandbox.set(name, value);
        }
        sandbox.set("STRONGROOM_S3_ENDPOINT", endpoint);
        Self { client, sandbox }
    }

    fn minio() -> Option<Self> {
        let minio = Minio::shared().unwrap()?;
        Some(Self::new(minio.client(), &minio.endpoint(), minio.root()))
    }

    fn moto() -> Option<Self> {
        let moto = Moto::shared().unwrap()?;
        Some(Self::new(moto.client(), &moto.endpoint(), &moto::credentials("owner")))
    }

    fn bucket(&self, name: &str, versioning: &str) -> String {
        self.client.create_bucket(name).unwrap();
        self.version(name, versioning);
        name.to_owned()
    }

    fn version(&self, bucket: &str, status: &str) {
        if !status.is_empty() {
            let xml = format!(
                "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status></VersioningConfiguration>"
            );
            accepted(self.client.s3("PUT", &format!("/{bucket}?versioning="), &[], xml.as_bytes()).unwrap())
                .unwrap();
        }
    }

    fn put(&self, bucket: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) {
        accepted(self.client.s3("PUT", &object(bucket, key), headers, body).unwrap()).unwrap();
    }

    /// An object in parts of these bodies.
    fn put_parts(&self, bucket: &str, key: &str, headers: &[(&str, &str)], parts: &[Vec<u8>]) {
        let path = object(bucket, key);
        let begun =
            accepted(self.client.s3("POST", &format!("{path}?uploads="), headers, b"").unwrap()).unwrap();
        let id = begun.xml("UploadId").unwrap();
        let mut xml = String::from("<CompleteMultipartUpload>");
        for (number, part) in (1..).zip(parts) {
            let target = format!("{path}?partNumber={number}&uploadId={id}");
            let put = accepted(self.client.s3("PUT", &target, &[], part).unwrap()).unwrap();
            let etag = put.head.headers.first("etag").unwrap().to_owned();
            xml.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
        }
        xml.push_str("</CompleteMultipartUpload>");
        accepted(self.client.s3("POST", &format!("{path}?uploadId={id}"), &[], xml.as_bytes()).unwrap())
            .unwrap();
    }

    /// Everything that a key has: what a GET answers, and its tags.
    fn object(&self, bucket: &str, key: &str) -> (BTreeMap<String, String>, String, Vec<u8>) {
        let path = object(bucket, key);
        let got = accepted(self.client.s3("GET", &path, &[], b"").unwrap()).unwrap();
        let kept = |name: &str| {
            let names = ["etag", "expires", "content-type", "content-length"];
            let has = [
                "cache-control",
                "content-encoding",
                "content-disposition",
                "content-language",
                "x-amz-meta-",
            ];
            names.contains(&name) || has.iter().any(|start| name.starts_with(start))
        };
        let headers =
            got.head.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let headers = headers.filter(|(name, _)| kept(name)).collect();
        let tags =
            accepted(self.client.s3("GET", &format!("{path}?tagging="), &[], b"").unwrap()).unwrap().text();
        let tags = tags.split("<TagSet>").nth(1).unwrap_or_default().to_owned();
        (headers, tags, got.body)
    }

    #[track_caller]
    fn assert_same(&self, one: (&str, &str), two: (&str, &str)) {
        let below = |bucket: &str, prefix: &str| {
            let keys = self.client.list(bucket, prefix).unwrap();
            keys.into_iter().map(|key| key.strip_prefix(prefix).unwrap().to_owned()).collect::<Vec<_>>()
        };
        let keys = below(one.0, one.1);
        assert_eq!(keys, below(two.0, two.1));
        for key in keys {
            let was = self.object(one.0, &format!("{}{key}", one.1));
            assert!(
                was == self.object(two.0, &format!("{}{key}", two.1)),
                "{key} is not the same: {:?}",
                (was.0, was.1)
            );
        }
    }

    /// What lists of versions say, the newest first: key, and size or `deleted`.
    fn history(&self, bucket: &str) -> Vec<(String, String)> {
        let text = accepted(self.client.s3("GET", &format!("/{bucket}?versions="), &[], b"").unwrap())
            .unwrap()
            .text();
        let field = |part: &str, tag: &str| {
            let (_, rest) = part.split_once(&format!("<{tag}>"))?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        let mut found = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = [rest.find("<Version>"), rest.find("<DeleteMarker>")].into_iter().flatten().min()
        {
            let (is_marker, part) = (rest[at..].starts_with("<DeleteMarker>"), &rest[at + 1..]);
            let end = part.find(if is_marker { "</DeleteMarker>" } else { "</Version>" }).unwrap();
            let size = if is_marker { "deleted".into() } else { field(&part[..end], "Size").unwrap() };
            found.push((field(&part[..end], "Key").unwrap(), size));
            rest = &part[end..];
        }
        found
    }

    fn facts(&self, snapshot: &str) -> Value {
        let shown = self.sandbox.run(["show", snapshot, "--json"]).assert_code(0);
        shown.json_lines()[0]["facts"].clone()
    }
}

/// Keys that MinIO takes, and lists.
const KEYS: [&str; 8] =
    ["a/b", "a.txt", "a-1/y", "!x", " blank + plus", "ü/ö%41", "tilde~(1)*'", "z/!00000001"];
/// It refuses these, or does not list what lies below an object.
const ODD_KEYS: [&str; 5] = ["a", "a/", "a//b", "z/!00000001/", "a.txt/c"];

fn fill(place: &Place, bucket: &str) {
    for key in KEYS {
        place.put(bucket, key, &[], key.as_bytes());
    }
    let headers = [
        ("content-type", "text/x-odd; charset=utf-8"),
        ("cache-control", "max-age=90"),
        ("content-encoding", "x-none"),
        ("content-disposition", "attachment; filename=\"x\""),
        ("content-language", "de"),
        ("expires", "Wed, 21 Oct 2037 07:28:00 GMT"),
        ("x-amz-meta-who", "me & you"),
        ("x-amz-tagging", "one=1%20%2B&two="),
    ];
    place.put(bucket, "attributes", &headers, b"with all");
    place.put(bucket, "empty", &[], b"");
    place.put(bucket, "large", &[], &noise(17 << 20, 1));
    place.put_parts(
        bucket,
        "parts",
        &headers,
        &[noise(5 << 20, 2), noise(6 << 20, 3), noise(7 << 20, 4), b"end".to_vec()],
    );
}

#[test]
fn everything_comes_back() {
    let Some(mut place) = Place::minio() else { return };
    let bucket = place.bucket("everything", "");
    fill(&place, &bucket);
    // Nothing but reading is asked for.
    let minio = Minio::shared().unwrap().unwrap();
    let proxy = FaultProxy::start(minio.address()).unwrap();
    place.sandbox.set("STRONGROOM_S3_ENDPOINT", proxy.endpoint());
    let first = place.sandbox.backup(["s3", &bucket]);
    let methods: Vec<String> = proxy.seen().into_iter().map(|seen| seen.method).collect();
    assert!(methods.iter().all(|method| method == "GET" || method == "HEAD"), "{methods:?}");
    // The second time, no object is read; then only what changed, be it but a tag.
    proxy.forget();
    place.sandbox.backup(["s3", &bucket]);
    assert_eq!(proxy.count(Kind::Get) + proxy.count(Kind::Head), 0, "{:?}", proxy.seen());
    place.put(&bucket, "a/b", &[], b"changed");
    let tags = b"<Tagging><TagSet><Tag><Key>new</Key><Value>tag</Value></Tag></TagSet></Tagging>";
    accepted(place.client.s3("PUT", "/everything/a.txt?tagging=", &[], tags).unwrap()).unwrap();
    proxy.forget();
    let third = place.sandbox.backup(["s3", &bucket]);
    assert_eq!(proxy.count(Kind::Get) + proxy.count(Kind::Head), 1, "{:?}", proxy.seen());
    let facts = place.facts(&id_of(&third));
    assert_eq!(
        (&facts["objects"], &facts["read"], &facts["tags"]),
        (&12.into(), &1.into(), &"listed".into())
    );
    // Whole, into a prefix of another bucket, over a service that is behind a proxy or not.
    place.sandbox.set("STRONGROOM_S3_ENDPOINT", minio.endpoint());
    let target = place.bucket("everything-restored", "");
    let to = format!("s3://{target}/p/q");
    let done =
        place.sandbox.run(["restore", &id_of(&third), "--to", &to, "--json"]).assert_code(0).one("restore");
    assert_eq!((&done["objects"], &done["failed"]), (&12.into(), &0.into()), "{done}");
    place.assert_same((&bucket, ""), (&target, "p/q/"));
    // Where something is, nothing is written; mirrored, only what differs is.
    let refused = place.sandbox.run(["restore", &id_of(&first), "--to", &to]).assert_code(1);
    assert!(refused.stderr.contains("is not empty"), "{}", refused.stderr);
    place.put(&target, "p/q/stray", &[], b"x");
    place.put(&target, "p/other", &[], b"not below it");
    place.put(&target, "p/q/attributes", &[], b"with all");
    let mirror = ["restore", &id_of(&third), "--to", &to, "--drop-existing", "--json"];
    let done = place.sandbox.run(mirror).assert_code(0).one("restore");
    assert_eq!(
        (&done["objects"], &done["left"], &done["deleted"]),
        (&1.into(), &11.into(), &1.into()),
        "{done}"
    );
    place.assert_same((&bucket, ""), (&target, "p/q/"));
    assert_eq!(place.client.get(&target, "p/other").unwrap(), b"not below it");
    // By prefix, by pattern, one alone, as files.
    let done = place.sandbox.run([
        "restore",
        "latest",
        "--to",
        &format!("s3://{target}/some"),
        "--include",
        "a/",
        "--include",
        "*.txt",
    ]);
    let _ = done.assert_code(0);
    let some = place.client.list(&target, "some/").unwrap();
    assert_eq!(some, ["some/a.txt", "some/a/b"]);
    for key in ["a/b", " blank + plus", "!x", "attributes"] {
        assert_eq!(place.sandbox.cat("latest", key), place.client.get(&bucket, key).unwrap(), "{key}");
    }
    let _ = place.sandbox.run(["restore", "latest", "--target", "files"]).assert_code(0);
    assert_eq!(std::fs::read(place.sandbox.path("files/objects/attributes")).unwrap(), b"with all");
    // Tested by reading, and by restoring.
    let verified = place.sandbox.run(["verify", "latest", "--json"]).assert_code(0).one("verify");
    assert_eq!(verified["databases"][0]["objects"], 12, "{verified}");
    let scratch = format!("s3://{target}/scratch");
    let _ = place.sandbox.run(["verify", "latest", "--scratch-url", &scratch]).assert_code(0);
    assert_eq!(place.client.list(&target, "scratch").unwrap(), Vec::<String>::new());
    place.sandbox.assert_clean();
}

#[test]
fn versions_and_delete_markers_are_replayed() {
    let Some(place) = Place::minio() else { return };
    let bucket = place.bucket("versions", "");
    // Of before there were versions, of when there were, and of when they were suspended.
    place.put(&bucket, "old", &[], b"1");
    place.version(&bucket, "Enabled");
    for body in [&b"22"[..], b"333", b"4444"] {
        place.put(&bucket, "twice", &[], body);
    }
    place.put(&bucket, "old", &[], b"55555");
    place.put(&bucket, "gone", &[], b"666666");
    place.client.delete(&bucket, "gone").unwrap();
    place.put(&bucket, "twice.txt", &[], b"88888888");
    let first = place.sandbox.backup(["s3", &bucket]);
    let facts = place.facts(&id_of(&first));
    assert_eq!(
        (&facts["objects"], &facts["versions"], &facts["delete_markers"]),
        (&3.into(), &4.into(), &1.into()),
        "{facts}"
    );
    // One more: what was the current one is taken over from its other place.
    place.put(&bucket, "twice", &[], b"999999999");
    let second = place.sandbox.backup(["s3", &bucket]);
    assert_eq!(place.facts(&id_of(&second))["read"], 1);
    let target = place.bucket("versions-restored", "Enabled");
    let to = format!("s3://{target}");
    let _ = place.sandbox.run(["restore", "latest", "--to", &to]).assert_code(0);
    assert_eq!(place.history(&target), place.history(&bucket));
    place.assert_same((&bucket, ""), (&target, ""));
    // Once more changes nothing.
    let again = ["restore", "latest", "--to", &to, "--drop-existing", "--json"];
    let again = place.sandbox.run(again).assert_code(0).one("restore");
    assert_eq!(
        (&again["objects"], &again["versions"], &again["left"]),
        (&0.into(), &0.into(), &4.into()),
        "{again}"
    );
    assert_eq!(place.history(&target), place.history(&bucket));
    // A new bucket gets versioning with the configuration; without, the current objects are all there is, and that is said.
    let configured = place.bucket("versions-configured", "");
    let to = format!("s3://{configured}");
    let _ = place.sandbox.run(["restore", "latest", "--to", &to, "--with-configuration"]).assert_code(0);
    assert_eq!(place.history(&configured), place.history(&bucket));
    let plain = place.bucket("versions-plain", "");
    let said = place.sandbox.run(["restore", "latest", "--to", &format!("s3://{plain}")]).assert_code(0);
    assert!(said.stderr.contains("only current objects were restored"), "{}", said.stderr);
    place.assert_same((&bucket, ""), (&plain, ""));
    // Suspended: what is written is the version `null`, again and again.
    place.version(&bucket, "Suspended");
    place.put(&bucket, "twice", &[], b"null");
    place.put(&bucket, "twice", &[], b"null again");
    let suspended = place.sandbox.backup(["s3", &bucket]);
    let facts = place.facts(&id_of(&suspended));
    assert_eq!((&facts["versioning"], &facts["read"]), (&"suspended".into(), &1.into()), "{facts}");
    assert_eq!(place.sandbox.cat("latest", "twice"), b"null again");
    let current = place.sandbox.backup(["s3", &bucket, "--current-only"]);
    let facts = place.facts(&id_of(&current));
    assert_eq!(
        (&facts["objects"], &facts["versions"], &facts["read"]),
        (&3.into(), &0.into(), &3.into()),
        "{facts}"
    );
}

#[test]
fn the_repository_may_lie_in_the_same_bucket() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    let client = minio.client();
    client.create_bucket("shared").unwrap();
    let place =
        Sandbox::on_aws("s3://shared/own/repo", minio.root(), &minio.endpoint(), "http://127.0.0.1:9");
    let _ = place.run(["init", "--key-file", "own.key"]).assert_code(0);
    let mut place = place;
    place.set("STRONGROOM_KEY_FILE", "own.key");
    client.put("shared", "own/data", b"1").unwrap();
    client.put("shared", "own/repo.txt", b"2").unwrap();
    let made = place.backup(["s3", "shared"]);
    let again = place.backup(["s3", "shared"]);
    assert_eq!((&made["files"], &again["files"]), (&3.into(), &3.into()), "{made} {again}");
    // Mirroring leaves the repository alone, and nothing goes into it.
    client.put("shared", "own/stray", b"3").unwrap();
    let mirror = ["restore", "latest", "--to", "s3://shared", "--drop-existing", "--json"];
    let done = place.run(mirror).assert_code(0).one("restore");
    assert_eq!((&done["left"], &done["deleted"]), (&2.into(), &1.into()), "{done}");
    let into = place.run(["restore", "latest", "--to", "s3://shared/own/repo/x"]).assert_code(1);
    assert!(into.stderr.contains("the repository itself lies"), "{}", into.stderr);
    let _ = place.run(["backup", "s3", "shared/own/repo"]).assert_code(1);
    place.assert_clean();
}

#[test]
fn workers_share_a_bucket() {
    let Some(place) = Place::minio() else { return };
    let bucket = place.bucket("workers", "");
    for number in 0..40 {
        place.put(&bucket, &format!("d{}/k{number}", number % 7), &[], b"x");
        place.put(&bucket, &format!("top-{number}"), &[], b"y");
    }
    let target = place.bucket("workers-restored", "");
    let mut objects = 0;
    for number in 1..=3 {
        let made = place.sandbox.backup(["s3", &bucket, "--shard", &format!("{number}/3")]);
        assert_eq!(made["source"], format!("s3:workers.shard-{number}-of-3"));
        objects += place.facts(&id_of(&made))["objects"].as_u64().unwrap();
    }
    assert_eq!(objects, 80);
    for number in 1..=3 {
        let id = format!("latest:s3:workers.shard-{number}-of-3");
        let _ = place.sandbox.run(["restore", &id, "--to", &format!("s3://{target}")]).assert_code(0);
    }
    place.assert_same((&bucket, ""), (&target, ""));
    // Each deletes what is of its own part.
    place.put(&target, "top-stray", &[], b"z");
    let mut deleted = 0;
    for number in 1..=3 {
        let id = format!("latest:s3:workers.shard-{number}-of-3");
        let mirror = ["restore", &id, "--to", &format!("s3://{target}"), "--drop-existing", "--json"];
        deleted += place.sandbox.run(mirror).assert_code(0).one("restore")["deleted"].as_u64().unwrap();
    }
    assert_eq!(deleted, 1);
    place.assert_same((&bucket, ""), (&target, ""));
}

#[test]
fn a_service_that_lists_no_tags_is_asked_for_them() {
    let Some(place) = Place::moto() else { return };
    let bucket = place.bucket("tagged-elsewhere", "");
    for key in ["a", "b/c", "b c+d"] {
        place.put(
            &bucket,
            key,
            &[("x-amz-tagging", "k=v"), ("x-amz-meta-m", "n"), ("content-type", "x/y")],
            b"1",
        );
    }
    place.put(&bucket, "b c+d", &[], b"2");
    place.client.delete(&bucket, "b/c").unwrap();
    for key in ODD_KEYS {
        place.put(&bucket, key, &[], key.as_bytes());
    }
    let first = place.sandbox.backup(["s3", &bucket]);
    assert_eq!(place.facts(&id_of(&first))["tags"], "asked");
    for key in ODD_KEYS {
        assert_eq!(place.sandbox.cat("latest", key), place.client.get(&bucket, key).unwrap(), "{key}");
    }
    let tags = b"<Tagging><TagSet><Tag><Key>new</Key><Value>tag</Value></Tag></TagSet></Tagging>";
    accepted(place.client.s3("PUT", "/tagged-elsewhere/a?tagging=", &[], tags).unwrap()).unwrap();
    let second = place.sandbox.backup(["s3", &bucket]);
    assert_eq!(place.facts(&id_of(&second))["read"], 0);
    let target = place.bucket("tagged-restored", "");
    let _ = place.sandbox.run(["restore", "latest", "--to", &format!("s3://{target}")]).assert_code(0);
    place.assert_same((&bucket, ""), (&target, ""));
    let _ = place.sandbox.run(["verify", "latest"]).assert_code(0);
}
