//! `serve`: schedules that the test's clock drives, metrics, health, and who may look.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use strongroom_tests::patience::{PATIENCE, wait_for};
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::served::{Reply, Served, ask_over};
use strongroom_tests::sinks::HttpSink;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A repository, a folder to back up, and a configuration of that and of more.
fn configured(more: &str) -> Sandbox {
    let mut sandbox = Sandbox::new();
    let repository = sandbox.repository().display().to_string();
    sandbox.set("STRONGROOM_REPO", "");
    sandbox.set("STRONGROOM_CONFIG", sandbox.path("strongroom.toml"));
    sandbox.set("STRONGROOM_STATE_DIR", sandbox.path("state"));
    sandbox.write("data/a.txt", "one\n");
    let folder = sandbox.path("data").display().to_string();
    // Half an hour from now and then every hour: none comes by itself while a test runs.
    let minute = (jiff::Timestamp::now().as_second() / 60 + 30) % 60;
    sandbox.write(
        "strongroom.toml",
        format!(
            "repository = \"{repository}\"\nschedule = \"{minute} * * * *\"\n[serve]\nrefresh = \"1s\"\n\
             [sources.documents]\nengine = \"files\"\npaths = [\"{folder}\"]\n{more}"
        ),
    );
    sandbox
}

/// The test's clock: so many minutes from now.
fn set_clock(sandbox: &mut Sandbox, minutes: i64) {
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
    let new = sandbox.write("clock.new", now.to_string());
    // At once: whoever reads sees one time or the other.
    std::fs::rename(new, sandbox.path("clock")).unwrap();
    sandbox.set("STRONGROOM_TEST_CLOCK", sandbox.path("clock"));
}

fn is_run(line: &Value, source: &str, result: &str) -> bool {
    line["type"] == "run" && line["source"] == source && line["result"] == result
}

/// Ends of runs, as the journal has them: of what, and how.
fn ends(sandbox: &Sandbox) -> Vec<String> {
    let journal = sandbox.run(["journal", "export"]).assert_code(0);
    let notes = journal.all("entry").into_iter().filter(|entry| entry["says"]["event"] == "run-ended");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    notes
        .map(|note| {
            format!("{} {}", text(&note["says"]["detail"]["source"]), text(&note["says"]["detail"]["result"]))
        })
        .collect()
}

const SUCCESSES: &str = "backup_jobs_total{component=\"documents\",status=\"success\"}";

#[test]
fn two_do_what_is_due_once_and_again_when_it_is_due_again() {
    let mut sandbox = configured("[forget]\nevery = \"1d\"\n[retention]\nkeep_last = 5\n");
    set_clock(&mut sandbox, 0);
    let one = Served::start(&sandbox, &[]);
    sandbox.set("STRONGROOM_STATE_DIR", sandbox.path("other-state"));
    sandbox.set("STRONGROOM_HOST", "other");
    let other = Served::start(&sandbox, &[]);
    for (hour, count) in [(0, 1.0), (1, 2.0)] {
        set_clock(&mut sandbox, hour * 60);
        for served in [&one, &other] {
            served.until("/metrics", |metrics| metrics.metric(SUCCESSES) == Some(count));
        }
    }
    // Back by half an hour: nothing is done a second time. What is looked at is written after they saw that time.
    set_clock(&mut sandbox, 30);
    let next = "strongroom_collected_timestamp_seconds";
    let half_past = jiff::Timestamp::now().as_second() + 29 * 60;
    for served in [&one, &other] {
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let is_seen =
            |metrics: &Reply| metrics.metric(next).is_some_and(|time| time < half_past as f64 + 300.0);
        served.until("/metrics", is_seen);
    }
    let _stopped = [one, other].map(|served| served.stop().assert_code(0));
    let ends = ends(&sandbox);
    let of = |what: &str| ends.iter().filter(|end| *end == what).count();
    assert_eq!((of("documents done"), of("- done")), (2, 1), "{ends:?}");
    assert_eq!(sandbox.snapshots().len(), 2);
}

#[test]
fn what_takes_longer_than_its_interval_leaves_a_date_out_and_what_is_stopped_is_due_again() {
    let mut sandbox = configured("");
    let (wait, go) = (sandbox.path("wait"), sandbox.path("go"));
    assert!(std::process::Command::new("mkfifo").args([&wait, &go]).status().unwrap().success());
    let slow = format!(
        "[sources.slow]\nengine = \"command\"\nstream = [\"x=echo > {} && cat {}\"]\n",
        wait.display(),
        go.display()
    );
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    sandbox.write("strongroom.toml", format!("{text}{slow}"));
    set_clock(&mut sandbox, 0);
    let served = Served::start(&sandbox, &[]);
    // It has begun when it writes.
    let _begun = std::fs::read(&wait).unwrap();
    set_clock(&mut sandbox, 60);
    std::fs::write(&go, "done").unwrap();
    let end = served.wait_for(|line| is_run(line, "slow", "done"));
    assert!(end["left_out"].is_string(), "{end}");
    let left_out = "strongroom_backup_left_out_total{component=\"slow\"}";
    let metrics = served.until("/metrics", |metrics| metrics.metric(left_out) == Some(1.0));
    assert!(metrics.body.contains("kind=\"backup-overrun\""), "{}", metrics.body);

    // The next date; it is told to stop in the middle.
    set_clock(&mut sandbox, 120);
    let _begun = std::fs::read(&wait).unwrap();
    let running = served.until("/metrics", |metrics| metrics.metric("strongroom_serve_running") == Some(1.0));
    assert_eq!(running.status, 200);
    let _stopped = served.stop().assert_code(0);
    let before = ends(&sandbox);
    assert!(before.contains(&"slow interrupted".to_owned()), "{before:?}");

    // Who comes next does it.
    let served = Served::start(&sandbox, &[]);
    let _begun = std::fs::read(&wait).unwrap();
    std::fs::write(&go, "done").unwrap();
    served.wait_for(|line| is_run(line, "slow", "done"));
    let _stopped = served.stop().assert_code(0);
    assert_eq!(ends(&sandbox).iter().filter(|end| *end == "slow done").count(), 2);
}

#[test]
fn a_second_signal_ends_all_at_once() {
    let sandbox = configured("");
    let (held, go) = (sandbox.path("held"), sandbox.path("go"));
    assert!(std::process::Command::new("mkfifo").args([&held, &go]).status().unwrap().success());
    // What runs afterwards goes on whatever was interrupted.
    let slow = format!(
        "[sources.slow]\nengine = \"command\"\nstream = [\"x=echo 1\"]\npost = \"exec 3> {}; echo begun >&3; cat {}\"\n",
        held.display(),
        go.display()
    );
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    sandbox.write("strongroom.toml", format!("{text}{slow}"));
    let served = Served::start(&sandbox, &[]);
    let mut hook = BufReader::new(File::open(&held).unwrap());
    let mut said = String::new();
    let _begun = hook.read_line(&mut said).unwrap();
    assert_eq!(said, "begun\n");
    served.signal(Signal::TERM);
    served.wait_for(|line| line["type"] == "stopping");
    let _ended = served.stop_by(Signal::INT).assert_code(130);
    // Neither is the hook left, nor what it started.
    let (ended, end) = channel();
    let _until_then = std::thread::spawn(move || ended.send(hook.read_to_string(&mut said)));
    assert_eq!(end.recv_timeout(PATIENCE).unwrap().unwrap(), 0);
}

#[test]
fn a_configuration_is_read_again_and_a_broken_one_is_not_taken() {
    let sandbox = configured("");
    let file = sandbox.path("strongroom.toml");
    let served = Served::start(&sandbox, &[]);
    served.wait_for(|line| is_run(line, "documents", "done"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n[sources.broken]\nengin = \"files\"\n")).unwrap();
    served.signal(Signal::HUP);
    let line = text.lines().count() + 3;
    let more = format!(
        "{text}\n[sources.more]\nengine = \"files\"\npaths = [\"{}\"]\n",
        sandbox.path("data").display()
    );
    let said = served.wait_for(|line| {
        line["type"] == "warning" && line["message"].as_str().unwrap().contains("stays as it was")
    });
    let said = said["message"].as_str().unwrap();
    assert!(said.contains(&format!("line {line}")) && said.contains("is `engine` meant?"), "{said}");
    std::fs::write(&file, more).unwrap();
    served.signal(Signal::HUP);
    served.wait_for(|line| line["type"] == "reload");
    served.wait_for(|line| is_run(line, "more", "done"));
    let _stopped = served.stop().assert_code(0);
    assert_eq!(sandbox.snapshots().len(), 2);
}

#[test]
fn a_store_that_is_away_is_no_success() {
    let sandbox = configured("");
    let served = Served::start(&sandbox, &[]);
    let success = "backup_success{component=\"documents\"}";
    served.until("/metrics", |metrics| metrics.metric(success) == Some(1.0));
    assert_eq!(served.get("/readyz").status, 200);
    // A folder that is open stays so under another name.
    let (here, away) = (sandbox.repository().join("config"), sandbox.path("away"));
    std::fs::rename(&here, &away).unwrap();
    let refused = served.until("/readyz", |ready| ready.status == 503);
    assert!(refused.body.contains("cannot be read"), "{refused:?}");
    let metrics = served.get("/metrics");
    assert_eq!((metrics.metric("strongroom_up"), metrics.metric(success)), (Some(0.0), None), "{metrics:?}");
    assert_eq!(metrics.metric(SUCCESSES), Some(1.0));
    let page = served.get("/");
    assert!(
        page.body.contains("The repository cannot be read") && page.body.contains("what was known"),
        "{}",
        page.body
    );
    // It lives, and others must not end it for that.
    assert_eq!(served.get("/healthz").status, 200);
    std::fs::rename(&away, &here).unwrap();
    served.until("/readyz", |ready| ready.status == 200);
    assert_eq!(served.get("/metrics").metric(success), Some(1.0));
    let _stopped =
        served.stop().assert_code(0).assert_says(["cannot be read, and is tried again", "can be read again"]);
}

/// Waits until the journal says so often that people were told.
fn until_noted(sandbox: &Sandbox, count: usize) {
    let noted = || sandbox.run(["audit", "--json", "--kind", "alert"]).assert_code(0).all("audit").len();
    wait_for("a note of what was told is waited for", || noted() >= count);
}

#[test]
fn people_are_told_what_is_found_and_that_it_is_over() {
    let sink = HttpSink::start();
    let mut sandbox = configured("");
    let well = sandbox.path("well");
    let more = format!(
        "[sources.broken]\nengine = \"command\"\nstream = [\"x=cat {}\"]\n\
         [notify.hook]\nwebhook = \"{}\"\nmin_severity = \"critical\"\n",
        well.display(),
        sink.url()
    );
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    sandbox.write("strongroom.toml", format!("{text}{more}"));
    set_clock(&mut sandbox, 0);
    let served = Served::start(&sandbox, &[]);
    let failed = "strongroom_findings{component=\"broken\",kind=\"backup-failed\",severity=\"critical\"}";
    served.until("/metrics", |metrics| metrics.metric(failed) == Some(1.0));
    // It stands for a minute.
    set_clock(&mut sandbox, 2);
    let told = sink.next().json();
    let finding = &told["findings"][0];
    assert_eq!((&finding["kind"], &finding["source"]), (&"backup-failed".into(), &"broken".into()), "{told}");
    // Whoever else looks knows what was told.
    until_noted(&sandbox, 1);
    let _told = sandbox.run(["monitor", "--alerts"]).assert_code(0);
    assert!(sink.another().is_none());

    sandbox.write("well", "well");
    set_clock(&mut sandbox, 60);
    let over = sink.next().json();
    assert_eq!(over["findings"], serde_json::json!([]), "{over}");
    assert!(over["resolved"][0].as_str().unwrap().starts_with("broken backup-failed"), "{over}");
    until_noted(&sandbox, 2);

    // What cannot be noted in the journal is told, too.
    let (here, away) = (sandbox.repository().join("config"), sandbox.path("away"));
    std::fs::rename(&here, &away).unwrap();
    served.until("/readyz", |ready| ready.status == 503);
    set_clock(&mut sandbox, 63);
    assert_eq!(sink.next().json()["findings"][0]["kind"], "no-access");
    std::fs::rename(&away, &here).unwrap();
    served.until("/readyz", |ready| ready.status == 200);
    set_clock(&mut sandbox, 66);
    let over = sink.next().json();
    assert!(over["resolved"][0].as_str().unwrap().starts_with("no-access"), "{over}");
    let _stopped = served.stop().assert_code(0).assert_says(["hook was told"]);
}

#[test]
fn who_does_not_answer_holds_up_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sandbox = configured("");
    let more = format!(
        "[sources.broken]\nengine = \"command\"\nstream = [\"x=exit 3\"]\n[notify.hook]\nwebhook = \"http://{}\"\n",
        silent.local_addr().unwrap()
    );
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    sandbox.write("strongroom.toml", format!("{text}{more}"));
    set_clock(&mut sandbox, 0);
    let served = Served::start(&sandbox, &[]);
    served.until("/metrics", |metrics| metrics.body.contains("kind=\"backup-failed\""));
    set_clock(&mut sandbox, 2);
    // It is being told, and hears nothing.
    let _connection = silent.accept().unwrap();
    set_clock(&mut sandbox, 60);
    served.until("/metrics", |metrics| metrics.metric(SUCCESSES) == Some(2.0));
    let _stopped = served.stop().assert_code(0);
}

#[test]
fn who_knows_the_token_may_look() {
    let mut sandbox = configured(
        "[sources.\"<script>alert(1)</script>\"]\nengine = \"command\"\nstream = [\"x=echo postgres://ann:pl4nted@db/shop >&2; exit 3\"]\n",
    );
    sandbox.write("token", format!("{TOKEN}\n"));
    for (words, code, says) in [
        (&["--listen", "0.0.0.0:0"][..], 2, "--token-file"),
        (&["--token-file", "nowhere"], 1, "nowhere"),
        (&["--metrics-token"], 2, "there is none"),
        (&["--client-ca", "token"], 2, "--tls-cert"),
        (&["--tls-cert", "token", "--tls-key", "token"], 1, "cannot be used for TLS"),
    ] {
        let words = ["serve"].iter().chain(words).copied();
        let _refused = sandbox.run(words).assert_code(code).assert_says([says]);
    }
    sandbox.set("STRONGROOM_SERVE_TOKEN", "short");
    let _refused = sandbox.run(["serve"]).assert_code(1).assert_says(["5 letters"]);
    sandbox.set("STRONGROOM_SERVE_TOKEN", "");

    let served = Served::start(&sandbox, &["--token-file", "token"]);
    served.wait_for(|line| line["type"] == "run" && line["result"] == "failed");
    served.until("/metrics", |metrics| {
        metrics.body.contains("kind=\"backup-failed\"") && metrics.metric(SUCCESSES) == Some(1.0)
    });
    let bearer = format!("Bearer {TOKEN}");
    let known = [("authorization", bearer.as_str())];
    let with_token = |path: &str| served.ask("GET", path, &known, "");

    // What a page says, and what it does not.
    let page = with_token("/");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(
        page.body.contains("Action needed") && page.body.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("<script") && !page.body.contains("pl4nted"), "{}", page.body);
    assert!(page.body.contains("postgres://ann:***@db/shop"), "{}", page.body);
    let own = with_token("/sources/%3Cscript%3Ealert%281%29%3C%2Fscript%3E");
    assert!(
        own.status == 200 && !own.body.contains("<script") && !own.body.contains("pl4nted"),
        "{}",
        own.body
    );
    let source = with_token("/sources/documents");
    let link = source.body.split("href=\"").find(|part| part.starts_with("/snapshots/")).unwrap();
    let snapshot = with_token(link.split('"').next().unwrap());
    assert!(snapshot.status == 200 && snapshot.body.contains("strongroom restore "), "{}", snapshot.body);
    for (name, part) in [
        ("content-security-policy", "default-src 'none'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert!(page.header(name).is_some_and(|value| value.contains(part)), "{name}: {:?}", page.headers);
    }

    // Nothing that is asked for is a path of a file.
    for path in [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/sources/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/style.css/../../token",
        "/sources/%ff",
        "/sources/documents?page=0",
        "/sources/documents?page=99",
        "/snapshots/../token",
        "/token",
    ] {
        let reply = with_token(path);
        assert!(
            reply.status == 404 && !reply.body.contains("root:") && !reply.body.contains(TOKEN),
            "{path}: {reply:?}"
        );
    }
    for method in ["PUT", "DELETE", "POST", "OPTIONS", "TRACE"] {
        assert_eq!(served.ask(method, "/", &known, "").status, 405, "{method}");
    }
    let head = served.ask("HEAD", "/", &known, "");
    assert!(head.status == 200 && head.body.is_empty(), "{head:?}");

    // By hand, in a browser.
    let asked = served.ask("GET", "/", &[("accept", "text/html")], "");
    assert_eq!((asked.status, asked.header("location")), (303, Some("/login")));
    let entered = served.ask("POST", "/login", &[], &format!("token={TOKEN}"));
    assert_eq!(entered.status, 303, "{entered:?}");
    let cookie = entered.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(TOKEN),
        "{cookie}"
    );
    let session = [("cookie", cookie.split(';').next().unwrap())];
    assert_eq!(served.ask("GET", "/", &session, "").status, 200);
    assert_eq!(served.ask("POST", "/logout", &session, "").status, 303);
    assert_eq!(served.ask("GET", "/", &session, "").status, 401);

    // Who says nothing guesses nothing; who guesses wrong soon guesses no more.
    for _ in 0..20 {
        assert_eq!(served.get("/").status, 401);
    }
    for _ in 0..5 {
        assert_eq!(served.ask("GET", "/", &[("authorization", "Bearer gu3ss")], "").status, 401);
    }
    for refused in [with_token("/"), served.ask("POST", "/login", &[], "token=gu3ss")] {
        assert_eq!(refused.status, 429);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Whoever scrapes is not asked.
    assert_eq!((served.get("/metrics").status, served.get("/healthz").status), (200, 200));
    let stopped = served.stop().assert_code(0).assert_says(["127.0.0.1 was refused: a wrong token"]);
    assert!(!stopped.stderr.contains("gu3ss") && !stopped.stderr.contains(TOKEN), "{stopped}");
}

/// An authority, and what it signed.
struct Signed {
    authority: String,
    certificate: String,
    key: String,
}

fn signed() -> Signed {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(parameters, key);
    let own = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
    Signed { authority, certificate: certificate.pem(), key: own.serialize_pem() }
}

/// One request by TLS, with a certificate or without.
fn ask_by_tls(served: &Served, server: &Signed, client: Option<&Signed>, path: &str) -> Option<Reply> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let chain = vec![CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap()];
            config
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(served.address).unwrap());
    // With TLS 1.3 a certificate is refused after the client is done: it hears of it when it reads.
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).ok()?;
    }
    let refused =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ask_over(stream, "GET", path, &[], "")));
    refused.ok()
}

#[test]
fn a_certificate_does_as_well_as_a_token() {
    let sandbox = configured("");
    let (server, client, stranger) = (signed(), signed(), signed());
    let write = |name: &str, text: &str| -> PathBuf { sandbox.write(name, text) };
    write("server.pem", &server.certificate);
    write("server.key", &server.key);
    write("ca.pem", &client.authority);
    let words =
        ["--tls-cert", "server.pem", "--tls-key", "server.key", "--client-ca", "ca.pem", "--no-schedule"];
    let served = Served::start(&sandbox, &words);
    let status = |client, path| ask_by_tls(&served, &server, client, path).map(|reply| reply.status);
    // Probes have none.
    assert_eq!(status(None, "/healthz"), Some(200));
    assert_eq!(status(None, "/"), Some(403));
    assert_eq!(status(Some(&client), "/"), Some(200));
    assert_eq!(status(Some(&stranger), "/"), None);
    let _stopped = served.stop().assert_code(0);
    // Nothing was run.
    assert_eq!(ends(&sandbox), [""; 0]);
}

#[test]
fn without_a_token_only_this_host_looks() {
    let mut sandbox = configured("");
    sandbox.set("BACKUP_ENABLED", "false");
    let served = Served::start(&sandbox, &[]);
    let page = served.until("/", |page| !page.body.contains("Nothing is known yet"));
    assert!(page.body.contains("no backup yet") || page.body.contains("backup missed"), "{}", page.body);
    assert!(
        page.body.contains("there is no data to show yet") && page.body.contains("No restore was tested yet"),
        "{}",
        page.body
    );
    // A name of somebody else's that leads here.
    assert_eq!(served.ask("GET", "/", &[("host", "evil.example:9898")], "").status, 421);
    for host in ["127.0.0.1:9898", "localhost", "[::1]:9898"] {
        assert_eq!(served.ask("GET", "/", &[("host", host)], "").status, 200, "{host}");
    }
    let _stopped = served.stop_by(Signal::INT).assert_code(0).assert_says(["BACKUP_ENABLED"]);
    sandbox.set("BACKUP_ENABLED", "");
    assert_eq!(ends(&sandbox), [""; 0]);
}
