//! `backup redis`, `restore` and `verify`, against real servers of each version.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::sandbox::{Sandbox, id_of};
use strongroom_tests::services::redis::{Redis, programs};

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

/// Every kind of value in every encoding; `hash_max` and the like are the servers' own.
const EVERYTHING: &str = "
    for i = 1, 600 do
        redis.call('SADD', 'set', 'member:' .. i) redis.call('HSET', 'hash', 'f' .. i, string.rep('v', i))
        redis.call('ZADD', 'zset', i * 1.5, 'm' .. i) redis.call('RPUSH', 'list', string.rep('x', 100) .. i)
        redis.call('SET', 'session:' .. i, 'user ' .. i) redis.call('XADD', 'stream', '1-' .. i, 'f', i, 'g', 'x')
    end
    redis.call('SADD', 'small set', 'b', 'a', '1') redis.call('SADD', 'numbers', 1, -2, 70000, 5000000000)
    redis.call('ZADD', 'small zset', 1, 'one', 2.5, 'two', '-inf', 'low') redis.call('HSET', 'small hash', 'b', 'x', 'a', '1')
    redis.call('RPUSH', 'small list', '1', 'two', '-3') redis.call('RPUSH', 'plain list', string.rep('y', 20000), 'z')
    redis.call('SET', 'text', string.rep('abcdefgh', 100000)) redis.call('SET', 'number', '-12345') redis.call('SET', '', 'of no name')
    redis.call('SET', 'binary', '\\0\\1\\255') redis.call('SETBIT', 'bits', 1000, 1) redis.call('PFADD', 'about', 'a', 'b')
    redis.call('GEOADD', 'places', 13.4, 52.5, 'Berlin') redis.call('SET', 'expiring', 'x', 'PX', 1000000000)
    redis.call('XGROUP', 'CREATE', 'stream', 'group', '0')
    redis.call('XREADGROUP', 'GROUP', 'group', 'reader', 'COUNT', '10', 'STREAMS', 'stream', '>')
    redis.call('XACK', 'stream', 'group', '1-1') redis.call('XDEL', 'stream', '1-5')
    redis.call('SELECT', 3) for i = 1, 200 do redis.call('SET', 'other:' .. i, i) end
    return redis.call('SELECT', 0)";

/// Fields that expire, which only some servers know.
const FIELDS: &str = "
    for i = 1, 600 do redis.call('HSET', 'fields', 'f' .. i, i) end
    redis.call('HPEXPIRE', 'fields', 1000000000, 'FIELDS', 2, 'f1', 'f600')
    redis.call('HSET', 'few fields', 'a', 1, 'b', 2)
    return redis.call('HPEXPIRE', 'few fields', 1000000000, 'FIELDS', 1, 'a')";

const LIBRARY: &str = "#!lua name=mylib\nredis.register_function('one', function() return 1 end)";

fn fill(server: &Redis) {
    server.eval(EVERYTHING).unwrap();
    if server.eval("return redis.call('HPTTL', 'x', 'FIELDS', 1, 'a')").is_ok() {
        server.eval(FIELDS).unwrap();
    }
    server.ask(&["FUNCTION", "LOAD", LIBRARY]).unwrap();
}

fn backup(sandbox: &Sandbox, server: &Redis) -> serde_json::Value {
    sandbox.backup(["redis", "--url", &server.url()])
}

fn empty_of(server: &Redis) -> Redis {
    Redis::start_of(server.program(), None, &DEBUG).unwrap()
}

fn keys(server: &Redis) -> String {
    server.ask(&["INFO", "keyspace"]).unwrap()
}

#[test]
fn everything_comes_back_by_id_and_a_restart_stores_nothing() {
    for server in &Redis::start_each(&DEBUG).unwrap() {
        everything_comes_back_by_id_and_a_restart_stores_nothing_on(server);
    }
}

fn everything_comes_back_by_id_and_a_restart_stores_nothing_on(server: &Redis) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_REDIS_BIN", server.binaries());
    fill(server);
    let first = backup(&sandbox, server);
    let day_1 = server.digest().unwrap();
    server.eval("for i = 1, 6 do redis.call('SET', 'session:' .. i, 'changed') end return redis.call('DEL', 'list')").unwrap();
    let second = backup(&sandbox, server);
    let day_2 = server.digest().unwrap();
    // The same in another order, and with other encodings.
    let restarted = server.restarted().unwrap();
    let third = backup(&sandbox, &restarted);
    let facts = |report: &serde_json::Value| {
        sandbox.run(["show", &id_of(report), "--json"]).assert_code(0).one("snapshot")["facts"].clone()
    };
    assert_eq!(facts(&second)["databases"], facts(&third)["databases"]);
    assert_ne!(facts(&first)["databases"], facts(&second)["databases"]);
    let bytes = |report: &serde_json::Value| report["new_bytes"].as_u64().unwrap();
    assert_eq!(bytes(&third), 0, "{third}");
    assert!(bytes(&second) < bytes(&first), "{second}");
    let listed = sandbox.run(["ls", &id_of(&first)]).assert_code(0);
    let _listed = listed.assert_prints(["databases/0", "databases/3", "functions"]);

    for (report, digest) in [(&first, &day_1), (&second, &day_2), (&third, &day_2)] {
        let id = id_of(report);
        // As a dump, as append-only files, and into a server that runs.
        let (dump, aof) = (sandbox.path(format!("{id}-dump")), sandbox.path(format!("{id}-aof")));
        let _dump = sandbox.run(["restore", &id, "--target", dump.to_str().unwrap()]).assert_code(0);
        let from_dump = Redis::start_of(server.program(), Some(&dump.join("dump.rdb")), &DEBUG).unwrap();
        assert_eq!(from_dump.digest().unwrap(), *digest);
        let _aof = sandbox.run(["restore", &id, "--target", aof.to_str().unwrap(), "--aof"]).assert_code(0);
        let from_aof = Redis::start_in(server.program(), &aof.join("appendonlydir"), &DEBUG).unwrap();
        assert_eq!(from_aof.digest().unwrap(), *digest);
        let running = empty_of(server);
        let restored =
            sandbox.run(["restore", &id, "--to", &running.url(), "--json"]).assert_code(0).one("restore");
        assert_eq!((running.digest().unwrap(), restored["functions"].as_u64()), (digest.clone(), Some(1)));
        assert_eq!(running.ask(&["FCALL", "one", "0"]).unwrap(), "1");
        let verified = sandbox.run(["verify", &id, "--json"]).assert_code(0).one("verify");
        assert_eq!(
            (verified["result"].as_str(), verified["databases"].as_array().unwrap().len()),
            (Some("good"), 3)
        );
    }
    // A server that already has its files keeps them.
    let again = [
        "restore",
        &id_of(&first),
        "--target",
        sandbox.path(format!("{}-dump", id_of(&first))).to_str().unwrap(),
    ]
    .map(str::to_owned);
    let _kept = sandbox.run(again).assert_code(1).assert_says(["is there already"]);
    let archive = sandbox.run(["restore", &id_of(&first), "--to-archive", "-"]).assert_code(0).stdout;
    assert!(archive.starts_with(b"REDIS00"));
    sandbox.assert_clean();
}

#[test]
fn parts_come_back_into_other_databases_and_beside_what_is_there() {
    for server in &Redis::start_each(&DEBUG).unwrap() {
        parts_come_back_on(server);
    }
}

fn parts_come_back_on(server: &Redis) {
    let sandbox = Sandbox::new();
    fill(server);
    let id = id_of(&backup(&sandbox, server));
    let target = empty_of(server);
    let url = target.url();
    let restore = |more: &[&str]| sandbox.run([&["restore", &id, "--to", &url], more].concat());

    let _which = restore(&["--into", "5"]).assert_code(2).assert_says(["--database"]);
    let _none = restore(&["--database", "7"]).assert_code(1).assert_says(["no database 7", "0, 3"]);
    let _number = restore(&["--database", "x"]).assert_code(2).assert_says(["is a number"]);
    let _one = restore(&["--database", "3", "--into", "5"]).assert_code(0).assert_prints(["200 keys"]);
    assert_eq!(target.run(target.client().args(["-n", "5", "DBSIZE"])).unwrap(), "200");
    let by_pattern =
        restore(&["--database", "0", "--include", "session:1?", "--exclude", "*9"]).assert_code(0);
    let _told = by_pattern.assert_prints(["restored 9 keys"]);
    assert_eq!(target.ask(&["GET", "session:10"]).unwrap(), "user 10");

    // What is there is in the way: all of it, or those keys.
    let before = keys(&target);
    let _full = restore(&[])
        .assert_code(1)
        .assert_says(["has 9 keys already; nothing was changed", "--drop-existing"]);
    let in_the_way = restore(&["--database", "0", "--include", "session:1*"]).assert_code(1);
    let _one = in_the_way.assert_says(["`session:10` is in database 0", "nothing was changed"]);
    assert_eq!(keys(&target), before);
    target.ask(&["SET", "session:10", "somebody's"]).unwrap();
    target.ask(&["SET", "own", "stays"]).unwrap();
    let _beside = restore(&["--database", "0", "--include", "session:2*"]).assert_code(0);
    let _over = restore(&["--database", "0", "--include", "session:1*", "--drop-existing"]).assert_code(0);
    assert_eq!(
        (target.ask(&["GET", "session:10"]).unwrap(), target.ask(&["GET", "own"]).unwrap()),
        ("user 10".into(), "stays".into())
    );

    let _whole = restore(&["--drop-existing"]).assert_code(0);
    assert_eq!(target.ask(&["EXISTS", "own"]).unwrap(), "0");
    target.run(target.client().args(["-n", "5", "FLUSHDB"])).unwrap();
    assert_eq!(target.digest().unwrap(), server.digest().unwrap());
    let _sql = restore(&["--table", "x"]).assert_code(2).assert_says(["--table"]);
}

#[test]
fn a_wrong_value_is_told() {
    for server in &Redis::start_each(&[]).unwrap() {
        a_wrong_value_is_told_on(server);
    }
}

fn a_wrong_value_is_told_on(server: &Redis) {
    let sandbox = Sandbox::new();
    fill(server);
    let id = id_of(&backup(&sandbox, server));
    for (command, told) in [
        ("SET session:77 wrong", "key `session:77` has another value"),
        ("HSET hash f9 wrong", "key `hash` has another value"),
        ("DEL stream", "key `stream` is missing"),
        ("SET planted x", "key `planted` was not backed up"),
        ("PERSIST expiring", "key `expiring` has another value"),
        ("FUNCTION FLUSH", "they are others"),
    ] {
        let programs = server.programs_that_first(&sandbox.path("programs"), command).unwrap();
        let ran = sandbox.run(["verify", &id, "--redis-bin", programs.to_str().unwrap()]);
        let _told = ran.assert_code(4).assert_prints([told, "NOT as it was"]);
    }
    let _sql = sandbox.run(["verify", &id, "--assert", "SELECT 1"]).assert_code(2);
    // In a server that runs, and is empty again.
    let empty = Redis::start_of(server.program(), None, &[]).unwrap();
    let _good = sandbox
        .run(["verify", &id, "--scratch-url", &empty.url()])
        .assert_code(0)
        .assert_prints(["as it was"]);
    assert_eq!(empty.ask(&["DBSIZE"]).unwrap(), "0");
    let busy = sandbox.run(["verify", &id, "--scratch-url", &server.url()]).assert_code(1);
    let _busy = busy.assert_says(["keys already"]);
}

/// More members than are sorted in memory, and values that are not held in it.
const LARGE: &str = "
    for i = 1, 2500 do redis.call('HSET', 'hash', string.rep(i, 9), string.rep('w' .. i, 800)) end
    for i = 1, 3000 do redis.call('RPUSH', 'list', string.rep('x' .. i, 300)) end
    return redis.call('SET', 'text', string.rep('abcdefgh', 600000))";

#[test]
fn large_values_are_sorted_outside_of_memory() {
    let Some(program) = programs().unwrap().into_iter().next() else { return };
    let server = Redis::start_of(&program, None, &DEBUG).unwrap();
    let sandbox = Sandbox::new();
    server.eval(LARGE).unwrap();
    let first = backup(&sandbox, &server);
    let restarted = server.restarted().unwrap();
    let second = backup(&sandbox, &restarted);
    assert_eq!(second["new_bytes"], 0, "{second}");
    let target = empty_of(&server);
    let restore = ["restore", &id_of(&first), "--to", &target.url(), "--drop-existing"].map(str::to_owned);
    let nowhere = ["--scratch-dir", "/nonexistent"].map(str::to_owned);
    let _nowhere =
        sandbox.run([&restore[..], &nowhere].concat()).assert_code(1).assert_says(["/nonexistent"]);
    let _restored = sandbox.run(restore).assert_code(0);
    assert_eq!(target.digest().unwrap(), server.digest().unwrap());
}
