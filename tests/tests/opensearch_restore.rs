//! `restore --to` where a cluster makes indices otherwise than they were: a newer server, templates, nodes that are not there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::{Value, json};
use strongroom_tests::proxy::fault::FaultProxy;
use strongroom_tests::sandbox::{Ran, Sandbox, id_of};
use strongroom_tests::services::opensearch::{NEWER, OLDER, Opensearch};

fn put(server: &Opensearch, path: &str, body: &Value) {
    server.ask("PUT", path, &body.to_string()).unwrap();
}

fn restore(sandbox: &Sandbox, server: &Opensearch, id: &str, more: &[&str]) -> Ran {
    sandbox.run([&["restore", id, "--to", &server.url()][..], more].concat())
}

/// What an index is.
fn index(server: &Opensearch, name: &str) -> Value {
    server.ask("GET", &format!("/{name}"), "").unwrap()[name].clone()
}

fn backing(server: &Opensearch, stream: &str) -> Vec<String> {
    let found = server.ask("GET", &format!("/_data_stream/{stream}"), "").unwrap();
    let indices = found["data_streams"][0]["indices"].as_array().unwrap().clone();
    indices.iter().map(|index| index["index_name"].as_str().unwrap().to_owned()).collect()
}

/// An index and a data stream whose templates were changed since; and what both need.
fn make_all(server: &Opensearch) {
    put(
        server,
        "/_scripts/shout",
        &json!({ "script": { "lang": "painless", "source": "ctx.shouted = true" } }),
    );
    put(server, "/_ingest/pipeline/shouting", &json!({ "processors": [{ "script": { "id": "shout" } }] }));
    put(server, "/_search/pipeline/plain", &json!({ "description": "as it is" }));
    put(
        server,
        "/logs-000001",
        &json!({
            "settings": { "number_of_replicas": 0, "default_pipeline": "shouting", "max_result_window": 50,
                "routing": { "allocation": { "total_shards_per_node": 2 } } },
            "mappings": { "dynamic": "strict", "properties": { "number": { "type": "long" }, "shouted": { "type": "boolean" } } },
            "aliases": { "logs": { "is_write_index": true } },
        }),
    );
    let lines: String = (0..120)
        .map(|number| format!("{{\"index\":{{\"_id\":\"{number}\"}}}}\n{{\"number\":{number}}}\n"))
        .collect();
    let said = server.ask("POST", "/logs-000001/_bulk?refresh=true", &lines).unwrap();
    assert_eq!(said["errors"], false);

    let stream = json!({ "index_patterns": ["metrics-*"], "data_stream": {} });
    put(server, "/_index_template/metrics", &stream);
    server.ask("PUT", "/_data_stream/metrics-cpu", "").unwrap();
    put(server, "/metrics-cpu/_mapping", &json!({ "properties": { "host": { "type": "keyword" } } }));
    for host in ["a", "b"] {
        let document = json!({ "@timestamp": "2026-01-01T00:00:00Z", "host": host });
        server.ask("PUT", "/metrics-cpu/_create/same?refresh=true", &document.to_string()).unwrap();
        if host == "a" {
            server.ask("POST", "/metrics-cpu/_rollover", "").unwrap();
            put(server, "/metrics-cpu/_mapping", &json!({ "properties": { "host": { "type": "keyword" } } }));
        }
    }

    put(
        server,
        "/_ingest/pipeline/stamp",
        &json!({ "processors": [{ "set": { "field": "stamped", "value": true } }] }),
    );
    let newer = json!({ "settings": { "final_pipeline": "stamp" }, "aliases": { "all-logs": {} },
        "mappings": { "properties": { "added": { "type": "keyword" } } } });
    put(server, "/_index_template/logs", &json!({ "index_patterns": ["logs-*"], "template": newer }));
    let mut stream = stream;
    stream["template"] = json!({ "settings": { "final_pipeline": "stamp", "max_result_window": 77 } });
    put(server, "/_index_template/metrics", &stream);
}

#[test]
fn indices_come_back_as_they_were_whatever_templates_say() {
    let Some(older) = Opensearch::start(OLDER).unwrap() else { return };
    let Some(newer) = Opensearch::start(NEWER).unwrap() else { return };
    let sandbox = Sandbox::new();
    make_all(&older);
    let id = id_of(&sandbox.backup(["opensearch", "--url", &older.url(), "--source", "search"]));
    all_of_it(&sandbox, &older, &newer, &id);
    beside_templates(&sandbox, &older, &newer, &id);
    what_cannot_be_restored_deletes_nothing(&sandbox, &newer, &id);
    nodes_that_are_not_there(&sandbox, &older, &newer);
    large_documents_after_small_ones(&sandbox, &older);
    sandbox.assert_clean();
}

/// Into an empty cluster of a newer version.
fn all_of_it(sandbox: &Sandbox, older: &Opensearch, newer: &Opensearch, id: &str) {
    let ran = restore(sandbox, newer, id, &[]).assert_code(0);
    assert!(!ran.to_string().contains("logs-000001 is not as it was"), "{ran}");
    let (was, is) = (index(older, "logs-000001"), index(newer, "logs-000001"));
    assert_eq!((&is["mappings"], &is["aliases"]), (&was["mappings"], &was["aliases"]));
    for setting in
        ["default_pipeline", "final_pipeline", "max_result_window", "routing", "number_of_replicas"]
    {
        let of = |index: &Value| index["settings"]["index"][setting].clone();
        assert_eq!(of(&is), of(&was), "{setting}");
    }
    // A page has no more than the index allows.
    let found = |server: &Opensearch, index: &str, query: &str| {
        let found = server.ask("POST", &format!("/{index}/_search?size=50&q={query}"), "").unwrap();
        let hits = found["hits"]["hits"].as_array().unwrap().clone();
        let mut documents: Vec<String> =
            hits.iter().map(|hit| format!("{} {}", hit["_id"], hit["_source"])).collect();
        documents.sort();
        documents
    };
    for (index, query, count) in [("logs-000001", "number:%3E=80", 40), ("metrics-cpu", "*", 2)] {
        let was = found(older, index, query);
        assert_eq!((was.len(), found(newer, index, query)), (count, was));
    }
    assert_eq!(backing(newer, "metrics-cpu").len(), 2);
    for name in backing(newer, "metrics-cpu") {
        let is = index(newer, &name);
        assert_eq!(is["mappings"]["properties"]["host"], json!({ "type": "keyword" }));
        assert_eq!(is["settings"]["index"]["final_pipeline"], Value::Null);
        assert_eq!(is["settings"]["index"]["max_result_window"], Value::Null);
    }
    assert!(newer.ask("GET", "/_scripts/shout", "").unwrap()["found"].as_bool().unwrap());
    assert_eq!(newer.ask("GET", "/_search/pipeline/plain", "").unwrap()["plain"]["description"], "as it is");
    for template in ["logs", "metrics"] {
        newer.ask("GET", &format!("/_index_template/{template}"), "").unwrap();
    }
}

/// They are there now, and match.
fn beside_templates(sandbox: &Sandbox, older: &Opensearch, newer: &Opensearch, id: &str) {
    let again = ["--include", "logs-*", "--rename", "(.+)=$1_again"];
    let _named = restore(sandbox, newer, id, &again)
        .assert_code(0)
        .assert_says(["index logs-000001_again is not as it was in mapping properties.added.type"]);
    let count = newer.ask("GET", "/logs-000001_again/_count?q=stamped:true", "").unwrap();
    assert_eq!(count["count"], 0, "no pipeline of a template ran");
    assert_eq!(index(newer, "logs-000001_again")["aliases"], json!({}));
    let settings = index(newer, "logs-000001_again")["settings"]["index"].clone();
    assert_eq!((&settings["final_pipeline"], &settings["max_result_window"]), (&Value::Null, &json!("50")));
    newer.ask("DELETE", "/logs-000001_again", "").unwrap();

    let _no_template =
        restore(sandbox, newer, id, &["--include", "metrics-cpu", "--rename", "metrics-cpu=other"])
            .assert_code(1)
            .assert_says(["no index template that makes other a data stream: nothing was restored"]);
    let renamed = ["--include", "metrics-cpu", "--rename", "metrics-(.+)=metrics-$1_again"];
    let _renamed = restore(sandbox, newer, id, &renamed).assert_code(0);
    assert_eq!(backing(newer, "metrics-cpu_again").len(), backing(older, "metrics-cpu").len());
}

/// Whatever is wrong is found while everything is as it was.
fn what_cannot_be_restored_deletes_nothing(sandbox: &Sandbox, newer: &Opensearch, id: &str) {
    let uuid = |name: &str| index(newer, name)["settings"]["index"]["uuid"].clone();
    let before = uuid("logs-000001");
    let most = |most: Value| {
        let body = json!({ "persistent": { "cluster.max_shards_per_node": most } });
        put(newer, "/_cluster/settings", &body);
    };
    most(json!(1));
    let replaced = ["--include", "logs-*", "--drop-existing"];
    let _full = restore(sandbox, newer, id, &replaced).assert_code(1).assert_says([
        "index logs-000001 stays as it is",
        "nothing was restored",
        "maximum",
    ]);
    most(Value::Null);
    assert_eq!(uuid("logs-000001"), before);
    let _replaced = restore(sandbox, newer, id, &replaced).assert_code(0);
    assert!(uuid("logs-000001") != before);

    newer.ask("DELETE", "/logs-000001", "").unwrap();
    put(newer, "/logs-000002", &json!({ "aliases": { "logs": { "is_write_index": true } } }));
    let _two = restore(sandbox, newer, id, &["--include", "logs-*"])
        .assert_code(1)
        .assert_says(["write index logs-000002 of alias logs is there already: nothing was restored"]);
    newer.ask("DELETE", "/logs-000002", "").unwrap();
    put(newer, "/logs", &json!({}));
    let _name = restore(sandbox, newer, id, &["--include", "logs-*"])
        .assert_code(1)
        .assert_says(["index logs (in the snapshot an alias) is there already"]);
    newer.ask("DELETE", "/logs", "").unwrap();
    assert!(newer.ask("GET", "/logs-000001", "").is_err());
}

/// A snapshot of an index for nodes of a kind, in a cluster that has none.
fn nodes_that_are_not_there(sandbox: &Sandbox, older: &Opensearch, newer: &Opensearch) {
    // Nothing was ever written to it: it knows not even the number of a change.
    put(older, "/placed", &json!({ "settings": { "number_of_replicas": 0 } }));
    put(older, "/placed/_settings", &json!({ "index.routing.allocation.require.zone": "warm" }));
    let id = id_of(&sandbox.backup(["opensearch", "--url", &older.url(), "--index", "placed"]));
    let _nowhere = restore(sandbox, newer, &id, &["--include", "placed"])
        .assert_code(1)
        .assert_says(["no node of the cluster may have shard 0 of index placed", "zone:"]);
    assert!(newer.ask("GET", "/placed", "").is_err());
    let _anywhere = sandbox.run(["verify", &id, "--scratch-url", &newer.url()]).assert_code(0);
}

/// Pages are as large as what comes, not as what came.
fn large_documents_after_small_ones(sandbox: &Sandbox, older: &Opensearch) {
    const SMALL: u64 = 1700;
    const LARGE: u64 = 36;
    put(
        older,
        "/mixed",
        &json!({ "settings": { "number_of_replicas": 0 }, "mappings": { "enabled": false } }),
    );
    let load = |numbers: std::ops::Range<u64>, words: u64| {
        let document = |number: u64| {
            let word = |at: u64| format!("{:016x}", (number << 32 | at).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let text: String = (0..words).map(word).collect();
            format!("{{\"index\":{{\"_id\":\"{number}\"}}}}\n{{\"text\":\"{text}\"}}\n")
        };
        let said = older.ask("POST", "/mixed/_bulk?refresh=true", &numbers.map(document).collect::<String>());
        assert_eq!(said.unwrap()["errors"], false);
    };
    load(0..SMALL, 1);
    for four in 0..LARGE / 4 {
        load(SMALL + four * 4..SMALL + four * 4 + 4, 1 << 16);
    }
    let proxy = FaultProxy::start(older.address()).unwrap();
    let id = id_of(&sandbox.backup(["opensearch", "--url", &proxy.endpoint(), "--index", "mixed"]));
    let pages = proxy.seen().iter().filter(|seen| seen.text().starts_with("/_search?")).count();
    // 100, 400, 1600 that are too many, and so on; with pages as large as what came before it would be four.
    assert!(pages > 6, "{pages} pages");
    let lines = sandbox.cat(&id, "indices/mixed/documents/0");
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count() as u64, 2 * (SMALL + LARGE));
}
