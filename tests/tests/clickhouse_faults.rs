//! `backup clickhouse`, `restore --to` and `verify` when something goes wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};

use rustix::process::Signal;
use strongroom_tests::http::percent_encoded;
use strongroom_tests::http::server::{Exchange, Next, Server};
use strongroom_tests::http::tls::TlsServer;
use strongroom_tests::sandbox::{Sandbox, id_of};
use strongroom_tests::services::clickhouse::{ClickHouse, PASSWORD, Version};

const SHOP: &str = "
CREATE DATABASE shop;
CREATE TABLE shop.orders (day Date, id UInt64, text String) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, id);
INSERT INTO shop.orders SELECT toDate('2024-01-01') + number % 60, number, concat('what was ordered ', toString(number * 977)) FROM system.numbers LIMIT 90000;
INSERT INTO shop.orders SELECT toDate('2024-01-01') + number % 31, number, 'again' FROM system.numbers LIMIT 600;
CREATE TABLE shop.remembered (id UInt64) ENGINE = Memory;
INSERT INTO shop.remembered SELECT number FROM system.numbers LIMIT 100;
";

fn each() -> Vec<ClickHouse> {
    let servers = ClickHouse::start_each().unwrap();
    for server in &servers {
        server.run(SHOP).unwrap();
    }
    servers
}

/// A proxy before a server; gives its URL, too.
fn before(
    server: &ClickHouse,
    handler: impl Fn(&mut Exchange<'_>, &str) -> io::Result<Next> + Send + Sync + 'static,
) -> (Server, String) {
    let proxy = Server::start(Some(server.address().unwrap()), move |exchange| {
        let inserted = exchange.request.parameter("query");
        let asked = match inserted {
            Some(query) => query,
            None => String::from_utf8_lossy(exchange.body()?).into_owned(),
        };
        handler(exchange, &asked)
    })
    .unwrap();
    let url = format!("http://default:{}@{}", percent_encoded(PASSWORD, true), proxy.address());
    (proxy, url)
}

fn reads_orders(asked: &str) -> bool {
    asked.starts_with("SELECT `") && asked.contains("`orders`") && asked.ends_with("FORMAT Native")
}

#[test]
fn a_server_that_cannot_be_used_is_told() {
    let sandbox = Sandbox::new();
    let backup = |url: &str| sandbox.run(["backup", "clickhouse", "--url", url]).assert_code(1);
    let _gone =
        backup("http://127.0.0.1:1").assert_says(["no snapshot was made", "127.0.0.1:1", "is the server up"]);
    let _url =
        sandbox.run(["backup", "clickhouse", "--url", "ftp://h"]).assert_code(2).assert_says(["http://"]);
    let tls = TlsServer::start().unwrap();
    let _untrusted = backup(&tls.endpoint).assert_says(["certificate"]);
    // Who trusts it gets an answer: that there is no such thing.
    let trusted = sandbox.write("ca.pem", &tls.certificate);
    let arguments = ["backup", "clickhouse", "--url", &tls.endpoint, "--ca-file", trusted.to_str().unwrap()];
    let _trusted = sandbox.run(arguments).assert_code(1).assert_says(["404", "NoSuchKey"]);
    for server in &each() {
        let address = server.address().unwrap();
        let _wrong = backup(&format!("http://default:wrong@{address}"))
            .assert_says(["assword", "CLICKHOUSE_PASSWORD"]);
        let none = ["backup", "clickhouse", "--url", &server.url().unwrap(), "--database", "none"];
        let _none = sandbox.run(none).assert_code(1).assert_says(["there is no database none", "shop"]);
    }
    assert!(sandbox.snapshots().is_empty());
}

#[test]
fn what_is_not_whole_becomes_no_snapshot() {
    for server in &each() {
        let sandbox = Sandbox::new();
        let refused = |url: &str| {
            let ran = sandbox.run(["backup", "clickhouse", "--url", url]).assert_code(1);
            assert!(sandbox.snapshots().is_empty());
            ran.assert_says(["no snapshot was made"])
        };
        // The connection breaks, or ends in order with less than there is.
        let (_proxy, url) = before(server, |exchange, asked| match reads_orders(asked) {
            true => {
                let answer = exchange.fetch()?;
                exchange.answer_in_part(&answer, answer.body.len() / 2)?;
                Ok(Next::Reset)
            }
            false => exchange.forward(),
        });
        let _reset = refused(&url).assert_says(["of shop.orders"]);
        let (_proxy, url) = before(server, |exchange, asked| match reads_orders(asked) {
            true => {
                let mut answer = exchange.fetch()?;
                answer.body.truncate(answer.body.len() / 2);
                exchange.answer(&answer)
            }
            false => exchange.forward(),
        });
        let _half = refused(&url).assert_says(["of shop.orders is not whole", "in the middle of a block"]);
        // The server itself gives up in the middle.
        let (_proxy, url) = before(server, |exchange, asked| {
            if reads_orders(asked) {
                let query = asked.replace("WHERE ", "WHERE NOT throwIf(id = 89999) AND ");
                exchange.request.target =
                    exchange.request.target.replace("max_block_size=65536", "max_block_size=500");
                exchange.replace_body(query.into_bytes());
            }
            exchange.forward()
        });
        let _thrown = refused(&url).assert_says(["of shop.orders is not whole", "it says: Code: 395"]);
        // Somebody drops a table meanwhile.
        let (direct, is_dropped) = (server.address().unwrap(), AtomicU32::new(0));
        let (_proxy, url) = before(server, move |exchange, asked| {
            if reads_orders(asked) && is_dropped.fetch_add(1, Ordering::SeqCst) == 0 {
                run(direct, "DROP TABLE shop.orders");
            }
            exchange.forward()
        });
        let _dropped = refused(&url).assert_says(["shop.orders", "Code: 60"]);
        sandbox.assert_clean();
    }
}

/// Runs a query beside a test's own.
fn run(address: std::net::SocketAddr, sql: &str) {
    use base64::Engine as _;
    use strongroom_tests::http::message::Request;
    let login = base64::prelude::BASE64_STANDARD.encode(format!("default:{PASSWORD}"));
    let request = Request::new("POST", "/").with("Authorization", &format!("Basic {login}"));
    let answer = strongroom_tests::http::send(address, &request, sql.as_bytes()).unwrap();
    assert_eq!(answer.head.status, 200, "{sql}: {}", answer.text());
}

#[test]
fn merges_and_inserts_go_on_meanwhile() {
    for server in &each() {
        let mut sandbox = Sandbox::new();
        server.query("SYSTEM STOP MERGES").unwrap();
        server.query("INSERT INTO shop.orders SELECT toDate('2024-01-01'), number, 'more' FROM system.numbers LIMIT 100").unwrap();
        server.query("SYSTEM START MERGES").unwrap();
        let (address, times) = (server.address().unwrap(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&times);
        let (_proxy, url) = before(server, move |exchange, asked| {
            // All parts that were listed are gone before they are read.
            if asked.contains("`orders` WHERE _part IN") && counted.fetch_add(1, Ordering::SeqCst) == 0 {
                run(address, "OPTIMIZE TABLE shop.orders PARTITION 202401 FINAL");
                run(
                    address,
                    "INSERT INTO shop.orders SELECT toDate('2024-02-01'), number, 'late' FROM system.numbers LIMIT 100",
                );
            }
            exchange.forward()
        });
        // As Kubernetes has it for a service of that name.
        sandbox.set("CLICKHOUSE_PORT", "tcp://10.0.0.1:8123");
        sandbox.set("CLICKHOUSE_SERVICE_PORT", "8123");
        let report = sandbox.backup(["clickhouse", "--url", &url, "--jobs", "1"]);
        assert!(times.load(Ordering::SeqCst) > 2);
        let id = id_of(&report);
        let shown = sandbox.run(["show", &id, "--json"]).assert_code(0);
        assert!(!shown.text().contains(PASSWORD) && !shown.text().contains("secret%3A"));
        let to = server.url().unwrap();
        let _restored = sandbox.run(["restore", &id, "--to", &to, "--into", "again"]).assert_code(0);
        let count = |table: &str| {
            server.query(&format!("SELECT count() FROM {table} WHERE toYYYYMM(day) = 202401")).unwrap()
        };
        assert_eq!(count("again.orders"), count("shop.orders"));
        let tested = sandbox.run(["verify", &id, "--scratch-url", &to]).assert_code(0);
        let _tested = tested.assert_prints(["as it was"]);
    }
}

/// Has the count of a table be done before its rows are read, and something happen in between.
#[derive(Default)]
struct Between {
    is_counted: Mutex<bool>,
    counted: Condvar,
}

impl Between {
    /// Passes on what is asked of `table`; `act` happens before its rows are read.
    fn pass(&self, exchange: &mut Exchange<'_>, asked: &str, act: impl FnOnce()) -> io::Result<Next> {
        if asked.contains("count() AS rows") {
            let passed = exchange.forward();
            *self.is_counted.lock().unwrap() = true;
            self.counted.notify_all();
            return passed;
        }
        let is_counted = self.is_counted.lock().unwrap();
        let mut is_counted = self.counted.wait_while(is_counted, |is_counted| !*is_counted).unwrap();
        // The next time it is counted again.
        *is_counted = false;
        drop(is_counted);
        act();
        exchange.forward()
    }
}

#[test]
fn what_changes_while_it_is_read_is_whole_or_said_not_to_be() {
    for server in &each() {
        let sandbox = Sandbox::new();
        server.query("SYSTEM STOP MERGES").unwrap();
        // The rows of this cannot be followed: what is counted says nothing of what is sent.
        server
            .query("CREATE TABLE shop.states (id UInt64, users AggregateFunction(uniq, UInt64)) ENGINE = MergeTree ORDER BY id")
            .unwrap();
        for rows in [1000, 500] {
            server.query(&format!("INSERT INTO shop.states SELECT number % 100 AS id, uniqState(number) FROM (SELECT number FROM system.numbers LIMIT {rows}) GROUP BY id")).unwrap();
        }
        let (address, states, times) = (server.address().unwrap(), Between::default(), AtomicU32::new(0));
        let (_proxy, url) =
            before(server, move |exchange, asked| match asked.contains("`states` WHERE _part IN") {
                true => states.pass(exchange, asked, || {
                    if times.fetch_add(1, Ordering::SeqCst) == 0 {
                        run(address, "SYSTEM START MERGES");
                        run(address, "OPTIMIZE TABLE shop.states FINAL");
                    }
                }),
                false => exchange.forward(),
            });
        let id = id_of(&sandbox.backup(["clickhouse", "--url", &url]));
        let to = server.url().unwrap();
        let _restored = sandbox.run(["restore", &id, "--to", &to, "--into", "again"]).assert_code(0);
        let sum = |database: &str| {
            server.query(&format!("SELECT count(), uniqMerge(users) FROM {database}.states")).unwrap()
        };
        assert_eq!((&*sum("again"), &*sum("shop")), ("200\t1000\n", "200\t1000\n"));
        // A table without parts, into which somebody inserts whenever it was counted.
        let remembered = Between::default();
        let (_proxy, url) =
            before(server, move |exchange, asked| match asked.contains("FROM `shop`.`remembered`") {
                true => remembered
                    .pass(exchange, asked, || run(address, "INSERT INTO shop.remembered VALUES (1)")),
                false => exchange.forward(),
            });
        let changing = sandbox.run(["backup", "clickhouse", "--url", &url]).assert_code(3);
        let _told = changing.assert_says(["shop.remembered changes all the time"]);
        assert_eq!(sandbox.snapshots().len(), 2);
    }
}

#[test]
fn what_is_hidden_or_left_out_is_told() {
    for server in &each() {
        let sandbox = Sandbox::new();
        server.query("CREATE TABLE shop.seen (id UInt64) ENGINE = Set").unwrap();
        server.query("CREATE TABLE shop.file (id UInt64) ENGINE = File(TabSeparated)").unwrap();
        // A replica that is behind: what the server answers is changed on its way.
        let (_proxy, url) = before(server, |exchange, asked| {
            let mut answer = match asked {
                asked if asked.contains("create_table_query") || asked.contains("FROM system.replicas") => {
                    exchange.fetch()?
                }
                _ => return exchange.forward(),
            };
            assert_eq!(answer.head.status, 200, "{asked}: {}", answer.text());
            answer.body = match asked.contains("create_table_query") {
                true => answer
                    .text()
                    .replace(r#""engine":"MergeTree""#, r#""engine":"ReplicatedMergeTree""#)
                    .into(),
                false => {
                    br#"{"database":"shop","table":"orders","is_readonly":0,"delay_seconds":7,"inserts":2}"#
                        .to_vec()
                }
            };
            exchange.answer(&answer)
        });
        let _named = sandbox.run(["backup", "clickhouse", "--url", &url]).assert_code(0).assert_says([
            "the rows of shop.seen (Set) are not backed up",
            "the rows of shop.file (File) are not backed up",
            "shop.orders is backed up as this replica has it, which has 2 inserts of others still to fetch, is 7 seconds behind",
        ]);
        // Rows that are marked as deleted are no rows any more; rows that a policy hides are.
        let is_current = server.version() == Version::Current;
        if is_current {
            server.query("DELETE FROM shop.orders WHERE id = 5").unwrap();
            let _deleted = sandbox.backup(["clickhouse", "--url", &server.url().unwrap()]);
        }
        let (_proxy, url) = before(server, move |exchange, asked| {
            if asked.contains("`orders` WHERE _part IN") {
                assert_eq!(exchange.request.parameter("final").as_deref(), is_current.then_some("0"));
                let query = asked.replace("WHERE _part IN", "WHERE id != 50 AND _part IN");
                exchange.replace_body(query.into_bytes());
            }
            exchange.forward()
        });
        let hidden = sandbox.run(["backup", "clickhouse", "--url", &url, "--force"]).assert_code(1);
        let _told = hidden.assert_says([
            "rows of partition 20240",
            "of shop.orders",
            "a row policy",
            "no snapshot was made",
        ]);
        if is_current {
            what_makes_a_database_is_told_by_the_server(server, &sandbox);
        }
    }
}

/// It is not guessed.
fn what_makes_a_database_is_told_by_the_server(server: &ClickHouse, sandbox: &Sandbox) {
    let answering = |status: u16, body: &'static str| {
        before(server, move |exchange, asked| match asked.starts_with("SHOW CREATE DATABASE `shop`") {
            true => {
                let mut answer = exchange.fetch()?;
                answer.head.status = status;
                answer.body = body.into();
                exchange.answer(&answer)
            }
            false => exchange.forward(),
        })
    };
    let (_proxy, url) = answering(500, "Code: 497. DB::Exception: not enough privileges");
    let refused = sandbox.run(["backup", "clickhouse", "--url", &url]).assert_code(1);
    let _told = refused.assert_says(["what makes database shop", "Code: 497", "no snapshot was made"]);
    let (_proxy, url) =
        answering(200, r#"{"statement":"CREATE DATABASE shop ENGINE = MySQL('h', 'd', 'u', '[HIDDEN]')"}"#);
    let hidden = sandbox.run(["backup", "clickhouse", "--url", &url]).assert_code(0);
    let _told = hidden.assert_says(["hides a secret in what makes database shop"]);
}

#[test]
fn a_restore_that_is_interrupted_says_that_it_is_partial() {
    let Some(server) = ClickHouse::start(Version::Old).unwrap() else { return };
    server.run(SHOP).unwrap();
    let sandbox = Sandbox::new();
    let id = id_of(&sandbox.backup(["clickhouse", "--url", &server.url().unwrap()]));
    // The server breaks off, or says nothing any more: then the run ends all the same, and says what there is.
    for is_stuck in [false, true] {
        let ((come, came), (go_on, goes_on)) = (channel(), channel());
        let (inserts, ends) = (AtomicU32::new(0), Mutex::new((come, goes_on)));
        let (_proxy, url) = before(&server, move |exchange, asked| {
            if asked.starts_with("INSERT") && inserts.fetch_add(1, Ordering::SeqCst) == 1 {
                let ends = ends.lock().unwrap();
                ends.0.send(()).unwrap();
                let _until_then: Result<(), _> = ends.1.recv();
                return Ok(Next::Reset);
            }
            exchange.forward()
        });
        let into = if is_stuck { "stuck" } else { "partly" };
        let mut running = sandbox.start(["restore", &id, "--to", &url, "--into", into]);
        came.recv().unwrap();
        running.signal(Signal::INT);
        running.wait_until_it_says("interrupted, stopping");
        if !is_stuck {
            go_on.send(()).unwrap();
        }
        let ran = running.wait();
        drop(go_on);
        let mut ran = ran.assert_code(130).assert_says(["--drop-existing"]);
        if !is_stuck {
            ran = ran.assert_says(["the restore stopped at partly.orders; 1 of 3 partitions"]);
        }
        assert!(!ran.stderr.contains("nothing was committed"), "{ran}");
    }
}

#[test]
fn a_restore_that_stops_says_how_far_it_came() {
    for server in &each() {
        let sandbox = Sandbox::new();
        let id = id_of(&sandbox.backup(["clickhouse", "--url", &server.url().unwrap()]));
        let inserts = AtomicU32::new(0);
        let (_proxy, url) = before(server, move |exchange, asked| {
            match asked.starts_with("INSERT") && inserts.fetch_add(1, Ordering::SeqCst) == 1 {
                true => Ok(Next::Reset),
                false => exchange.forward(),
            }
        });
        let ran = sandbox.run(["restore", &id, "--to", &url, "--into", "partly"]).assert_code(1);
        let _ran =
            ran.assert_says(["the restore stopped at partly.", "1 of 3 partitions", "--drop-existing"]);
        let to = server.url().unwrap();
        let again = sandbox.run(["restore", &id, "--to", &to, "--into", "partly", "--drop-existing"]);
        let _again = again.assert_code(0);
        assert_eq!(server.query("SELECT count() FROM partly.orders").unwrap(), "90600\n");
    }
}

#[test]
fn a_wrong_value_is_found() {
    for server in &each() {
        let sandbox = Sandbox::new();
        let _day = sandbox.backup(["clickhouse", "--url", &server.url().unwrap()]);
        let (address, planted) = (server.address().unwrap(), Mutex::new(false));
        let (_proxy, url) = before(server, move |exchange, asked| {
            let mut planted = planted.lock().unwrap();
            if asked.contains("groupBitXor") && asked.contains("`remembered`") && !*planted {
                *planted = true;
                let database = asked.split("FROM `").nth(1).unwrap().split('`').next().unwrap();
                run(address, &format!("DROP TABLE {database}.remembered"));
                run(address, &format!("CREATE TABLE {database}.remembered (id UInt64) ENGINE = Memory"));
                run(
                    address,
                    &format!(
                        "INSERT INTO {database}.remembered SELECT if(number = 7, 8, number) FROM system.numbers LIMIT 100"
                    ),
                );
            }
            drop(planted);
            exchange.forward()
        });
        let tested = sandbox.run(["verify", "--scratch-url", &url]).assert_code(4);
        let _tested = tested
            .assert_prints(["shop.remembered has other values than were backed up", "does NOT restore"]);
    }
}

#[test]
fn an_old_snapshot_fits_a_new_server_and_not_the_other_way_round() {
    let (Some(old), Some(current)) =
        (ClickHouse::start(Version::Old).unwrap(), ClickHouse::start(Version::Current).unwrap())
    else {
        return;
    };
    let sandbox = Sandbox::new();
    old.run(SHOP).unwrap();
    let id = id_of(&sandbox.backup(["clickhouse", "--url", &old.url().unwrap()]));
    let to = current.url().unwrap();
    let _restored = sandbox.run(["restore", &id, "--to", &to]).assert_code(0);
    let sum = "SELECT count(), sum(id), sum(cityHash64(text)) FROM shop.orders";
    assert_eq!(old.query(sum).unwrap(), current.query(sum).unwrap());
    // Fingerprints are the same in both.
    let _tested = sandbox.run(["verify", &id, "--scratch-url", &to]).assert_code(0);
    let newer = id_of(&sandbox.backup(["clickhouse", "--url", &to, "--source", "newer"]));
    let refused =
        sandbox.run(["restore", &newer, "--to", &old.url().unwrap(), "--into", "newer"]).assert_code(1);
    let _refused = refused.assert_says(["18.16", "26.9", "nothing was changed"]);
    assert_eq!(old.query("SELECT count() FROM system.databases WHERE name = 'newer'").unwrap(), "0\n");
}
