//! `monitor`: how things stand, as the journal tells it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::{Arc, Mutex};

use serde_json::json;
use strongroom_tests::http::Answer;
use strongroom_tests::http::message::Response;
use strongroom_tests::http::server::Server;
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::moto::{self, Moto};
use strongroom_tests::sinks::{HttpSink, MailSink};

/// What a command says that fails, and nobody is to read.
const SAID: &str = "PGPASSWORD=pl4nted pg_dump postgres://ann:pl4nted@db: no route";

/// A source that is well until `data/fail` is there, and what is expected of it.
fn configured(sandbox: &mut Sandbox) {
    sandbox.set("STRONGROOM_CONFIG", sandbox.path("strongroom.toml"));
    sandbox.write("data/dump", "a\n".repeat(1000));
    let folder = sandbox.path("data").display().to_string();
    sandbox.write(
        "strongroom.toml",
        format!(
            r#"
            max_size_change_percent = 50
            [storage]
            capacity = "1K"
            [sources.shop]
            engine = "command"
            stream = ["dump=cat {folder}/dump; if test -e {folder}/fail; then cat {folder}/fail >&2; exit 1; fi"]
            expect_every = "365d"
            [sources.late]
            engine = "files"
            paths = ["{folder}"]
            schedule = "@hourly"
            "#
        ),
    );
}

#[test]
fn what_went_wrong_is_told_until_it_is_well_again() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let check = |code| sandbox.run(["monitor", "--check", "--json"]).assert_code(code);
    let found = |code| {
        let ran = check(code);
        let text = |finding: &serde_json::Value| {
            format!("{} {}", finding["source"].as_str().unwrap_or("-"), finding["kind"].as_str().unwrap())
        };
        ran.all("finding").iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(found(1), ["late backup-missed", "shop backup-missed"]);
    let _ran = sandbox.run(["run"]).assert_code(0);
    assert_eq!(found(0), ["- storage-near-capacity"]);

    sandbox.write("data/fail", SAID);
    let _failed = sandbox.run(["run", "shop"]).assert_code(1);
    let _failed = sandbox.run(["run", "shop"]).assert_code(1);
    assert_eq!(found(1), ["shop backup-failed", "- storage-near-capacity"]);
    let told = sandbox.run(["monitor"]).assert_code(1);
    let _told = told.assert_prints(["critical", "shop: the backup failed 2 times", "exit status: 1"]);
    let report = sandbox.run(["monitor", "--report"]).assert_code(0);
    let _report = report.assert_prints(["SOURCE", "shop", "failed", "late", "done"]);
    // What the command said goes nowhere as it is.
    for words in [
        &["monitor", "--json"][..],
        &["monitor", "--report", "--json"],
        &["report", "--format", "json"],
        &["audit", "--json"],
        &["journal", "export"],
    ] {
        let told = sandbox.run(words.iter().copied()).text();
        assert!(told.contains("PGPASSWORD=***") && !told.contains("pl4nted"), "{words:?}: {told}");
    }

    // A backup by hand counts as well.
    std::fs::remove_file(sandbox.path("data/fail")).unwrap();
    sandbox.write("data/dump", "a\n".repeat(5000));
    let _by_hand = sandbox
        .run(["backup", "command", "--source", "shop", "--stream", "dump=cat data/dump"])
        .assert_code(0);
    assert_eq!(found(0), ["- storage-near-capacity", "shop size-anomaly"]);
}

#[test]
fn metrics_are_counted_from_the_journal() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let _ran = sandbox.run(["run"]).assert_code(0);
    sandbox.write("data/fail", SAID);
    let _failed = sandbox.run(["run", "shop"]).assert_code(1);
    // Another host, that has seen nothing.
    sandbox.set("STRONGROOM_CACHE_DIR", sandbox.path("other-cache"));
    let metrics = sandbox.run(["monitor", "--metrics"]).assert_code(0);
    let _metrics = metrics.assert_prints([
        "# TYPE backup_success gauge",
        "backup_success{component=\"shop\"} 0",
        "backup_success{component=\"late\"} 1",
        "backup_jobs_total{component=\"shop\",status=\"success\"} 1",
        "backup_jobs_total{component=\"shop\",status=\"failure\"} 1",
        "backup_duration_seconds_bucket{component=\"shop\",le=\"+Inf\"} 2",
        "backup_duration_seconds_count{component=\"shop\"} 2",
        "s3_bucket_size_bytes{bucket=\"",
        "strongroom_snapshots{component=\"shop\"} 1",
        "strongroom_findings{component=\"shop\",kind=\"backup-failed\",severity=\"critical\"} 1",
        "strongroom_up 1",
    ]);
}

#[test]
fn people_are_told_once_and_again_when_it_is_over() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let (mail, hook, chat) = (MailSink::start(), HttpSink::start(), HttpSink::start());
    let (smtp, webhook, slack) = (format!("smtp://{}?tls=none", mail.address()), hook.url(), chat.url());
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    // Who cannot be reached keeps nobody from being told.
    let notify = format!(
        r#"
        [notify.nobody]
        webhook = "http://127.0.0.1:1/secret-path"
        min_severity = "critical"
        [notify.mail]
        smtp = "{smtp}"
        from = "Backups <backup@example.com>"
        to = ["admin@example.com"]
        min_severity = "critical"
        [notify.hook]
        webhook = "{webhook}/services/x?y=1"
        authorization = "env:STRONGROOM_TEST_TOKEN"
        min_severity = "critical"
        [notify.chat]
        slack = "{slack}/T/B"
        "#
    );
    sandbox.write("strongroom.toml", text.replace("capacity = \"1K\"", "capacity = \"1G\"") + &notify);
    sandbox.set("STRONGROOM_TEST_TOKEN", "Bearer s3cret");
    let _ran = sandbox.run(["run"]).assert_code(0);
    sandbox.write("data/fail", SAID);
    let _failed = sandbox.run(["run", "shop"]).assert_code(1);
    // Nor do metrics that cannot be delivered.
    let full = sandbox.path("nowhere/strongroom.prom").display().to_string();
    let told = ["monitor", "--alerts", "--textfile", &full, "--push", "http://127.0.0.1:1"];
    let told = sandbox.run(told).assert_code(3);
    let told = told.assert_says(["nobody was not told", "mail was told", "hook was told", "chat was told"]);
    let told = told.assert_says(["strongroom.prom cannot be written", "the metrics were not pushed"]);
    assert!(!told.text().contains("secret-path") && !told.text().contains("s3cret"), "{told}");
    // Once.
    let again = sandbox.run(["monitor", "--alerts"]).assert_code(3);
    assert!(!again.text().contains("was told"), "{again}");
    let chatted = chat.next();
    assert!(
        chatted.request.target == "/T/B" && chatted.body.contains("shop: the backup failed"),
        "{chatted:?}"
    );
    assert!(chatted.body.contains("PGPASSWORD=***") && !chatted.body.contains("pl4nted"), "{chatted:?}");
    drop(chat);

    // And when it is over; the chat is gone by then.
    std::fs::remove_file(sandbox.path("data/fail")).unwrap();
    let _well = sandbox.run(["run", "shop"]).assert_code(0);
    let over = sandbox.run(["monitor", "--alerts"]).assert_code(3);
    let _over = over.assert_says(["chat was not told, and is next time"]);
    let (failed, over) = (mail.next(), mail.next());
    assert!(
        failed.text.contains("Subject: [strongroom] critical: shop: the backup failed"),
        "{}",
        failed.text
    );
    assert!(over.text.contains("over: shop backup-failed"), "{}", over.text);
    assert!(!failed.text.contains("pl4nted") && !over.text.contains("pl4nted"), "{}", failed.text);
    let (failed, over) = (hook.next(), hook.next());
    assert_eq!(
        (failed.request.target.as_str(), failed.request.headers.first("authorization")),
        ("/services/x?y=1", Some("Bearer s3cret"))
    );
    assert_eq!(failed.json()["findings"][0]["kind"], "backup-failed");
    assert!(over.json()["resolved"][0].as_str().unwrap().starts_with("shop"), "{}", over.body);
    assert!(!failed.body.contains("pl4nted") && !over.body.contains("pl4nted"), "{}", failed.body);
}

#[test]
fn a_key_that_is_refused_is_counted_and_told() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    // What of KMS is refused.
    let refused = Arc::new(Mutex::new(Vec::new()));
    let refuse = |operations: &[&'static str]| *refused.lock().unwrap() = operations.to_vec();
    let of_server = Arc::clone(&refused);
    let kms = Server::start(Some(moto.address()), move |exchange| {
        let operation = exchange.request.headers.first("x-amz-target").unwrap_or_default().to_owned();
        if !of_server.lock().unwrap().iter().any(|refused| operation.ends_with(refused)) {
            return exchange.forward();
        }
        let head = Response::new(400).with("Content-Type", "application/x-amz-json-1.1");
        let body = json!({ "__type": "AccessDeniedException", "message": "not you" }).to_string();
        exchange.answer(&Answer { head, body: body.into_bytes() })
    });
    let kms = kms.unwrap();
    let mut sandbox =
        Sandbox::on_aws("", &moto::credentials("backup"), "http://127.0.0.1:1", &kms.endpoint());
    sandbox.set("STRONGROOM_REPO", sandbox.repository());
    configured(&mut sandbox);
    let hook = HttpSink::start();
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    let notify = format!("[notify.hook]\nwebhook = \"{}\"\nmin_severity = \"critical\"\n", hook.url());
    sandbox.write("strongroom.toml", format!("{text}\n{notify}"));
    let key = format!("aws-kms:{}", moto.client().create_key("of the shop").unwrap());
    let _made = sandbox.run(["init", "--recipient", &key]).assert_code(0);
    let errors = |count: u32| {
        let metrics = sandbox.run(["monitor", "--metrics"]).assert_code(0);
        let _counted = metrics.assert_prints([&format!("strongroom_kms_errors_total {count}\n")]);
    };
    let told = |code: i32| {
        let _told = sandbox.run(["monitor", "--alerts"]).assert_code(code);
        hook.next().json()
    };
    let _well = sandbox.run(["run"]).assert_code(0);
    errors(0);

    // A host that may not make keys any more backs up nothing, and can say so.
    refuse(&["GenerateDataKey"]);
    sandbox.write("data/dump", "b\n".repeat(1000));
    let _failed = sandbox.run(["run", "shop"]).assert_code(1);
    errors(1);
    let alert = told(0);
    let finding = &alert["findings"][0];
    assert_eq!((&finding["kind"], &finding["source"]), (&json!("backup-failed"), &json!("shop")), "{alert}");
    assert!(finding["what"].as_str().unwrap().contains("access denied"), "{alert}");
    // One that may not use them at all can read nothing of it either: that is told, once.
    refuse(&["GenerateDataKey", "Decrypt"]);
    let alert = told(5);
    assert_eq!(alert["findings"][0]["kind"], "no-access", "{alert}");
    assert!(alert["findings"][0]["what"].as_str().unwrap().contains("access denied"), "{alert}");
    let _locked = sandbox.run(["monitor", "--alerts"]).assert_code(5);
    assert!(hook.another().is_none());

    refuse(&[]);
    let _well = sandbox.run(["run", "shop"]).assert_code(0);
    let over = [told(0), hook.next().json()].map(|alert| alert["resolved"].to_string());
    assert!(over[0].contains("shop backup-failed") && over[1].contains("no-access"), "{over:?}");
    errors(1);
}

#[test]
fn metrics_reach_a_file_and_a_gateway() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let _ran = sandbox.run(["run", "shop"]).assert_code(0);
    let file = sandbox.path("strongroom.prom");
    let path = file.display().to_string();
    let _written = sandbox.run(["monitor", "--textfile", &path]).assert_code(0);
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("backup_success{component=\"shop\"} 1"), "{page}");

    let gateway = HttpSink::start();
    let _pushed = sandbox.run(["monitor", "--push", &gateway.url()]).assert_code(0);
    let pushed = gateway.next();
    assert_eq!(
        (pushed.request.method.as_str(), pushed.request.target.as_str()),
        ("PUT", "/metrics/job/strongroom")
    );
    assert!(pushed.body.contains("backup_success{component=\"shop\"} 1"), "{}", pushed.body);
    let own = "/metrics/job/strongroom/cluster/eu-1";
    let _pushed = sandbox.run(["monitor", "--push", &format!("{}{own}", gateway.url())]).assert_code(0);
    assert_eq!(gateway.next().request.target, own);

    // One that cannot be written keeps the other from nothing.
    let nowhere = sandbox.path("nowhere/strongroom.prom").display().to_string();
    let half = ["monitor", "--textfile", &nowhere, "--push", &gateway.url()];
    let _half = sandbox.run(half).assert_code(3).assert_says(["strongroom.prom cannot be written"]);
    assert!(gateway.next().body.contains("strongroom_up 1"));

    // Nothing that was well is said once more when nobody can look.
    let hook = HttpSink::start();
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    sandbox.write("strongroom.toml", format!("{text}\n[notify.hook]\nwebhook = \"{}\"\n", hook.url()));
    let key = sandbox.home().join(".config/strongroom");
    std::fs::remove_dir_all(&key).unwrap();
    sandbox.set("STRONGROOM_CACHE_DIR", sandbox.path("none"));
    let _locked = sandbox.run(["monitor", "--textfile", &path]).assert_code(5);
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("strongroom_up 0") && !page.contains("backup_success{"), "{page}");
    let _full = sandbox.run(["monitor", "--alerts", "--textfile", &nowhere]).assert_code(5);
    assert_eq!(hook.next().json()["findings"][0]["kind"], "no-access");
}

#[test]
fn people_are_told_how_far_it_is_and_when_it_is_over() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let go = sandbox.path("go");
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    let sink = HttpSink::start();
    let url = sink.url();
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    let more = format!(
        r#"
        [sources.slow]
        engine = "command"
        stream = ["dump=cat {} && printf 1234567890"]
        [notify.hook]
        webhook = "{url}"
        progress_after = "0s"
        [notify.nobody]
        webhook = "http://127.0.0.1:1/"
        progress_after = "0s"
        [notify.later]
        webhook = "http://127.0.0.1:1/"
        progress_after = "1d"
        "#,
        go.display()
    );
    sandbox.write("strongroom.toml", text + &more);
    let running = sandbox.start(["run", "slow", "--json"]);
    // It goes on until somebody says so.
    let first = sink.next().json();
    assert_eq!((&first["type"], &first["result"]), (&"strongroom.progress".into(), &"running".into()));
    assert!(first["subject"].as_str().unwrap().contains("slow: backup runs for"), "{first}");
    std::fs::write(&go, "and ").unwrap();
    // Whoever cannot be reached is said once, and nothing fails for that.
    let ran = running.wait().assert_code(0);
    let said = &ran.stderr;
    assert_eq!(said.matches("nobody is not told how far it is").count(), 1, "{said}");
    assert!(!said.contains("later is not told"), "{said}");
    let last = sink.next().json();
    assert_eq!((&last["result"], &last["bytes"], &last["run"]), (&"done".into(), &14.into(), &first["run"]));
    assert!(last["stored_bytes"].as_u64().unwrap() > 0, "{last}");
    let subject = last["subject"].as_str().unwrap();
    assert!(
        subject.contains("slow: backup done after") && subject.contains("14 B read, stored"),
        "{subject}"
    );

    // For programs that start this one themselves.
    let backup = ["backup", "files", "data", "--json", "--progress", "always"];
    let told = sandbox.run(backup).assert_code(0).all("status");
    let last = told.last().unwrap();
    assert_eq!((&last["what"], &last["bytes"]), (&"backing up".into(), &2000.into()), "{told:?}");
    let plain = sandbox.run(["backup", "files", "data", "--json"]).assert_code(0);
    assert!(plain.all("status").is_empty(), "{plain}");
}
