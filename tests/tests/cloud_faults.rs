//! A cloud on a bad day: MinIO behind a proxy that refuses, cuts, shortens and forgets. Whatever happens, a snapshot is
//! there whole or not at all, and what was there before comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;

use strongroom_keys::derive::content_hash;
use strongroom_tests::noise::noise;
use strongroom_tests::proxy::fault::{Fault, FaultProxy, Kind, Rule};
use strongroom_tests::sandbox::{Ran, Sandbox, id_of};
use strongroom_tests::services::minio::Minio;

/// No KMS is asked.
const NOBODY: &str = "http://127.0.0.1:9";

/// A repository in a bucket of its own, as two hosts see it: one through the proxy, one directly.
struct Place {
    minio: &'static Minio,
    bucket: String,
    proxy: FaultProxy,
    /// Through the proxy.
    host: Sandbox,
    /// Past it.
    direct: Sandbox,
    /// Every snapshot that was made, and what it holds.
    made: Vec<(String, Vec<u8>)>,
}

impl Place {
    /// `None` where MinIO is not to be had.
    fn new(bucket: &str) -> Option<Self> {
        let minio = Minio::shared().unwrap()?;
        minio.client().create_bucket(bucket).unwrap();
        let proxy = FaultProxy::start(minio.address()).unwrap();
        let url = format!("s3://{bucket}/p");
        let direct = Sandbox::on_aws(&url, minio.root(), &minio.endpoint(), NOBODY);
        let host = Sandbox::on_aws(&url, minio.root(), &proxy.endpoint(), NOBODY);
        let _made = direct.run(["init", "--key-file", "own.key"]).assert_code(0);
        fs::copy(direct.path("own.key"), host.path("own.key")).unwrap();
        let mut place = Self { minio, bucket: bucket.to_owned(), proxy, host, direct, made: Vec::new() };
        for sandbox in [&mut place.direct, &mut place.host] {
            sandbox.set("STRONGROOM_KEY_FILE", "own.key");
        }
        Some(place)
    }

    /// Another host that has the key, without a cache, through the proxy.
    fn new_host(&self) -> Sandbox {
        let host = self.host.other_host();
        fs::copy(self.host.path("own.key"), host.path("own.key")).unwrap();
        host
    }

    /// Backs up through the proxy.
    fn back_up(&mut self, bytes: Vec<u8>) {
        let report = try_to_back_up(&self.host, &bytes).assert_code(0).one("backup");
        self.made.push((id_of(&report), bytes));
    }

    /// Makes everything well, and asserts that what was made is there, is all that is there, and is whole; also every
    /// object that nothing names.
    #[track_caller]
    fn assert_whole(&self) {
        self.proxy.heal();
        self.direct.assert_clean();
        let ids: Vec<String> = self.made.iter().map(|(id, _)| id.clone()).collect();
        for host in [&self.direct, &self.host, &self.new_host()] {
            assert_eq!(host.snapshots(), ids);
        }
        for (id, bytes) in &self.made {
            assert!(self.direct.cat(id, "data") == *bytes, "{id} differs");
        }
        let client = self.minio.client();
        for key in client.list(&self.bucket, "p/").unwrap() {
            let (folder, hash) = (key.split('/').nth(1).unwrap(), key.rsplit('/').next().unwrap());
            let object = client.get(&self.bucket, &key).unwrap();
            assert!(!object.is_empty(), "{key} is empty");
            if ["packs", "meta", "index"].contains(&folder) {
                assert_eq!(hex::encode(content_hash(&object).0), hash, "{key} is not whole");
            }
        }
    }
}

fn try_to_back_up(host: &Sandbox, bytes: &[u8]) -> Ran {
    host.feed(["--json", "--retry-for", "30s", "backup", "stdin", "--name", "data"], bytes)
}

fn restored(host: &Sandbox, id: &str) -> Vec<u8> {
    host.run(["--retry-for", "30s", "cat", id, "data"]).assert_code(0).stdout
}

/// Of two packs and a bit.
fn data(seed: u64) -> Vec<u8> {
    noise(20 << 20, seed)
}

#[test]
fn what_passes_is_waited_for() {
    let Some(mut place) = Place::new("passing") else { return };
    for (seed, fault) in (1..).zip(Fault::PASSING) {
        for (kind, part) in [
            (Kind::Get, "/config"),
            (Kind::List, "journal/"),
            (Kind::Get, "/journal/"),
            (Kind::Get, "/keys/"),
            (Kind::Put, "/keys/"),
            (Kind::Put, "/packs/"),
            (Kind::Put, "/meta/"),
            (Kind::Put, "/index/"),
            (Kind::Put, "/journal/"),
        ] {
            place.proxy.add(Rule::new(fault).on(kind).at(part));
        }
        // A host without a cache asks for everything.
        place.host = place.new_host();
        place.proxy.forget();
        place.back_up(data(seed));
        assert!(place.proxy.faults() >= 8, "{fault:?}: {}", place.proxy.faults());
        place.proxy.heal();
        for (kind, part) in [(Kind::Get, "/packs/"), (Kind::Get, "/meta/"), (Kind::Get, "/index/")] {
            place.proxy.add(Rule::new(fault).on(kind).at(part).times(2));
        }
        let (id, bytes) = place.made.last().unwrap();
        place.proxy.forget();
        assert!(restored(&place.new_host(), id) == *bytes, "{fault:?}");
        assert!(place.proxy.faults() >= 3, "{fault:?}: {}", place.proxy.faults());
        place.proxy.heal();
    }
    place.assert_whole();
}

#[test]
fn bursts_are_ridden_out() {
    let Some(mut place) = Place::new("bursts") else { return };
    for fault in [Fault::SlowDown, Fault::InternalError] {
        place.proxy.add(Rule::new(fault).after(3).times(4));
        place.proxy.add(Rule::new(fault).on(Kind::Put).after(2).times(6));
    }
    place.back_up(data(1));
    assert_eq!(place.proxy.faults(), 20);
    place.proxy.add(Rule::new(Fault::SlowDown).on(Kind::Get).after(2).times(8));
    assert!(restored(&place.new_host(), &place.made[0].0) == data(1));
    place.assert_whole();
}

#[test]
fn thirty_of_a_hundred_requests_may_fail() {
    let Some(mut place) = Place::new("thirty") else { return };
    for seed in [1, 2] {
        place.proxy.forget();
        place.proxy.fail_randomly(seed, 30, &Fault::PASSING);
        place.host = place.new_host();
        place.back_up(data(seed));
        let (id, bytes) = place.made.last().unwrap();
        assert!(restored(&place.new_host(), id) == *bytes, "seed {seed}");
        let (faults, all) = (place.proxy.faults(), place.proxy.seen().len());
        assert!(faults * 100 > all * 15, "seed {seed}: {faults} of {all}");
    }
    place.assert_whole();
}

#[test]
fn credentials_that_expire_in_the_middle_commit_nothing() {
    let Some(mut place) = Place::new("expired") else { return };
    place.back_up(data(1));
    // Before anything is written, between packs, before the index, before the entry.
    for (rule, seed) in (2..)
        .zip([
            Rule::new(Fault::ExpiredToken).after(1),
            Rule::new(Fault::ExpiredToken).on(Kind::Put).at("/packs/").after(1),
            Rule::new(Fault::ExpiredToken).on(Kind::Put).at("/index/"),
            Rule::new(Fault::ExpiredToken).on(Kind::Put).at("/journal/"),
        ])
        .map(|(seed, rule)| (rule, seed))
    {
        place.proxy.add(rule.forever());
        let _said = try_to_back_up(&place.host, &data(seed))
            .assert_code(5)
            .assert_says(["s3://expired/p", "expired"]);
        place.assert_whole();
    }
    // Nor is it damage that nothing can be read any more.
    for command in [&["restore", "latest", "--target", "x"][..], &["cat", "latest"]] {
        place.proxy.add(Rule::new(Fault::ExpiredToken).on(Kind::Get).at("/packs/").after(2).forever());
        let _said = place.new_host().run(command).assert_code(5).assert_says(["s3://expired/p", "expired"]);
        place.proxy.heal();
    }
    place.proxy.add(Rule::new(Fault::ExpiredToken).after(30).forever());
    let checked = place.new_host().run(["check", "--read-data"]);
    let _said = checked.assert_code(5).assert_says(["s3://expired/p", "expired"]);
    place.assert_whole();
}

#[test]
fn a_wrong_clock_is_named() {
    let Some(mut place) = Place::new("clock") else { return };
    place.back_up(data(1));
    place.proxy.add(Rule::new(Fault::RequestTimeTooSkewed).forever());
    for host in [&place.host, &place.new_host()] {
        let _said = host.run(["snapshots"]).assert_code(5).assert_says(["clock", "s3://clock/p"]);
        let _said = try_to_back_up(host, &data(2)).assert_code(5).assert_says(["clock"]);
    }
    place.assert_whole();
}

#[test]
fn what_is_refused_is_not_tried_again() {
    let Some(mut place) = Place::new("denied") else { return };
    place.back_up(data(1));
    for part in ["/keys/", "/packs/", "/meta/", "/index/", "/journal/"] {
        place.proxy.add(Rule::new(Fault::AccessDenied).on(Kind::Put).at(part).forever());
        let name = part.trim_matches('/');
        place.proxy.forget();
        let _said = try_to_back_up(&place.host, &data(2))
            .assert_code(5)
            .assert_says(["no permission to write", name]);
        assert!(place.proxy.faults() <= 4, "{part}: {}", place.proxy.faults());
        place.assert_whole();
    }
}

#[test]
fn patience_ends_and_nothing_is_committed() {
    let Some(mut place) = Place::new("patience") else { return };
    place.back_up(data(1));
    for part in ["/packs/", "/journal/"] {
        place.proxy.add(Rule::new(Fault::SlowDown).on(Kind::Put).at(part).forever());
        let ran = place.host.feed(["--retry-for", "1s", "backup", "stdin", "--name", "data"], &data(2));
        let _said = ran.assert_code(1).assert_says(["at present", "tried ", "SlowDown"]);
        place.assert_whole();
    }
    // What was left behind does not stand in the way.
    place.back_up(data(2));
    place.assert_whole();
}

#[test]
fn a_stale_list_hides_nothing_that_was_seen() {
    let Some(mut place) = Place::new("stale") else { return };
    place.back_up(noise(100_000, 1));
    // The proxy remembers the first answer to each listing.
    assert_eq!(place.new_host().snapshots().len(), 1);
    for seed in 2..=4 {
        let report = try_to_back_up(&place.direct, &noise(100_000, seed)).assert_code(0).one("backup");
        place.made.push((id_of(&report), noise(100_000, seed)));
    }
    let ids: Vec<String> = place.made.iter().map(|(id, _)| id.clone()).collect();
    place.proxy.add(Rule::new(Fault::StaleList).forever());
    for host in [&place.host, &place.new_host()] {
        assert_eq!(host.snapshots(), ids);
        for (id, bytes) in &place.made {
            assert!(host.cat(id, "data") == *bytes);
        }
    }
    place.host = place.new_host();
    place.back_up(noise(100_000, 5));
    place.assert_whole();
}

#[test]
fn half_an_answer_is_never_taken_for_a_whole_one() {
    let Some(mut place) = Place::new("half") else { return };
    place.back_up(data(1));
    for part in ["/config", "/journal/", "/keys/", "/packs/", "/meta/", "/index/", "prefix="] {
        place.proxy.add(Rule::new(Fault::HalfBody).at(part).forever());
        let host = place.new_host();
        let ran = host.run(["--retry-for", "1s", "cat", "latest", "data"]);
        assert!(matches!(ran.status.code(), Some(1 | 4)), "{part}: {ran}");
        assert!(data(1).starts_with(&ran.stdout), "{part}: wrong data");
        assert!(ran.stderr.contains("cannot read ") || ran.stderr.contains("cannot list "), "{part}: {ran}");
        assert!(!ran.stderr.contains("--key-file"), "no key would help: {part}: {ran}");
        place.assert_whole();
    }
}
