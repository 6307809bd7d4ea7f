//! Clusters, sentinels and append-only files of Redis.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};

use strongroom_tests::sandbox::{Sandbox, id_of};
use strongroom_tests::services::redis::{Redis, programs};

const FILL: &str = "for i = 1, 300 do redis.call('RPUSH', KEYS[1] .. ':' .. i, i, i) end return 1";

#[test]
fn all_masters_of_a_cluster_are_one_snapshot_and_come_back_to_theirs() {
    let Some(program) = programs().unwrap().into_iter().next() else { return };
    let sandbox = Sandbox::new();
    let nodes = Redis::start_cluster(&program, 2).unwrap();
    for tag in 0..40 {
        // Each tag is one slot.
        let key = format!("{{t{tag}}}");
        nodes[0].run(nodes[0].client().args(["-c", "EVAL", FILL, "1", &key])).unwrap();
    }
    let sizes = || {
        nodes.iter().map(|node| node.ask(&["DBSIZE"]).unwrap().parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let before = sizes();
    assert!(before.iter().sum::<u64>() == 12_000 && before.iter().all(|keys| *keys > 0), "{before:?}");
    let id = id_of(&sandbox.backup(["redis", "--url", &nodes[1].url()]));
    let facts = sandbox.run(["show", &id, "--json"]).assert_code(0).one("snapshot")["facts"].clone();
    assert_eq!((facts["cluster"].as_bool(), facts["keys"].as_u64()), (Some(true), Some(12_000)));
    let masters = facts["masters"].as_array().unwrap();
    assert_eq!(masters.iter().map(|master| master["keys"].as_u64().unwrap()).collect::<Vec<_>>(), before);

    let _full =
        sandbox.run(["restore", &id, "--to", &nodes[0].url()]).assert_code(1).assert_says(["keys already"]);
    nodes.iter().for_each(|node| drop(node.ask(&["FLUSHALL"]).unwrap()));
    let _restored =
        sandbox.run(["restore", &id, "--to", &nodes[0].url()]).assert_code(0).assert_prints(["12000 keys"]);
    assert_eq!(sizes(), before);
    let _part = sandbox
        .run(["restore", &id, "--to", &nodes[1].url(), "--include", "{t7}*", "--drop-existing"])
        .assert_code(0)
        .assert_prints(["300 keys"]);
    // One master was emptied, and the other refuses it.
    nodes[1].ask(&["ACL", "SETUSER", "default", "-flushdb"]).unwrap();
    let torn = sandbox.run(["restore", &id, "--to", &nodes[0].url(), "--drop-existing"]).assert_code(1);
    let _told = torn.assert_says(["NOPERM", "0 keys were written", "PARTIAL"]);
    nodes[0].ask(&["ACL", "SETUSER", "default", "-flushdb"]).unwrap();
    let refused = sandbox.run(["restore", &id, "--to", &nodes[0].url(), "--drop-existing"]).assert_code(1);
    assert!(!refused.stderr.contains("PARTIAL"), "{refused}");
    // It fits a server that is alone as well, which is how it is tested.
    let mut alone = sandbox.command(["verify", &id]);
    alone.env("STRONGROOM_REDIS_BIN", nodes[0].binaries());
    let _verified = strongroom_tests::sandbox::run(&mut alone).assert_code(0).assert_prints(["12000 keys"]);
    // One that is not whole.
    let node = &nodes[0];
    node.ask(&["CLUSTER", "DELSLOTS", "5"]).unwrap();
    let broken = sandbox.run(["backup", "redis", "--url", &node.url()]).assert_code(1);
    let _told = broken.assert_says(["16383 of its 16384 slots have a master"]);
    assert_eq!(sandbox.snapshots().len(), 1);
}

#[test]
fn sentinels_say_who_is_the_master() {
    for server in &Redis::start_each(&[]).unwrap() {
        let sandbox = Sandbox::new();
        server.ask(&["SET", "a", "1"]).unwrap();
        let sentinel = Redis::start_sentinel(server, "main").unwrap();
        let url =
            |master: &str| format!("redis-sentinel://127.0.0.1:1,127.0.0.1:{}/{master}", sentinel.port());
        let id = id_of(&sandbox.backup(["redis", "--url", &url("main")]));
        server.ask(&["DEL", "a"]).unwrap();
        let _restored = sandbox.run(["restore", &id, "--to", &url("main")]).assert_code(0);
        assert_eq!(server.ask(&["GET", "a"]).unwrap(), "1");
        let unknown = sandbox.run(["backup", "redis", "--url", &url("other")]).assert_code(1);
        let _told = unknown.assert_says(["the master `other`", "does not know it"]);
        // One that is none any more, which the sentinel has not heard.
        server.ask(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
        let past = sandbox.run(["backup", "redis", "--url", &url("main")]).assert_code(1);
        let _told = past.assert_says(["which is a replica now", "no snapshot was made"]);
    }
}

#[test]
fn append_only_files_are_taken_while_they_grow() {
    for server in &Redis::start_each(&["--appendonly", "yes", "--appendfsync", "no"]).unwrap() {
        append_only_files_are_taken_while_they_grow_on(server);
    }
}

fn append_only_files_are_taken_while_they_grow_on(server: &Redis) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_REDIS_BIN", server.binaries());
    let rows = "for i = 1, 500 do redis.call('SET', 'before:' .. i, i) end return 1";
    server.eval(rows).unwrap();
    let stop = AtomicBool::new(false);
    let mut ids = Vec::new();
    std::thread::scope(|scope| {
        // Others write, and the server begins new files, all the time.
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                server
                    .eval(&format!(
                        "for i = {number}, {number} + 99 do redis.call('RPUSH', 'list', i) end return 1"
                    ))
                    .unwrap();
                number += 100;
                let _under_way = server.ask(&["BGREWRITEAOF"]);
            }
        });
        for _ in 0..3 {
            ids.push(id_of(&sandbox.backup(["redis", "--url", &server.url(), "--aof"])));
        }
        stop.store(true, Ordering::Relaxed);
    });
    for (number, id) in ids.iter().enumerate() {
        let folder = sandbox.path(format!("aof-{number}"));
        let _restored = sandbox.run(["restore", id, "--target", folder.to_str().unwrap()]).assert_code(0);
        let again =
            Redis::start_in(server.program(), &folder.join("appendonlydir"), &["--aof-load-truncated", "no"])
                .unwrap();
        assert_eq!(again.ask(&["GET", "before:500"]).unwrap(), "500");
        // As of one moment: each script whole or not at all, and nothing left out.
        let length: u64 = again.ask(&["LLEN", "list"]).unwrap().parse().unwrap();
        assert_eq!(length % 100, 0);
        if length > 0 {
            assert_eq!(again.ask(&["LINDEX", "list", "-1"]).unwrap(), (length - 1).to_string());
        }
        let _verified = sandbox.run(["verify", id]).assert_code(0).assert_prints(["as it was"]);
    }
    let shown = sandbox.run(["snapshots", "--json"]).assert_code(0).all("snapshot");
    assert!(shown.iter().all(|snapshot| snapshot["source"] == "redis-aof"), "{shown:?}");
    server.ask(&["CONFIG", "SET", "appendonly", "no"]).unwrap();
    let off = sandbox.run(["backup", "redis", "--url", &server.url(), "--aof"]).assert_code(1);
    let _told = off.assert_says(["writes no append-only file", "no snapshot was made"]);
    let nowhere = sandbox.run(["backup", "redis", "--url", &server.url(), "--dir", "/"]).assert_code(2);
    let _usage = nowhere.assert_says(["--aof"]);
}
