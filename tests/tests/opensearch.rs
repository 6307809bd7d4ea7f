//! `backup opensearch`, `restore --to` and `verify`, against real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::{Value, json};
use strongroom_tests::http::tls::TlsServer;
use strongroom_tests::proxy::fault::{Fault, FaultProxy, Rule};
use strongroom_tests::sandbox::{Ran, Sandbox, id_of};
use strongroom_tests::services::opensearch::{NEWER, OLDER, Opensearch, Version};

const DOCUMENTS: u64 = 3000;

/// Many documents at once; what `_id` and `_source` are says the number.
fn index(server: &Opensearch, index: &str, numbers: impl Iterator<Item = u64>, day: u64) {
    let mut lines = String::new();
    for number in numbers {
        // What compresses badly: else all that is stored would be the padding.
        let scattered = |at: u64| (number * 131 + at).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8;
        let text: String = (0..80).map(|at| format!("{:x} ", scattered(at))).collect();
        let document = json!({ "number": number, "day": day, "text": text, "nested": [{ "a": number % 7 }, { "a": null }] });
        lines.push_str(&format!(
            "{{\"index\":{{\"_id\":\"id {number}/ä\",\"routing\":\"r{}\"}}}}\n{document}\n",
            number % 5
        ));
    }
    let said = server.ask("POST", &format!("/{index}/_bulk?refresh=true"), &lines).unwrap();
    assert_eq!(said["errors"], false);
}

fn make_all(server: &Opensearch) {
    let settings = json!({
        "settings": { "number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "7s",
            "analysis": { "analyzer": { "own": { "type": "custom", "tokenizer": "whitespace" } } } },
        "mappings": { "properties": { "text": { "type": "keyword", "index": false, "doc_values": false }, "title": { "type": "text", "analyzer": "own" }, "nested": { "type": "nested" } } },
        "aliases": { "logs": { "is_write_index": true }, "sevens": { "filter": { "term": { "number": 7 } } } },
    });
    server.ask("PUT", "/logs-2026", &settings.to_string()).unwrap();
    index(server, "logs-2026", 0..DOCUMENTS, 1);
    // As people write it, and with what JSON knows.
    server
        .ask(
            "PUT",
            "/other/_doc/1?refresh=true",
            "{\n  \"a\" : 1.0,\r\n \"b\":\"line\\nbreak \\u00e4\", \"c\": 1e3 }",
        )
        .unwrap();
    server.ask("PUT", "/.hidden-one/_doc/1?refresh=true", "{}").unwrap();
    server
        .ask("PUT", "/_ingest/pipeline/noted", r#"{"processors":[{"set":{"field":"noted","value":true}}]}"#)
        .unwrap();
    server
        .ask("PUT", "/_index_template/metrics", r#"{"index_patterns":["metrics-*"],"data_stream":{},"template":{"settings":{"number_of_shards":1,"number_of_replicas":0}}}"#)
        .unwrap();
    for number in 0..5 {
        let document = json!({ "@timestamp": "2026-01-01T00:00:00Z", "value": number });
        server.ask("POST", "/metrics-cpu/_doc?refresh=true", &document.to_string()).unwrap();
        if number == 2 {
            server.ask("POST", "/metrics-cpu/_rollover", "").unwrap();
        }
    }
}

fn backup(sandbox: &Sandbox, server: &Opensearch, more: &[&str]) -> Value {
    sandbox.backup([&["opensearch", "--url", &server.url(), "--source", "search"][..], more].concat())
}

fn restore(sandbox: &Sandbox, server: &Opensearch, id: &str, more: &[&str]) -> Ran {
    sandbox.run([&["restore", id, "--to", &server.url()][..], more].concat())
}

#[test]
fn the_older_one_is_backed_up_and_comes_back() {
    on(OLDER);
}

#[test]
fn the_newer_one_is_backed_up_and_comes_back() {
    on(NEWER);
}

fn on(version: Version) {
    let Some(mut server) = Opensearch::start(version).unwrap() else { return };
    let sandbox = Sandbox::new();
    make_all(&server);
    days(&sandbox, &mut server);
    a_bad_day(&sandbox, &server);
    parts(&sandbox, &server);
    faults(&sandbox, &server);
    a_wrong_document_is_told(&sandbox, &server);
    sandbox.assert_clean();
}

fn days(sandbox: &Sandbox, server: &mut Opensearch) {
    let first = backup(sandbox, server, &[]);
    let on_day_1 = server.documents("logs-2026").unwrap();
    // By scroll it is the same, and read again when it is asked for.
    let scrolled = backup(sandbox, server, &["--scroll", "--force"]);
    assert_eq!(scrolled["new_bytes"], 0, "{scrolled}");

    index(server, "logs-2026", (0..DOCUMENTS).filter(|number| number % 100 == 3), 2);
    index(server, "logs-2026", DOCUMENTS..DOCUMENTS + 60, 2);
    server.ask("DELETE", "/logs-2026/_doc/id%2017%2F%C3%A4?routing=r2&refresh=true", "").unwrap();
    let second = backup(sandbox, server, &[]);
    let on_day_2 = server.documents("logs-2026").unwrap();
    assert_eq!(on_day_2.len() as u64, DOCUMENTS + 59);
    let stored = |backup: &Value| backup["stored_bytes"].as_u64().unwrap();
    assert!(stored(&second) * 5 < stored(&first), "{second}");

    // Its files become others, the order of its documents does not.
    server.ask("POST", "/logs-2026/_forcemerge?max_num_segments=1", "").unwrap();
    server.restart().unwrap();
    let third = backup(sandbox, server, &[]);
    assert!(stored(&third) * 100 < stored(&first), "{third}");
    let again = backup(sandbox, server, &["--force"]);
    assert_eq!(again["new_bytes"], 0, "{again}");

    let aliases = server.ask("GET", "/logs-2026", "").unwrap()["logs-2026"]["aliases"].clone();
    for (backup, documents) in [(first, &on_day_1), (second, &on_day_2), (third, &on_day_2)] {
        let id = id_of(&backup);
        let refused = restore(sandbox, server, &id, &[]).assert_code(1);
        let _refused = refused.assert_says([
            "index logs-2026, data stream metrics-cpu, index other are there already",
            "--drop-existing",
        ]);
        let _whole = restore(sandbox, server, &id, &["--drop-existing"]).assert_code(0);
        assert!(server.documents("logs-2026").unwrap() == *documents, "{id} differs");
        let found = server.ask("GET", "/logs-2026", "").unwrap()["logs-2026"].clone();
        assert_eq!(found["aliases"], aliases);
        assert_eq!(found["settings"]["index"]["refresh_interval"], "7s");
        assert_eq!(found["mappings"]["properties"]["nested"]["type"], "nested");
        assert_eq!(server.documents("metrics-cpu").unwrap().len(), 5);
        assert_eq!(server.documents("other").unwrap()["1"]["_source"]["b"], "line\nbreak ä");
    }
    // Nobody wrote to what was restored either.
    let restored = backup(sandbox, server, &[]);
    let same = backup(sandbox, server, &[]);
    assert_eq!((&same["bytes"], &same["new_bytes"]), (&restored["bytes"], &json!(0)));
}

fn parts(sandbox: &Sandbox, server: &Opensearch) {
    let id = id_of(&backup(sandbox, server, &[]));
    let renamed = ["--include", "logs-*", "--rename", "logs-(.+)=restored-$1"];
    let _said = restore(sandbox, server, &id, &renamed)
        .assert_code(0)
        .assert_prints(["restored 1 indices (3059 documents"]);
    assert!(server.documents("restored-2026").unwrap() == server.documents("logs-2026").unwrap());
    assert_eq!(
        server.ask("GET", "/restored-2026/_alias", "").unwrap()["restored-2026"]["aliases"],
        json!({})
    );

    let switched = [&renamed[..], &["--drop-existing", "--switch-aliases", "--json"]].concat();
    let said = restore(sandbox, server, &id, &switched).assert_code(0).one("restore");
    assert_eq!((&said["documents"], &said["aliases"]), (&json!(3059), &json!(2)));
    let named = server.ask("GET", "/_alias/logs", "").unwrap();
    assert_eq!(named.as_object().unwrap().keys().collect::<Vec<_>>(), ["restored-2026"]);

    let empty = ["--include", "other", "--rename", "other=empty", "--schema-only"];
    let _empty = restore(sandbox, server, &id, &empty).assert_code(0);
    assert_eq!(server.documents("empty").unwrap().len(), 0);

    let chosen =
        sandbox.backup(["opensearch", "--url", &server.url(), "--index", "oth*", "--index", ".hidden*"]);
    let listed = sandbox.run(["ls", &id_of(&chosen)]).assert_code(0);
    let _listed = listed.assert_prints(["indices/other/documents/0", "indices/.hidden-one/documents/0"]);
    for name in ["restored-2026", "empty"] {
        server.ask("DELETE", &format!("/{name}"), "").unwrap();
    }
}

fn faults(sandbox: &Sandbox, server: &Opensearch) {
    let url = server.url();
    let back_up = |more: &[&str]| sandbox.run([&["backup", "opensearch", "--url", &url][..], more].concat());
    let before = sandbox.snapshots().len();
    let _typo =
        back_up(&["--index", "typo*"]).assert_code(1).assert_says(["no index matches typo*", "logs-2026"]);
    let nobody = ["backup", "opensearch", "--url", "http://127.0.0.1:1"];
    let _nobody = sandbox
        .run(nobody)
        .assert_code(1)
        .assert_says(["http://127.0.0.1:1 does not answer", "is the server up"]);
    let tls = TlsServer::start().unwrap();
    let untrusted = sandbox.run(["backup", "opensearch", "--url", &tls.endpoint]).assert_code(1);
    let _untrusted = untrusted.assert_says(["--ca-file"]);
    let trusted = sandbox.write("ca.pem", &tls.certificate);
    let trusted = ["backup", "opensearch", "--url", &tls.endpoint, "--ca-file", trusted.to_str().unwrap()];
    let _answers = sandbox.run(trusted).assert_code(1).assert_says(["404"]);
    server.ask("PUT", "/sourceless", r#"{"mappings":{"_source":{"enabled":false}}}"#).unwrap();
    let _sourceless =
        back_up(&[]).assert_code(1).assert_says(["index sourceless does not keep", "--exclude"]);
    server.ask("DELETE", "/sourceless", "").unwrap();
    assert_eq!(sandbox.snapshots().len(), before, "nothing of it is a snapshot");

    server.ask("POST", "/other/_close", "").unwrap();
    let _closed = back_up(&["--source", "closed"]).assert_code(3).assert_says(["index other is closed"]);
    server.ask("POST", "/other/_open", "").unwrap();

    let id = id_of(&backup(sandbox, server, &[]));
    let both = ["--rename", "(logs-2026|other)=one"];
    let _both = restore(sandbox, server, &id, &both)
        .assert_code(1)
        .assert_says(["would both become one", "nothing was restored"]);
    server.ask("PUT", "/logs-2026/_alias/taken", "").unwrap();
    let alias = ["--include", "other", "--rename", "other=taken", "--drop-existing"];
    let _alias = restore(sandbox, server, &id, &alias)
        .assert_code(1)
        .assert_says(["alias taken (of logs-2026) is there"]);
    let _typo = restore(sandbox, server, &id, &["--include", "typo"])
        .assert_code(1)
        .assert_says(["no index matches typo"]);
    let _other = restore(sandbox, server, &id, &["--table", "x"]).assert_code(2).assert_says(["--table"]);

    // A template of the server's own has a pipeline that refuses all, and then a mapping that does.
    server
        .ask("PUT", "/_ingest/pipeline/refuse", r#"{"processors":[{"fail":{"message":"not here"}}]}"#)
        .unwrap();
    let template = |what: Value| {
        let template = json!({ "index_patterns": ["refused*"], "template": what }).to_string();
        server.ask("PUT", "/_index_template/refusing", &template).unwrap();
    };
    template(
        json!({ "settings": { "final_pipeline": "refuse", "default_pipeline": "refuse" }, "aliases": { "taken": {} } }),
    );
    let refused = ["--include", "other", "--rename", "other=refused"];
    let _other = restore(sandbox, server, &id, &refused).assert_code(0);
    assert!(server.documents("refused").unwrap() == server.documents("other").unwrap());
    let settings = server.ask("GET", "/refused", "").unwrap()["refused"].clone();
    assert_eq!(
        (&settings["settings"]["index"]["final_pipeline"], &settings["aliases"]),
        (&Value::Null, &json!({}))
    );
    server.ask("DELETE", "/refused", "").unwrap();
    template(json!({ "mappings": { "_routing": { "required": true } } }));
    let refused = restore(sandbox, server, &id, &refused).assert_code(1);
    let _refused = refused.assert_says([
        "index refused is not as it was in mapping _routing.required",
        "index refused is restored in part only (0 of 1 documents)",
        "document 1 is refused",
    ]);
    for path in ["/refused", "/_index_template/refusing", "/_ingest/pipeline/refuse"] {
        server.ask("DELETE", path, "").unwrap();
    }
}

/// Behind a proxy that fails.
fn a_bad_day(sandbox: &Sandbox, server: &Opensearch) {
    let proxy = FaultProxy::start(server.address()).unwrap();
    let url = proxy.endpoint();
    let back_up = |more: &[&str]| {
        let ran = sandbox.run(
            [&["backup", "opensearch", "--url", &url, "--source", "search", "--force"][..], more].concat(),
        );
        assert!(proxy.faults() > 0, "nothing went wrong");
        proxy.heal();
        proxy.forget();
        ran
    };
    let before = sandbox.snapshots().len();
    // A page is asked for again, one of a scroll would be another.
    for fault in [Fault::CutInBody, Fault::ShortBody, Fault::AnswerLost, Fault::SlowDown] {
        proxy.add(Rule::new(fault).at("/_search/point_in_time"));
        let _made_again = back_up(&[]).assert_code(0);
        proxy.add(Rule::new(fault).at("/_search").after(4));
        let _repeated = back_up(&[]).assert_code(0);
        proxy.add(Rule::new(fault).at("/_search/scroll").forever());
        let _no_snapshot = back_up(&["--scroll"]).assert_code(1).assert_says(["no snapshot was made"]);
    }
    // Half a page that says it is whole.
    proxy.add(Rule::new(Fault::HalfBody).at("/_search?").forever());
    let _half = back_up(&["--jobs", "1"]).assert_code(1).assert_says(["was not read whole"]);
    proxy.add(Rule::new(Fault::AccessDenied).at("/_search").forever());
    let _denied = back_up(&[]).assert_code(1).assert_says(["403", "give the role the right"]);
    assert_eq!(sandbox.snapshots().len(), before + 8);
    proxy.heal();

    proxy.add(Rule::new(Fault::AnswerLost).at("/_bulk"));
    let renamed = ["--include", "logs-*", "--rename", "(.+)=cut-$1"];
    let cut = sandbox.run([&["restore", "latest", "--to", &url][..], &renamed].concat()).assert_code(1);
    let _cut = cut.assert_says(["index cut-logs-2026 is restored in part only", "--drop-existing"]);
    proxy.heal();
    let again = [&["restore", "latest", "--drop-existing", "--to", &url][..], &renamed].concat();
    let _whole = sandbox.run(again).assert_code(0);
    assert!(server.documents("cut-logs-2026").unwrap() == server.documents("logs-2026").unwrap());
    server.ask("DELETE", "/cut-logs-2026", "").unwrap();
}

fn a_wrong_document_is_told(sandbox: &Sandbox, server: &Opensearch) {
    let id = id_of(&backup(sandbox, server, &[]));
    let verify = ["verify", &id, "--scratch-url", &server.url()];
    let good = sandbox.run(verify).assert_code(0);
    let _good = good.assert_prints(["logs-2026: 3059 documents", "restores as it was"]);
    let _without = sandbox.run(["verify", &id]).assert_code(2).assert_says(["--scratch-url"]);

    // What the restored index keeps of its documents is less.
    let template = json!({ "index_patterns": ["strongroom-verify-*-other"], "priority": 1000,
        "template": { "mappings": { "_source": { "excludes": ["b"] } } } });
    server.ask("PUT", "/_index_template/wrong", &template.to_string()).unwrap();
    let told = sandbox.run(verify).assert_code(4);
    let _told = told.assert_prints([
        "other: 1 documents",
        "document 1 is not as it was",
        "does NOT restore as it was",
    ]);
    let left = server.ask("GET", "/_cat/indices?format=json&h=index", "").unwrap();
    assert!(!left.to_string().contains("strongroom-verify"), "{left}");
    server.ask("DELETE", "/_index_template/wrong", "").unwrap();
}
