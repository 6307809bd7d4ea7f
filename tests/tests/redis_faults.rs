//! `backup redis` and `restore --to` when the server, the dump or the way to it fail: it says why, there is no snapshot, and
//! what was restored into is untouched, or said to be partial.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use rustix::process::Signal;
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Ran, Sandbox, id_of};
use strongroom_tests::services::redis::{FakeRedis, Redis, programs};

const INFO: &str = "redis_version:7.0.0\r\nredis_mode:standalone\r\nrole:master\r\nloading:0\r\n";

fn fill(server: &Redis) {
    server
        .eval("for i = 1, 2000 do redis.call('SET', 'key:' .. i, string.rep('v', 3000) .. i) end return 1")
        .unwrap();
}

#[track_caller]
fn fails(sandbox: &Sandbox, url: &str, more: &[&str]) -> Ran {
    let ran = sandbox.run([&["backup", "redis", "--url", url], more].concat()).assert_code(1);
    assert!(ran.stdout.is_empty() && sandbox.snapshots().is_empty(), "{ran}");
    ran
}

#[test]
fn a_server_that_cannot_be_read_is_said_and_makes_no_snapshot() {
    let sandbox = Sandbox::new();
    let _gone = fails(&sandbox, "redis://127.0.0.1:1", &[]).assert_says([
        "cannot connect to 127.0.0.1:1",
        "refused",
        "hint: is the server up",
    ]);
    let _url = fails(&sandbox, "http://:geheim@x", &[]).assert_says(["begins with redis://"]);
    let _socket = fails(&sandbox, "unix:///nonexistent/socket", &[]).assert_says(["/nonexistent/socket"]);
    for server in &Redis::start_each(&[]).unwrap() {
        server.ask(&["CONFIG", "SET", "requirepass", "geheim"]).unwrap();
        let address = server.url().replace("redis://", "");
        let _no = fails(&sandbox, &server.url(), &[]).assert_says(["NOAUTH", "REDISCLI_AUTH"]);
        let wrong = fails(&sandbox, &format!("redis://:falsch@{address}"), &[]).assert_says(["WRONGPASS"]);
        assert!(!wrong.stderr.contains("falsch"), "{wrong}");
        // A user with the rights that the documents name, and one with less.
        let user = |name: &str, rights: &[&str]| {
            let mut client = server.client();
            client
                .args(["-a", "geheim", "--no-auth-warning", "ACL", "SETUSER", name, "on", ">pw", "~*"])
                .args(rights);
            server.run(&mut client).unwrap();
            format!("redis://{name}:pw@{address}")
        };
        let less = user("less", &["+info"]);
        let _less = fails(&sandbox, &less, &[]).assert_says(["NOPERM", "+psync"]);
        let enough = user("backup", &["+info", "+psync", "+replconf"]);
        let other = Sandbox::new();
        let _report = other.backup(["redis", "--url", &enough]);
        let mut silent = Sandbox::new();
        silent.set("REDISCLI_AUTH", "geheim");
        let _report = silent.backup(["redis", "--url", &server.url()]);
    }
    for program in &programs().unwrap() {
        let replica = Redis::start_of(program, None, &["--replicaof", "127.0.0.1 1"]).unwrap();
        let _replica = fails(&sandbox, &replica.url(), &[])
            .assert_says(["link to its master is down", "no snapshot was made"]);
    }
}

#[test]
fn a_dump_that_is_wrong_or_breaks_off_makes_no_snapshot() {
    let Some(server) = Redis::start().unwrap() else { return };
    let sandbox = Sandbox::new();
    fill(&server);
    let dump = std::fs::read(server.save().unwrap()).unwrap();
    let with = |bytes: &[u8], announced: usize| {
        FakeRedis::start(INFO, [format!("+FULLRESYNC x 0\r\n\n${announced}\r\n").as_bytes(), bytes].concat())
            .unwrap()
    };
    // As it is, it is taken.
    let _good = Sandbox::new().backup(["redis", "--url", &with(&dump, dump.len()).url()]);
    let marked = [
        b"+FULLRESYNC x 0\r\n$EOF:".to_vec(),
        vec![b'm'; 40],
        b"\r\n".to_vec(),
        dump.clone(),
        vec![b'm'; 40],
    ]
    .concat();
    let _good =
        Sandbox::new().backup(["redis", "--url", &FakeRedis::start(INFO, marked.clone()).unwrap().url()]);

    let mut wrong = dump.clone();
    let middle = wrong.windows(8).position(|bytes| bytes == b"vvvvvvvv").unwrap_or(wrong.len() - 20);
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let _sum = fails(&sandbox, &with(&wrong, wrong.len()).url(), &[])
        .assert_says(["its checksum is wrong", "no snapshot was made"]);
    let mut flipped = dump.clone();
    flipped[middle] ^= 1;
    let _flipped =
        fails(&sandbox, &with(&flipped, flipped.len()).url(), &[]).assert_says(["no dump to keep"]);
    let half = &dump[..dump.len() / 2];
    let _half = fails(&sandbox, &with(half, dump.len()).url(), &[]).assert_says(["in the middle"]);
    let _length = fails(&sandbox, &with(&dump, dump.len() + 1).url(), &[])
        .assert_says(["of another length than announced"]);
    let mut newer = dump.clone();
    newer[5..9].copy_from_slice(b"0099");
    let _newer = fails(&sandbox, &with(&newer, newer.len()).url(), &[]).assert_says(["version 99"]);
    let cut = &marked[..marked.len() - 1];
    let _mark = fails(&sandbox, &FakeRedis::start(INFO, cut.to_vec()).unwrap().url(), &[])
        .assert_says(["in the middle"]);
    let refusing = |said: &str| FakeRedis::start(INFO, format!("{said}\r\n").into_bytes()).unwrap();
    let _link =
        fails(&sandbox, &refusing("-NOMASTERLINK Can't SYNC while not connected with my master").url(), &[])
            .assert_says(["NOMASTERLINK"]);
    let _unknown = fails(&sandbox, &refusing("-ERR unknown command 'PSYNC'").url(), &[])
        .assert_says(["unknown command", "managed services"]);
    let loading = FakeRedis::start(&INFO.replace("loading:0", "loading:1"), Vec::new()).unwrap();
    let _loading = fails(&sandbox, &loading.url(), &[]).assert_says(["loading a dump"]);

    // The only master of a cluster, from which slots begin to move, or have moved, while it is read.
    let cluster = INFO.replace("standalone", "cluster");
    let moving = |before: &str, after: &str| {
        let dump = [format!("+FULLRESYNC x 0\r\n\n${}\r\n", dump.len()).as_bytes(), &dump[..]].concat();
        FakeRedis::start_cluster(&cluster, dump, before, after).unwrap()
    };
    let _still = Sandbox::new().backup(["redis", "--url", &moving("0-16383", "0-16383").url()]);
    for after in ["0-16383 [5->-b]", "0-4 6-16383", "0-16383 [5-<-b]"] {
        let moved = fails(&sandbox, &moving("0-16383", after).url(), &[]);
        let _told = moved.assert_says(["slots are being moved", "run it again", "no snapshot was made"]);
    }

    // Killed, and interrupted, while the dump comes.
    for is_kill in [true, false] {
        let silent =
            FakeRedis::start_silent(INFO, [b"+FULLRESYNC x 0\r\n$999999999\r\n", half].concat()).unwrap();
        let running = sandbox.start(["backup", "redis", "--url", &silent.url()]);
        silent.wait_until_sent();
        if is_kill {
            running.kill();
        } else {
            running.signal(Signal::INT);
            let _interrupted = running.wait().assert_code(130);
        }
    }
    assert!(sandbox.snapshots().is_empty());
    sandbox.assert_clean();
}

#[test]
fn a_restore_that_cannot_be_leaves_the_server_as_it_was_or_says_partial() {
    let servers = Redis::start_each(&[]).unwrap();
    let Some(oldest) = servers.first() else { return };
    let sandbox = Sandbox::new();
    for server in &servers {
        fill(server);
    }
    let ids: Vec<String> = servers
        .iter()
        .map(|server| id_of(&sandbox.backup(["redis", "--url", &server.url(), "--source", &server.url()])))
        .collect();
    oldest.ask(&["FLUSHALL"]).unwrap();
    // Of a newer server into an older one.
    for id in ids.iter().skip(1) {
        let refused = sandbox.run(["restore", id, "--to", &oldest.url(), "--drop-existing"]).assert_code(1);
        let _told = refused.assert_says(["reads dumps up to version 10", "nothing was changed"]);
        assert_eq!(oldest.ask(&["DBSIZE"]).unwrap(), "0");
    }
    // An older dump into each.
    for server in &servers {
        let _taken =
            sandbox.run(["restore", &ids[0], "--to", &server.url(), "--drop-existing"]).assert_code(0);
        assert_eq!(server.ask(&["DBSIZE"]).unwrap(), "2000");
        let small = Redis::start_of(server.program(), None, &["--maxmemory", "4mb"]).unwrap();
        let full = sandbox.run(["restore", &ids[0], "--to", &small.url()]).assert_code(1);
        let written = small.ask(&["DBSIZE"]).unwrap();
        let _told = full.assert_says(["PARTIAL", &format!("{written} keys were written"), "OOM"]);
        // One that drops keys in place of refusing them says OK.
        let cache = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"];
        let cache = Redis::start_of(server.program(), None, &cache).unwrap();
        let dropped = sandbox.run(["restore", &ids[0], "--to", &cache.url()]).assert_code(1);
        let _told = dropped.assert_says(["PARTIAL", "evicted", "maxmemory-policy to noeviction"]);
        // Interrupted while it waits for what it was answered last.
        let paused = Redis::start_of(server.program(), None, &[]).unwrap();
        paused.ask(&["CLIENT", "PAUSE", "600000", "WRITE"]).unwrap();
        let running = sandbox.start(["restore", &ids[0], "--to", &paused.url()]);
        wait_for("a command that is held up is waited for", || {
            paused.ask(&["INFO", "clients"]).unwrap().contains("blocked_clients:1")
        });
        running.signal(Signal::INT);
        let interrupted = running.wait().assert_code(130);
        let interrupted =
            interrupted.assert_says(["0 keys were written", "PARTIAL", "interrupted", "--drop-existing"]);
        assert!(!interrupted.stderr.contains("nothing was committed"), "{interrupted}");
        let replica = Redis::start_of(server.program(), None, &["--replicaof", "127.0.0.1 1"]).unwrap();
        let _replica = sandbox
            .run(["restore", &ids[0], "--to", &replica.url()])
            .assert_code(1)
            .assert_says(["is a replica", "nothing was changed"]);
    }
    let stream = sandbox.backup_stream("x", b"data");
    let other = sandbox.run(["restore", &stream, "--to", &oldest.url()]).assert_code(2);
    let _other = other.assert_says(["a snapshot of stdin is restored into a folder"]);
}

#[test]
fn tls_is_spoken_with_who_is_believed() {
    let sandbox = Sandbox::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = sandbox.write("certificate.pem", made.cert.pem());
    let key = sandbox.write("key.pem", made.signing_key.serialize_pem());
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    for program in &programs().unwrap() {
        let server = Redis::start_with_tls(program, certificate, key).unwrap();
        server.ask(&["SET", "a", "1"]).unwrap();
        let url = server.tls_url();
        let _unknown = fails(&sandbox, &url, &[]).assert_says(["no TLS with 127.0.0.1", "--ca-file"]);
        let _plain = fails(&sandbox, &url.replace("rediss:", "redis:"), &[]).assert_says(["broke"]);
        // It wants to know who asks.
        let _nobody = fails(&sandbox, &url, &["--ca-file", certificate]);
        let known = format!("{url}?cert_file={certificate}&key_file={key}");
        let place = Sandbox::new();
        let report = place.backup(["redis", "--url", &known, "--ca-file", certificate]);
        server.ask(&["DEL", "a"]).unwrap();
        let to = format!("{known}&ca_file={certificate}");
        let _restored = place.run(["restore", &id_of(&report), "--to", &to]).assert_code(0);
        assert_eq!(server.ask(&["GET", "a"]).unwrap(), "1");
    }
}
