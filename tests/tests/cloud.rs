//! Repositories in clouds, as an operator has them: MinIO, moto, Azurite and the emulator of Google, and keys that a
//! KMS wraps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use strongroom_tests::dump::Dump;
use strongroom_tests::noise::noise;
use strongroom_tests::proxy::fault::{FaultProxy, Kind, Seen};
use strongroom_tests::proxy::iam::policy::Policy;
use strongroom_tests::proxy::iam::{Decision, IamProxy, KmsFault};
use strongroom_tests::sandbox::{Sandbox, id_of, text};
use strongroom_tests::services::aws::{AwsClient, accepted, object};
use strongroom_tests::services::azurite::{self, Azurite};
use strongroom_tests::services::gcs::Gcs;
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::{self, Moto};

/// Nobody listens there: the port is of the kind that only servers of the system have.
const NOBODY: &str = "http://127.0.0.1:9";

/// A policy that denies an action on a key.
fn denial(action: &str, key: &str) -> Policy {
    let statement = json!({ "Sid": "No", "Effect": "Deny", "Action": [action], "Resource": [key] });
    Policy::of_identity(&json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()).unwrap()
}

/// MinIO and a KMS, with a proxy in front of the KMS that sees every call.
struct Cloud {
    minio: &'static Minio,
    moto: Moto,
    proxy: IamProxy,
}

impl Cloud {
    /// With a KMS of the test's own; `None` where a server is not to be had.
    fn start(bucket: &str) -> Option<Self> {
        let (Some(minio), Some(moto)) = (Minio::shared().unwrap(), Moto::start().unwrap()) else {
            return None;
        };
        minio.client().create_bucket(bucket).unwrap();
        let proxy = IamProxy::start(minio.address(), moto.address()).unwrap();
        let cloud = Self { minio, moto, proxy };
        cloud.permit([]);
        Some(cloud)
    }

    /// Lets the test's only caller do everything but this.
    fn permit(&self, denials: impl IntoIterator<Item = Policy>) {
        let policies = std::iter::once(Policy::everything()).chain(denials).collect();
        self.proxy.grant(&self.minio.root().access_key, "operator", policies);
    }

    /// A new key of the KMS with an alias.
    fn key(&self, alias: &str) -> String {
        let client = self.moto.client();
        let arn = client.create_key(alias).unwrap();
        client.create_alias(alias, &arn).unwrap();
        arn
    }

    fn sandbox(&self, url: &str) -> Sandbox {
        self.sandbox_at(url, &self.minio.endpoint())
    }

    /// With this endpoint of S3.
    fn sandbox_at(&self, url: &str, s3: &str) -> Sandbox {
        Sandbox::on_aws(url, self.minio.root(), s3, &self.proxy.kms_endpoint())
    }

    /// The calls of the KMS since the last time.
    fn calls(&self) -> Vec<Decision> {
        let calls = self.proxy.decisions();
        self.proxy.forget();
        calls.into_iter().filter(|call| call.action.starts_with("kms:")).collect()
    }
}

/// Action and purpose of each.
fn told(calls: &[Decision]) -> Vec<String> {
    let purpose = |call: &Decision| call.encryption_context("sr:purpose").unwrap_or("-").to_owned();
    calls.iter().map(|call| format!("{} {}", call.action, purpose(call))).collect()
}

fn recovery_key(sandbox: &Sandbox) -> String {
    let made = sandbox.run(["--json", "key", "generate-recovery", "recovery.key"]).assert_code(0);
    text(&made.one("recovery_key")["public"])
}

/// What a database and a ledger of 4 MiB each look like on that day: the first changes 1% of its rows, all over; the
/// second changes in one place and grows.
fn day(number: u64) -> [(&'static str, Vec<u8>); 2] {
    let mut dump = Vec::new();
    Dump::new(4 << 20).on_day(number).write_to(&mut dump).unwrap();
    let mut ledger = noise(4 << 20, 1);
    for day in 2..=number {
        let changed = noise(20 << 10, day);
        let at = usize::try_from(day).unwrap() << 20;
        ledger[at..at + changed.len()].copy_from_slice(&changed);
        ledger.extend(noise(20 << 10, 100 + day));
    }
    [("app.dump", dump), ("ledger.bin", ledger)]
}

/// Backs a day up as streams of commands; the report.
fn back_up_day(sandbox: &Sandbox, number: u64) -> Value {
    for (name, bytes) in day(number) {
        sandbox.write(name, bytes);
    }
    sandbox.backup([
        "command",
        "--source",
        "app",
        "--stream",
        "app.dump=cat app.dump",
        "--stream",
        "ledger.bin=cat ledger.bin",
    ])
}

/// Restores a snapshot to a new folder, and compares it byte for byte.
fn assert_restores(sandbox: &Sandbox, arguments: &[&str], id: &str, files: &[(&str, Vec<u8>)]) {
    let target = sandbox.path(format!("restored-{}", &id[..12]));
    let _ = fs::remove_dir_all(&target);
    let mut words: Vec<&str> = arguments.to_vec();
    words.extend(["restore", id, "--target", target.to_str().unwrap()]);
    let _restored = sandbox.run(words).assert_code(0);
    for (name, bytes) in files {
        assert!(fs::read(target.join(name)).unwrap() == *bytes, "{name} of {id} differs");
    }
}

/// The part of a repository that each object in a bucket belongs to.
fn folders(client: &AwsClient, bucket: &str, prefix: &str) -> BTreeSet<String> {
    let keys = client.list(bucket, prefix).unwrap();
    let below = keys.iter().filter_map(|key| key.strip_prefix(prefix));
    below.map(|name| name.split('/').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn three_days_come_back_with_the_kms_and_without_it() {
    let Some(cloud) = Cloud::start("three-days") else { return };
    let arn = cloud.key("alias/backup");
    let sandbox = cloud.sandbox("s3://three-days/prod");
    let public = recovery_key(&sandbox);
    let made = sandbox
        .run(["--json", "init", "--recipient", "aws-kms:alias/backup", "--recipient", &public])
        .assert_code(0);
    assert_eq!(made.one("init")["key_files"], json!([]), "there is nothing to be kept on this host");

    let mut days = Vec::new();
    for number in 1..=3 {
        let report = back_up_day(&sandbox, number);
        let (stored, all) = (report["stored_bytes"].as_u64().unwrap(), report["bytes"].as_u64().unwrap());
        // Of the dump every chunk has a changed row, and its part of the tables is stored again; of the ledger little is.
        if number > 1 {
            assert!(stored < all / 5, "day {number} stores {stored} of {all} bytes");
        }
        days.push((id_of(&report), day(number)));
    }
    let calls = told(&cloud.calls());
    assert_eq!(calls.iter().filter(|call| *call == "kms:GenerateDataKey data").count(), 3, "{calls:?}");

    // By the role, on a host that knows nothing.
    let host = cloud.sandbox("s3://three-days/prod");
    for (id, files) in &days {
        assert_restores(&host, &[], id, files);
    }
    assert_eq!(host.snapshots(), days.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
    host.assert_clean();

    // The account is gone.
    let endpoint = cloud.proxy.kms_endpoint();
    cloud.proxy.stop_kms();
    drop(cloud);
    let host = sandbox.other_host();
    let _said = host.run(["restore", &days[0].0, "--target", "x"]).assert_code(1).assert_says([
        &arn,
        "kms:Decrypt",
        "cannot be reached",
        &endpoint,
        "--key-file",
    ]);
    assert!(!host.path("x").exists());
    let key = sandbox.path("recovery.key");
    let key = ["--key-file", key.to_str().unwrap()];
    for (id, files) in &days {
        assert_restores(&host, &key, id, files);
    }
    let listed = host.run(["snapshots", "--json", key[0], key[1]]).assert_code(0);
    assert_eq!(listed.all("snapshot").len(), 3);
    let checked = host.run(["check", "--read-data", "--keys", "--json", key[0], key[1]]).assert_code(0);
    let report = checked.one("check");
    assert!(report["clean"] == true && report["keys_opened"].as_u64() < report["keys"].as_u64(), "{report}");
}

/// A folder that grows by a file each run: its last snapshot needs the data keys of all of them.
const RUNS: usize = 100;

fn back_up_runs(sandbox: &Sandbox, runs: std::ops::RangeInclusive<usize>) -> String {
    let mut id = String::new();
    for run in runs {
        sandbox.write(format!("work/{run:03}"), noise(500, run.try_into().unwrap()));
        id = id_of(&sandbox.backup(["files", "work", "--source", "work"]));
    }
    id
}

fn assert_restores_work(sandbox: &Sandbox, id: &str, runs: usize) {
    let target = sandbox.path(format!("restored-{}", &id[..12]));
    let _restored = sandbox.run(["restore", id, "--target", target.to_str().unwrap()]).assert_code(0);
    let mut folder = target;
    // The snapshot has the whole path of the folder that was backed up.
    while let Ok(entries) = fs::read_dir(&folder) {
        let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        if entries.len() == 1 && entries[0].is_dir() {
            folder = entries.remove(0);
            continue;
        }
        assert_eq!(entries.len(), runs);
        for (at, path) in entries.iter().enumerate() {
            assert!(
                fs::read(path).unwrap() == noise(500, u64::try_from(at).unwrap() + 1),
                "{}",
                path.display()
            );
        }
        return;
    }
    panic!("{} holds no files", folder.display());
}

fn touched(seen: &[Seen]) -> BTreeSet<&'static str> {
    seen.iter().filter_map(Seen::folder).collect()
}

#[test]
fn another_kms_key_takes_over_from_the_first() {
    let Some(cloud) = Cloud::start("rewrap") else { return };
    let (first, second) = (cloud.key("alias/first"), cloud.key("alias/second"));
    let s3 = FaultProxy::start(cloud.minio.address()).unwrap();
    let sandbox = cloud.sandbox_at("s3://rewrap/p", &s3.endpoint());
    let _made = sandbox.run(["init", "--recipient", "aws-kms:alias/first"]).assert_code(0);
    let oldest = back_up_runs(&sandbox, 1..=1);
    let id = back_up_runs(&sandbox, 2..=RUNS);

    // A snapshot of a hundred runs, on a host that knows nothing.
    cloud.calls();
    let host = sandbox.other_host();
    assert_restores_work(&host, &id, RUNS);
    let calls = told(&cloud.calls());
    // One for all that was stored, and one to sign the note that it was restored.
    assert_eq!(calls, ["kms:Decrypt vault", "kms:Decrypt signing"]);

    s3.forget();
    let done = sandbox
        .run([
            "--json",
            "key",
            "rewrap",
            "--from",
            "aws-kms:alias/first",
            "--to",
            "aws-kms:alias/second",
            "--remove",
        ])
        .assert_code(0);
    let seen = s3.seen();
    let allowed = BTreeSet::from(["checkpoints", "config", "journal", "keys"]);
    assert!(touched(&seen).is_subset(&allowed), "{:?}", touched(&seen));
    let wrapped = done.one("rewrap")["wrapped"].as_u64().unwrap();
    assert!(wrapped >= u64::try_from(RUNS).unwrap(), "{wrapped} keys");
    assert_eq!(done.one("wraps")["deleted"], wrapped);
    let calls = told(&cloud.calls());
    let seen_in_clear = calls.iter().filter(|call| call.starts_with("kms:Decrypt data")).count();
    assert_eq!(seen_in_clear, 0, "the KMS moves data keys, nobody sees them: {calls:?}");

    // What the first key wrapped is wrapped by the second now, whatever becomes of the first.
    let (_, key_id) = first.split_once(":key/").unwrap();
    accepted(cloud.moto.client().kms("DisableKey", &json!({ "KeyId": key_id })).unwrap()).unwrap();
    cloud.permit([denial("kms:*", &first)]);
    for host in [&sandbox, &sandbox.other_host()] {
        assert_restores_work(host, &id, RUNS);
        assert_restores_work(host, &oldest, 1);
    }
    sandbox.assert_clean();
    let calls = cloud.calls();
    assert!(calls.iter().all(|call| call.resource == second), "{:?}", told(&calls));

    // New runs use what is in force.
    let keys_before = sandbox.run(["--json", "key", "list"]).assert_code(0);
    let recipients = keys_before.all("recipient");
    assert_eq!(recipients.len(), 1);
    assert_eq!((&recipients[0]["kind"], &recipients[0]["public"]), (&json!("aws-kms"), &json!(second)));
    let rotated = sandbox.run(["--json", "key", "rotate"]).assert_code(0).one("rotate");
    let keys = sandbox.run(["--json", "key", "list"]).assert_code(0).all("metadata_key");
    let in_force: Vec<_> = keys.iter().filter(|key| key["in_force"] == true).map(|key| &key["id"]).collect();
    assert_eq!((keys.len(), in_force), (2, vec![&rotated["metadata_key"]]));
    let newest = back_up_runs(&sandbox, RUNS + 1..=RUNS + 1);
    let host = sandbox.other_host();
    assert_restores_work(&host, &newest, RUNS + 1);
    assert_restores_work(&host, &id, RUNS);
    host.assert_clean();
    let _listed = host.run(["key", "list"]).assert_code(0).assert_prints(["RECIPIENTS", &second, "in force"]);

    // However many snapshots there are, what is unchanged costs few requests.
    let _here = sandbox.snapshots();
    assert_unchanged_costs_little(&sandbox, &s3);
}

/// Of a stream: a snapshot of files has the times of the folders above them, too, and those of the system's temporary
/// folder change whenever some test makes a folder there.
fn assert_unchanged_costs_little(sandbox: &Sandbox, s3: &FaultProxy) {
    let back_up = || {
        let options = ["backup", "stdin", "--json", "--source", "unchanged", "--name", "dump.sql"];
        sandbox.feed(options, &noise(1_000_000, 77)).assert_code(0).one("backup")
    };
    let _first = back_up();
    s3.forget();
    let report = back_up();
    assert_eq!((&report["new_bytes"], &report["stored_bytes"]), (&0.into(), &0.into()));
    assert_few_requests(s3);
}

fn assert_few_requests(s3: &FaultProxy) {
    let asked: Vec<String> =
        s3.seen().iter().map(|seen| format!("{} {}", seen.method, seen.text())).collect();
    assert!(asked.len() <= 6, "{} requests: {asked:#?}", asked.len());
}

#[test]
fn what_is_unchanged_costs_few_requests() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    minio.client().create_bucket("frugal").unwrap();
    let s3 = FaultProxy::start(minio.address()).unwrap();
    let sandbox = Sandbox::on_aws("s3://frugal", minio.root(), &s3.endpoint(), NOBODY);
    let _made = sandbox.run(["init"]).assert_code(0);
    for number in 0..300 {
        sandbox.write(format!("work/{}/{number}", number % 10), noise(2000, number));
    }
    sandbox.write("work/large", noise(40 << 20, 1));
    let _first = sandbox.backup(["files", "work", "--source", "work"]);
    assert_unchanged_costs_little(&sandbox, &s3);
    // Nor does a list of what there is.
    s3.forget();
    assert!(sandbox.snapshots().len() >= 2);
    assert_few_requests(&s3);
    assert_eq!(s3.count(Kind::Delete), 0);
    sandbox.assert_clean();
}

#[test]
fn trouble_with_the_kms_is_named() {
    let Some(cloud) = Cloud::start("trouble") else { return };
    let arn = cloud.key("alias/trouble");
    let sandbox = cloud.sandbox("s3://trouble/p");
    let _made = sandbox.run(["init", "--recipient", "aws-kms:alias/trouble"]).assert_code(0);
    let id = sandbox.backup_stream("a", b"before");

    // Throttled, and then served.
    for fault in [KmsFault::Throttling, KmsFault::Internal] {
        cloud.proxy.fail_kms(fault, 3);
        cloud.calls();
        let _made = sandbox.backup_stream("a", b"meanwhile");
        assert!(cloud.calls().len() > 3);
    }

    // Not now, or not any more: nothing is written, and nothing that was is harmed.
    let before = sandbox.snapshots();
    for (fault, said) in [(KmsFault::Disabled, "disabled"), (KmsFault::PendingDeletion, "pending deletion")] {
        cloud.proxy.fail_kms(fault, u32::MAX);
        let said = [said, &arn, "kms:Decrypt", "hint: "];
        let _said = sandbox.run(["cat", &id]).assert_code(5).assert_says(said);
        let _said = sandbox.other_host().run(["snapshots"]).assert_code(5).assert_says(said);
        let _said = sandbox.feed(["backup", "stdin", "--name", "a"], b"x").assert_code(5).assert_says(said);
        cloud.proxy.heal_kms();
    }

    // A role that lacks one right is told which.
    for (action, command, purpose) in [
        ("kms:Decrypt", &["snapshots"][..], "purpose metadata"),
        ("kms:Decrypt", &["restore", &id, "--target", "x"], "purpose "),
        ("kms:GenerateDataKey", &["backup", "stdin", "--name", "a"], "purpose data"),
    ] {
        cloud.permit([denial(action, &arn)]);
        let _said = sandbox.feed(command, b"x").assert_code(5).assert_says([
            action,
            &arn,
            purpose,
            "access denied",
            "deploy/iam",
        ]);
        cloud.permit([]);
    }
    assert_eq!(sandbox.snapshots(), before);
    assert_eq!(sandbox.cat(&id, "a"), b"before");
    sandbox.assert_clean();
}

#[test]
fn keys_that_are_not_there_make_no_repository() {
    let Some(cloud) = Cloud::start("no-key") else { return };
    let arn = cloud.key("alias/known");
    let elsewhere = arn.replace("us-east-1", "eu-west-1");
    let sandbox = cloud.sandbox("s3://no-key/p");
    for (key, action, said) in [
        ("alias/nowhere", "kms:DescribeKey", "there is no such key in region us-east-1"),
        (&elsewhere, "kms:", "there is no such key in region eu-west-1"),
    ] {
        let _said = sandbox
            .run(["init", "--recipient", &format!("aws-kms:{key}")])
            .assert_code(5)
            .assert_says([key, action, said]);
    }
    for no_key in ["", "alias/", "arn:aws:s3:::bucket", "two words"] {
        let ran = sandbox.run(["init", "--recipient", &format!("aws-kms:{no_key}")]);
        assert!(matches!(ran.status.code(), Some(2 | 5)), "{ran}");
    }
    assert_eq!(cloud.minio.client().list("no-key", "").unwrap(), [""; 0], "nothing is left behind");
    let _made = sandbox.run(["init", "--recipient", &format!("aws-kms:{arn}")]).assert_code(0);
    let _found = sandbox.run(["snapshots"]).assert_code(0);
}

/// Two days of a dump, a restore of each by another host, and a check.
fn assert_days_come_back(sandbox: &Sandbox) {
    let _made = sandbox.run(["init", "--key-file", "own.key"]).assert_code(0);
    let host = sandbox.other_host();
    fs::copy(sandbox.path("own.key"), host.path("own.key")).unwrap();
    let key = ["--key-file", "own.key"];
    let mut days = Vec::new();
    for number in 1..=2 {
        let [_, (name, bytes)] = day(number);
        let backup = sandbox.feed(["--json", "backup", "stdin", "--name", name, key[0], key[1]], &bytes);
        let report = backup.assert_code(0).one("backup");
        if number > 1 {
            assert!(report["stored_bytes"].as_u64() < Some(2 << 20), "{report}");
        }
        days.push((id_of(&report), name, bytes));
    }
    for (id, name, bytes) in days {
        assert_restores(&host, &key, &id, &[(name, bytes)]);
    }
    for host in [sandbox, &host] {
        let checked = host.run(["check", "--read-data", "--keys", "--json", key[0], key[1]]).assert_code(0);
        assert_eq!(checked.one("check")["clean"], true);
    }
    let again = sandbox.run(["init", "--key-file", "other.key"]).assert_code(1);
    let _said = again.assert_says(["there is a repository at ", " already"]);
    assert!(!sandbox.path("other.key").exists(), "the key of nothing is not left behind");
}

#[test]
fn azure_keeps_a_repository() {
    let Some(server) = Azurite::shared().unwrap() else { return };
    server.create_container("box").unwrap();
    let account = [
        ("AZURE_STORAGE_ACCOUNT_NAME", azurite::ACCOUNT.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", azurite::KEY.to_owned()),
        ("STRONGROOM_ENDPOINT", server.account_endpoint()),
    ];
    assert_days_come_back(&Sandbox::remote("azure://box/Sicherung für ü/日本", account.clone()));
    let mut sandbox = Sandbox::remote("azure://nowhere/p", account);
    let _said = sandbox.run(["init"]).assert_code(1).assert_says(["azure://nowhere/p", "does not exist"]);
    sandbox.set("STRONGROOM_REPO", "azure://box/empty");
    let _said = sandbox
        .run(["snapshots"])
        .assert_code(1)
        .assert_says(["there is no repository at azure://box/empty"]);
    sandbox.set("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=");
    let _said = sandbox.run(["init"]).assert_code(5).assert_says(["azure://box/empty"]);
}

#[test]
fn google_keeps_a_repository() {
    let Some(server) = Gcs::shared().unwrap() else { return };
    server.create_bucket("bucket").unwrap();
    let endpoint = [("STRONGROOM_ENDPOINT", server.endpoint())];
    assert_days_come_back(&Sandbox::remote("gs://bucket/prod", endpoint.clone()));
    let mut sandbox = Sandbox::remote("gs://nowhere/p", endpoint);
    let _said = sandbox.run(["init"]).assert_code(1).assert_says(["gs://nowhere/p", "does not exist"]);
    sandbox.set("STRONGROOM_REPO", "gs://bucket/empty");
    let _said = sandbox
        .run(["snapshots"])
        .assert_code(1)
        .assert_says(["there is no repository at gs://bucket/empty"]);
}

#[test]
fn a_whole_bucket_of_moto_keeps_a_repository() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    moto.client().create_bucket("whole").unwrap();
    let credentials = moto::credentials("operator");
    assert_days_come_back(&Sandbox::on_aws("s3://whole", &credentials, &moto.endpoint(), NOBODY));
    assert!(folders(&moto.client(), "whole", "").contains("config"));
}

#[test]
fn a_hot_store_keeps_all_but_data_packs() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    let client = minio.client();
    for bucket in ["cold", "hot"] {
        client.create_bucket(bucket).unwrap();
    }
    let mut sandbox = Sandbox::on_aws("s3://cold/p", minio.root(), &minio.endpoint(), NOBODY);
    sandbox.set("STRONGROOM_HOT_STORE", "s3://hot/q");
    assert_days_come_back(&sandbox);
    assert_eq!(folders(&client, "cold", "p/"), BTreeSet::from(["packs".to_owned()]));
    let hot = folders(&client, "hot", "q/");
    let expected = ["config", "index", "journal", "keys", "meta"].map(str::to_owned);
    assert_eq!(hot, BTreeSet::from(expected));
    // Either of them alone is not the repository.
    sandbox.set("STRONGROOM_HOT_STORE", "");
    let _said =
        sandbox.run(["snapshots"]).assert_code(1).assert_says(["there is no repository at s3://cold/p"]);
}

#[test]
fn a_storage_class_is_for_data_packs_only() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let client = moto.client();
    client.create_bucket("classes").unwrap();
    let credentials = moto::credentials("operator");
    let mut sandbox = Sandbox::on_aws("s3://classes/p", &credentials, &moto.endpoint(), NOBODY);
    sandbox.set("STRONGROOM_STORAGE_CLASS", "STANDARD_IA");
    assert_days_come_back(&sandbox);
    let keys = client.list("classes", "p/").unwrap();
    assert!(keys.iter().any(|key| key.starts_with("p/packs/")), "{keys:?}");
    for key in keys {
        let head = accepted(client.s3("HEAD", &object("classes", &key), &[], b"").unwrap()).unwrap().head;
        let class = head.headers.first("x-amz-storage-class").unwrap_or("STANDARD").to_owned();
        let expected = if key.starts_with("p/packs/") { "STANDARD_IA" } else { "STANDARD" };
        assert_eq!(class, expected, "{key}");
    }
}

#[test]
fn mistakes_are_told_apart() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    minio.client().create_bucket("mistakes").unwrap();
    let mut sandbox = Sandbox::on_aws("s3://mistakes/p", minio.root(), &minio.endpoint(), NOBODY);
    for command in [&["init"][..], &["snapshots"]] {
        let run = |repository: &str| sandbox.run(command.iter().copied().chain(["--repo", repository]));
        for wrong in [
            "s3://",
            "s3:mistakes/p",
            "s3://key:secret@mistakes/p",
            "minio://mistakes/p",
            "s3://mistakes/../p",
        ] {
            let _said = run(wrong).assert_code(2).assert_says(["names no store"]);
        }
        let _said = run("s3://no-such-bucket/p")
            .assert_code(1)
            .assert_says(["s3://no-such-bucket/p", "does not exist"]);
    }
    let _said = sandbox
        .run(["snapshots"])
        .assert_code(1)
        .assert_says(["there is no repository at s3://mistakes/p", "hint: "]);
    let _said = sandbox.run(["init", "--storage-class", "LUKEWARM"]).assert_code(2).assert_says(["LUKEWARM"]);
    let _said =
        sandbox.run(["init", "--endpoint", "localhost:9000"]).assert_code(2).assert_says(["localhost:9000"]);
    let nobody = sandbox.run(["init", "--endpoint", NOBODY, "--retry-for", "1s"]);
    let _said = nobody.assert_code(1).assert_says(["no connection to s3://mistakes/p", NOBODY]);

    sandbox.set("AWS_SECRET_ACCESS_KEY", "wrong");
    let _said = sandbox.run(["init"]).assert_code(5).assert_says(["s3://mistakes/p", "secret"]);
    sandbox.set("AWS_ACCESS_KEY_ID", "nobody");
    let _said = sandbox
        .run(["init"])
        .assert_code(5)
        .assert_says(["s3://mistakes/p", "does not know these credentials"]);
    let url = "s3://mistakes/p";
    let endpoint = [("AWS_ENDPOINT_URL_S3", minio.endpoint()), ("AWS_REGION", "us-east-1".to_owned())];
    let _said = Sandbox::remote(url, endpoint)
        .run(["init"])
        .assert_code(5)
        .assert_says([url, "there are no credentials"]);
    assert_eq!(minio.client().list("mistakes", "").unwrap(), [""; 0], "nothing is left behind");
}
