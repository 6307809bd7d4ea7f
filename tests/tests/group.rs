//! Groups: workers that are processes of their own back up parts, some of them killed, and one commit joins them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::process::Command;

use serde_json::Value;
use strongroom_tests::noise::noise;
use strongroom_tests::patience::wait_for;
use strongroom_tests::proxy::fault::{Fault, FaultProxy, Kind, Rule};
use strongroom_tests::sandbox::{Running, Sandbox, run, start};
use strongroom_tests::services::aws::AwsClient;
use strongroom_tests::services::clickhouse::{ClickHouse, Version};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::redis::{Redis, programs};

/// A bucket, and a repository in a folder.
struct Place {
    sandbox: Sandbox,
    client: AwsClient,
    bucket: String,
}

impl Place {
    fn new(minio: &Minio, bucket: &str) -> Self {
        let client = minio.client();
        client.create_bucket(bucket).unwrap();
        for number in 0..60 {
            let key = format!("d{}/k{number}", number % 12);
            client.put(bucket, &key, &noise(1000 + number, number as u64)).unwrap();
        }
        client.put(bucket, "large/object", &noise(9 << 20, 77)).unwrap();
        let mut sandbox = Sandbox::new();
        for (name, value) in minio.root().environment() {
            sandbox.set(name, value);
        }
        sandbox.set("STRONGROOM_S3_ENDPOINT", minio.endpoint());
        Self { sandbox, client, bucket: bucket.to_owned() }
    }

    fn worker(&self, group: &str, shard: &str) -> Command {
        let words = ["--json", "backup", "s3", &self.bucket, "--shard", shard, "--requests", "1"];
        let mut command = self.sandbox.command(words);
        command.env("STRONGROOM_GROUP", group);
        command
    }

    fn part(&self, group: &str, shard: &str) -> Value {
        run(&mut self.worker(group, shard)).assert_code(0).one("part")
    }

    fn commit(&self, group: &str) -> Value {
        self.sandbox.run(["commit", "--group", group, "--json"]).assert_code(0).one("commit")
    }

    fn assert_restored(&self, snapshot: &str, to: &str) {
        self.client.create_bucket(to).unwrap();
        let _restored = self.sandbox.run(["restore", snapshot, "--to", &format!("s3://{to}")]).assert_code(0);
        let keys = self.client.list(&self.bucket, "").unwrap();
        assert_eq!(self.client.list(to, "").unwrap(), keys);
        for key in keys {
            assert!(
                self.client.get(to, &key).unwrap() == self.client.get(&self.bucket, &key).unwrap(),
                "{key}"
            );
        }
    }

    fn facts(&self, snapshot: &str) -> Value {
        self.sandbox.run(["show", snapshot, "--json"]).assert_code(0).one("snapshot")["facts"].clone()
    }
}

/// Until the worker has asked for what it will not get.
fn wait_for_the_middle(proxy: &FaultProxy) {
    let is_stuck = || {
        let seen = proxy.seen();
        let gets =
            |key: &str| seen.iter().filter(|one| one.kind == Kind::Get && one.text().contains(key)).count();
        gets("large/object") > 0
    };
    wait_for("a worker's request of the object that it is not given is waited for", is_stuck);
}

#[test]
fn workers_of_a_group_make_one_snapshot() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    let place = Place::new(minio, "grouped");
    let proxy = FaultProxy::start(minio.address()).unwrap();
    proxy.add(Rule::new(Fault::SlowDown).on(Kind::Get).at("large/object").forever());
    // Whose part the object is, the facts of an ordinary shard tell.
    let owner = (1..=3).find(|number| {
        let made = place.sandbox.backup([
            "s3",
            &place.bucket,
            "--shard",
            &format!("{number}/3"),
            "--source",
            "probe",
        ]);
        place.facts(made["snapshot"].as_str().unwrap())["prefixes"]["large"].is_array()
    });
    let stuck = owner.unwrap();
    let others: Vec<u32> = (1..=3).filter(|number| *number != stuck).collect();
    // Three processes side by side, one of which is killed in the middle.
    let running: Vec<Running> =
        others.iter().map(|number| start(&mut place.worker("one", &format!("{number}/3")))).collect();
    let mut doomed = place.worker("one", &format!("{stuck}/3"));
    doomed.env("STRONGROOM_S3_ENDPOINT", proxy.endpoint());
    let doomed = start(&mut doomed);
    wait_for_the_middle(&proxy);
    doomed.kill();
    for worker in running {
        assert_eq!(worker.finish().assert_code(0).one("part")["result"], "stored");
    }
    let refused = place.sandbox.run(["commit", "--group", "one"]).assert_code(1);
    let _named = refused.assert_says(["group `one`", "1 of its 3 parts is missing", &format!(": {stuck};")]);
    let before = place.sandbox.snapshots().len();
    // One waits, and the worker is started again, as a Job does.
    let waiting = place.sandbox.start(["commit", "--group", "one", "--parts", "3", "--wait", "2m", "--json"]);
    let mut again = place.worker("one", "auto/3");
    again.env("JOB_COMPLETION_INDEX", (stuck - 1).to_string());
    assert_eq!(run(&mut again).assert_code(0).one("part")["part"], stuck);
    let made = waiting.finish().assert_code(0).one("commit");
    let snapshot = made["snapshot"].as_str().unwrap();
    assert_eq!((&made["was_committed"], &made["source"]), (&false.into(), &"s3:grouped".into()));
    assert_eq!(place.sandbox.snapshots().len(), before + 1);
    // Whoever comes late finds it done.
    assert_eq!(place.commit("one")["snapshot"], snapshot);
    let late = place.part("one", &format!("{}/3", others[0]));
    assert_eq!((&late["result"], &late["snapshot"]), (&"committed".into(), &snapshot.into()));
    let facts = place.facts(snapshot);
    assert_eq!(
        (&facts["objects"], &facts["workers"], &facts["shard"]),
        (&61.into(), &3.into(), &Value::Null)
    );
    place.assert_restored(snapshot, "grouped-restored");
    // Tested, and the repository checked, by workers as well.
    let mut read = 0;
    for shard in ["1/2", "2/2"] {
        let _good = place.sandbox.run(["verify", snapshot, "--shard", shard]).assert_code(0);
        let words = ["check", "--read-data", "--shard", shard, "--json"];
        read += place.sandbox.run(words).assert_code(0).one("check")["packs_read"].as_u64().unwrap();
    }
    let all = place.sandbox.run(["check", "--read-data", "--json"]).assert_code(0).one("check");
    assert_eq!(all["packs_read"], read);
    let _usage = place.sandbox.run(["check", "--shard", "1/2"]).assert_code(2).assert_says(["--read-data"]);
    assert!(place.sandbox.cat(snapshot, "large/object") == noise(9 << 20, 77));
    place.sandbox.assert_clean();
    let counted = place.sandbox.run(["stats", "--json"]).assert_code(0).one("stats");
    assert_eq!(counted["parts"], 3);
    // Parts go when they are old; that the group was committed stays known.
    let prune = ["prune", "--grace", "0s", "--orphan-age", "0s", "--json"];
    let pruned = place.sandbox.run(prune).assert_code(0).one("prune");
    assert_eq!(pruned["parts"]["objects"], 3);
    assert_eq!(place.commit("one")["was_committed"], true);
    place.sandbox.assert_clean();

    // The next day nothing is read that is unchanged, whoever reads it.
    for number in 1..=3 {
        assert_eq!(place.part("two", &format!("{number}/3"))["new_bytes"], 0);
    }
    let second = place.commit("two");
    assert_eq!((&second["parent"], &second["new_bytes"]), (&snapshot.into(), &0.into()));
    assert_eq!(place.facts(second["snapshot"].as_str().unwrap())["read"], 0);

    // What nobody commits is garbage, and a commit that comes too late makes nothing.
    place.client.put(&place.bucket, "d1/new", b"new").unwrap();
    for number in 1..=3 {
        let _part = place.part("three", &format!("{number}/3"));
    }
    let _pruned = place.sandbox.run(prune).assert_code(0);
    let _late = place
        .sandbox
        .run(["commit", "--group", "three"])
        .assert_code(1)
        .assert_says(["no part of it is stored"]);
    assert_eq!(place.sandbox.snapshots().len(), before + 2);
    place.sandbox.assert_clean();
}

#[test]
fn workers_must_say_which_they_are() {
    let sandbox = Sandbox::new();
    let alone = sandbox.run(["backup", "s3", "b", "--group", "g"]).assert_code(2);
    let _told = alone.assert_says(["--shard I/N"]);
    let index = sandbox.run(["backup", "s3", "b", "--group", "g", "--shard", "auto/2"]).assert_code(2);
    let _told = index.assert_says(["JOB_COMPLETION_INDEX"]);
    let unknown = sandbox.run(["commit", "--group", "g"]).assert_code(1);
    let _told = unknown.assert_says(["no part of it is stored"]);
    let _usage = sandbox.run(["commit"]).assert_code(2);
}

#[test]
fn masters_of_a_cluster_are_read_by_workers() {
    let Some(program) = programs().unwrap().into_iter().next() else { return };
    let sandbox = Sandbox::new();
    let nodes = Redis::start_cluster(&program, 2).unwrap();
    for tag in 0..20 {
        let fill = "for i = 1, 100 do redis.call('RPUSH', KEYS[1] .. ':' .. i, i, i) end return 1";
        let key = format!("{{t{tag}}}");
        nodes[0].run(nodes[0].client().args(["-c", "EVAL", fill, "1", &key])).unwrap();
    }
    let sizes = || {
        nodes.iter().map(|node| node.ask(&["DBSIZE"]).unwrap().parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let before = sizes();
    let url = nodes[1].url();
    let worker = |shard: &str| {
        ["backup", "redis", "--url", &url, "--group", "g", "--shard", shard, "--json"].map(str::to_owned)
    };
    let few = sandbox.run(worker("3/3")).assert_code(1);
    let _told = few.assert_says(["2 masters, fewer than 3 workers"]);
    let running = ["2/2", "1/2"].map(|shard| sandbox.start(worker(shard)));
    for worker in running {
        assert_eq!(worker.finish().assert_code(0).one("part")["result"], "stored");
    }
    let made = sandbox.run(["commit", "--group", "g", "--json"]).assert_code(0).one("commit");
    let id = made["snapshot"].as_str().unwrap();
    let facts = sandbox.run(["show", id, "--json"]).assert_code(0).one("snapshot")["facts"].clone();
    assert_eq!((facts["keys"].as_u64(), facts["masters"].as_array().unwrap().len()), (Some(2000), 2));
    nodes.iter().for_each(|node| drop(node.ask(&["FLUSHALL"]).unwrap()));
    let _restored =
        sandbox.run(["restore", id, "--to", &nodes[0].url()]).assert_code(0).assert_prints(["2000 keys"]);
    assert_eq!(sizes(), before);
    // Into one server, where all keys are compared in their order.
    let mut verify = sandbox.command(["verify", id]);
    verify.env("STRONGROOM_REDIS_BIN", nodes[0].binaries());
    let _verified = run(&mut verify).assert_code(0).assert_prints(["2000 keys"]);
    let alone = sandbox.run(["backup", "redis", "--url", &url, "--shard", "1/2"]).assert_code(2);
    let _told = alone.assert_says(["--shard needs --group"]);
}

#[test]
fn shards_of_a_cluster_are_one_snapshot() {
    let Some(one) = ClickHouse::start(Version::Current).unwrap() else { return };
    let Some(two) = ClickHouse::start(Version::Current).unwrap() else { return };
    for (server, offset) in [(&one, 0), (&two, 1000)] {
        server
            .run(&format!(
                "CREATE DATABASE shop; \
                CREATE TABLE shop.orders (day Date, id UInt64) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY id; \
                INSERT INTO shop.orders SELECT toDate('2024-01-15') + number % 60, number + {offset} FROM numbers(500);"
            ))
            .unwrap();
    }
    let sandbox = Sandbox::new();
    let worker = |server: &ClickHouse, group: &str, shard: &str| {
        let url = server.url().unwrap();
        let words = ["backup", "clickhouse", "--url", &url, "--group", group, "--shard", shard, "--json"];
        sandbox.run(words).assert_code(0).one("part")
    };
    let ids = |server: &ClickHouse| server.query("SELECT count(), sum(id) FROM shop.orders").unwrap();
    let (first, second) = (ids(&one), ids(&two));
    // Two workers on one server are no cluster.
    let _parts = [worker(&one, "wrong", "1/2"), worker(&one, "wrong", "2/2")];
    let _told =
        sandbox.run(["commit", "--group", "wrong"]).assert_code(1).assert_says(["another server than"]);
    let _parts = [worker(&one, "g", "1/2"), worker(&two, "g", "2/2")];
    let made = sandbox.run(["commit", "--group", "g", "--json"]).assert_code(0).one("commit");
    let id = made["snapshot"].as_str().unwrap();
    let verify = ["verify", id, "--scratch-url", &one.url().unwrap()];
    let _verified = sandbox.run(verify).assert_code(0).assert_prints(["1000 rows"]);
    // Unchanged partitions are not read again.
    let parts = [worker(&one, "next", "1/2"), worker(&two, "next", "2/2")];
    assert!(parts.iter().all(|part| part["new_bytes"] == 0), "{parts:?}");
    let _next = sandbox.run(["commit", "--group", "next"]).assert_code(0);
    // Shard by shard, each into its own server; or all rows into one.
    for (server, shard, rows) in [(&one, "1/2", &first), (&two, "2/2", &second)] {
        server.query("DROP DATABASE shop").unwrap();
        let url = server.url().unwrap();
        let _done = sandbox.run(["restore", id, "--to", &url, "--shard", shard]).assert_code(0);
        assert_eq!(&ids(server), rows);
    }
    let all = ["restore", id, "--to", &one.url().unwrap(), "--drop-existing"];
    let _done = sandbox.run(all).assert_code(0).assert_prints(["1000 rows"]);
    let other = sandbox.run(["restore", id, "--to", &one.url().unwrap(), "--shard", "1/3"]).assert_code(1);
    let _told = other.assert_says(["shard 1 of 3"]);
}
