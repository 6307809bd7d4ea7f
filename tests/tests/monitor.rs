//! `monitor`: how things stand, as the journal tells it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use strongroom_tests::sandbox::Sandbox;

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
            stream = ["dump=cat {folder}/dump && ! test -e {folder}/fail"]
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

    sandbox.write("data/fail", "");
    let _failed = sandbox.run(["run", "shop"]).assert_code(1);
    let _failed = sandbox.run(["run", "shop"]).assert_code(1);
    assert_eq!(found(1), ["shop backup-failed", "- storage-near-capacity"]);
    let told = sandbox.run(["monitor"]).assert_code(1);
    let _told = told.assert_prints(["critical", "shop: the backup failed 2 times", "exit status: 1"]);
    let report = sandbox.run(["monitor", "--report"]).assert_code(0);
    let _report = report.assert_prints(["SOURCE", "shop", "failed", "late", "done"]);

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
    sandbox.write("data/fail", "");
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

/// Takes so many requests, each on a connection of its own, and gives what was asked.
fn http_sink(requests: usize) -> (String, JoinHandle<Vec<String>>) {
    let (url, asked) = http_listener(requests);
    (url, std::thread::spawn(move || asked.iter().collect()))
}

/// The same, and gives each as it comes.
fn http_listener(requests: usize) -> (String, Receiver<String>) {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", sink.local_addr().unwrap());
    let take = move || {
        let (mut client, _) = sink.accept().unwrap();
        let mut said = Vec::new();
        let mut part = [0; 4096];
        // What is sent in chunks ends with an empty one.
        while !said.ends_with(b"0\r\n\r\n") {
            let read = client.read(&mut part).unwrap();
            assert!(read > 0, "it went away");
            said.extend_from_slice(&part[..read]);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8(said).unwrap()
    };
    let (taken, asked) = channel();
    let _until_all_came = std::thread::spawn(move || (0..requests).all(|_| taken.send(take()).is_ok()));
    (url, asked)
}

/// A mail server that takes so many letters, and gives them.
fn smtp_sink(letters: usize) -> (String, JoinHandle<Vec<String>>) {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}?tls=none", sink.local_addr().unwrap());
    let take = move |_| {
        let (client, _) = sink.accept().unwrap();
        let mut answer = client.try_clone().unwrap();
        let mut say = |text: &str| answer.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let mut letter = String::new();
        let mut is_letter = false;
        say("220 sink");
        for line in BufReader::new(client).lines().map_while(Result::ok) {
            match line.split(' ').next().unwrap_or_default() {
                "." if is_letter => {
                    is_letter = false;
                    say("250 taken");
                }
                _ if is_letter => letter.push_str(&(line + "\n")),
                "DATA" => {
                    is_letter = true;
                    say("354 go on");
                }
                "QUIT" => {
                    say("221 bye");
                    break;
                }
                _ => say("250 ok"),
            }
        }
        letter
    };
    (url, std::thread::spawn(move || (0..letters).map(take).collect()))
}

#[test]
fn people_are_told_once_and_again_when_it_is_over() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let (smtp, letters) = smtp_sink(2);
    let (webhook, posted) = http_sink(2);
    let (slack, chatted) = http_sink(1);
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
    sandbox.write("data/fail", "");
    let _failed = sandbox.run(["run", "shop"]).assert_code(1);
    let told = sandbox.run(["monitor", "--alerts"]).assert_code(1);
    let told = told.assert_says(["nobody was not told", "mail was told", "hook was told", "chat was told"]);
    assert!(!told.text().contains("secret-path") && !told.text().contains("s3cret"), "{told}");
    // Once.
    let again = sandbox.run(["monitor", "--alerts"]).assert_code(1);
    assert!(!again.text().contains("was told"), "{again}");
    let chatted = chatted.join().unwrap().remove(0);
    assert!(chatted.starts_with("POST /T/B ") && chatted.contains("shop: the backup failed"), "{chatted}");

    // And when it is over; the chat is gone by then.
    std::fs::remove_file(sandbox.path("data/fail")).unwrap();
    let _well = sandbox.run(["run", "shop"]).assert_code(0);
    let over = sandbox.run(["monitor", "--alerts"]).assert_code(1);
    let _over = over.assert_says(["chat was not told, and is next time"]);
    let letters = letters.join().unwrap();
    assert!(letters[0].contains("Subject: [strongroom] critical: shop: the backup failed"), "{}", letters[0]);
    assert!(letters[1].contains("over: shop backup-failed"), "{}", letters[1]);
    let posted = posted.join().unwrap();
    let first = posted[0].to_ascii_lowercase();
    assert!(
        first.starts_with("post /services/x?y=1 ") && first.contains("authorization: bearer s3cret"),
        "{first}"
    );
    assert!(
        first.contains("\"kind\":\"backup-failed\"") && posted[1].contains("\"resolved\":[\"shop"),
        "{posted:?}"
    );
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

    let (url, asked) = http_sink(1);
    let _pushed = sandbox.run(["monitor", "--push", &url]).assert_code(0);
    let asked = asked.join().unwrap().remove(0);
    assert!(asked.starts_with("PUT /metrics/job/strongroom HTTP/1.1"), "{asked}");
    assert!(asked.contains("backup_success{component=\"shop\"} 1"), "{asked}");

    // Nothing that was well is said once more when nobody can look.
    let key = sandbox.home().join(".config/strongroom");
    std::fs::remove_dir_all(&key).unwrap();
    sandbox.set("STRONGROOM_CACHE_DIR", sandbox.path("none"));
    let _locked = sandbox.run(["monitor", "--textfile", &path]).assert_code(5);
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("strongroom_up 0") && !page.contains("backup_success{"), "{page}");
    let nowhere = sandbox.path("nowhere/strongroom.prom");
    let _full = sandbox.run(["monitor", "--textfile", &nowhere.display().to_string()]).assert_code(1);
}

/// The JSON that was posted.
fn body(request: &str) -> serde_json::Value {
    let (begin, end) = (request.find('{').unwrap(), request.rfind('}').unwrap());
    serde_json::from_str(&request[begin..=end]).unwrap()
}

#[test]
fn people_are_told_how_far_it_is_and_when_it_is_over() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let go = sandbox.path("go");
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    let (url, asked) = http_listener(2);
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
    let first = body(&asked.recv().unwrap());
    assert_eq!((&first["type"], &first["result"]), (&"strongroom.progress".into(), &"running".into()));
    assert!(first["subject"].as_str().unwrap().contains("slow: backup runs for"), "{first}");
    std::fs::write(&go, "and ").unwrap();
    // Whoever cannot be reached is said once, and nothing fails for that.
    let ran = running.wait().assert_code(0);
    let said = &ran.stderr;
    assert_eq!(said.matches("nobody is not told how far it is").count(), 1, "{said}");
    assert!(!said.contains("later is not told"), "{said}");
    let last = body(&asked.recv().unwrap());
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
