//! The web page of `serve` in a real browser: it is whole, asks nobody else, and fits its window.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::Value;
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::served::Served;
use strongroom_tests::services::chromium::Chromium;

/// Names a folder in which pictures of the pages are left, for people to look at.
const PICTURES_VARIABLE: &str = "STRONGROOM_TEST_PICTURES";

/// A name that nobody can break.
const LONG: &str = "a-source-whose-name-is-longer-than-a-telephone-is-wide-0123456789-0123456789-0123456789";

fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let repository = sandbox.repository().display().to_string();
    sandbox.set("STRONGROOM_REPO", "");
    sandbox.set("STRONGROOM_CONFIG", sandbox.path("strongroom.toml"));
    sandbox.write("data/a.txt", "one\n".repeat(10_000));
    let folder = sandbox.path("data").display().to_string();
    let configuration = format!(
        r#"
        repository = "{repository}"
        schedule = "@hourly"
        rpo = "2h"
        [serve]
        refresh = "1s"
        [verify]
        every = "1d"
        [check]
        every = "1d"
        [sources.documents]
        engine = "files"
        paths = ["{folder}"]
        tag = ["compliance"]
        [sources.broken]
        engine = "command"
        stream = ["x=echo {LONG} >&2; exit 3"]
        [sources."{LONG}"]
        engine = "files"
        paths = ["{folder}"]
        [sources."<img src=x onerror=alert(1)>"]
        engine = "files"
        paths = ["{folder}"]
        "#
    );
    sandbox.write("strongroom.toml", configuration);
    sandbox
}

/// What went wrong while a page was loaded, or was asked of somebody else.
fn complaints(events: &[Value], origin: &str) -> Vec<String> {
    let is_elsewhere = |url: &str| !url.starts_with(origin) && !url.starts_with("data:");
    let complaint = |event: &Value| match event["method"].as_str()? {
        "Log.entryAdded" => Some(event["params"]["entry"]["text"].to_string()),
        "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Network.loadingFailed" => {
            Some(event.to_string())
        }
        "Network.requestWillBeSent" => {
            let url = event["params"]["request"]["url"].as_str()?;
            is_elsewhere(url).then(|| format!("it asks for {url}"))
        }
        "Network.responseReceived" => {
            let response = &event["params"]["response"];
            let is_good = response["status"].as_u64()? < 400;
            (!is_good).then(|| format!("{}: {}", response["url"], response["status"]))
        }
        _ => None,
    };
    events.iter().filter_map(complaint).collect()
}

#[test]
fn pages_are_whole_and_fit_every_window() {
    let Some(mut browser) = Chromium::start().unwrap() else { return };
    let sandbox = sandbox();
    let served = Served::start(&sandbox, &[]);
    let done = "strongroom_check_success";
    let is_done = |metrics: &strongroom_tests::served::Reply| {
        metrics.metric(done) == Some(1.0)
            && metrics.body.matches("strongroom_restore_test_success{").count() == 3
            && metrics.body.contains("backup-failed")
    };
    served.until("/metrics", is_done);
    // What runs no more shows the same twice.
    let origin = format!("http://{}", served.address);
    let source = served.get("/sources/documents");
    let link = source.body.split("href=\"").find(|part| part.starts_with("/snapshots/")).unwrap();
    let snapshot = link.split('"').next().unwrap().to_owned();
    let pages = [
        ("overview", "/".to_owned()),
        ("source", format!("/sources/{LONG}")),
        ("snapshot", snapshot),
        ("none", "/sources/none".to_owned()),
    ];
    for (width, is_dark) in [(400, true), (400, false), (1280, false), (1280, true)] {
        browser.look_like(width, is_dark).unwrap();
        for (name, path) in &pages {
            let events = browser.open(&format!("{origin}{path}")).unwrap();
            let requests =
                events.iter().filter(|event| event["method"] == "Network.requestWillBeSent").count();
            assert!(requests >= 2, "{name}: page and style: {events:?}");
            let complaints = complaints(&events, &origin);
            let is_expected = |complaint: &String| *name == "none" && complaint.contains("404");
            assert!(complaints.iter().all(is_expected), "{name} at {width}: {complaints:?}");
            let wide = browser.evaluate("document.documentElement.scrollWidth").unwrap();
            assert!(
                wide.as_u64().unwrap() <= u64::from(width),
                "{name} is {wide} wide, and the window {width}"
            );
            let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor").unwrap();
            let expected = if is_dark { "rgb(19, 23, 22)" } else { "rgb(246, 247, 246)" };
            assert_eq!(ground, expected, "{name} has its style");
            let injected =
                browser.evaluate("document.querySelectorAll('main img[src=x], script').length").unwrap();
            assert_eq!(injected, 0);
            picture(&mut browser, &format!("{name}-{width}-{}", if is_dark { "dark" } else { "light" }));
        }
    }
    let _stopped = served.stop().assert_code(0);
}

fn picture(browser: &mut Chromium, name: &str) {
    let picture = browser.screenshot().unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 5000, "{name}: {} bytes", picture.len());
    if let Some(folder) = std::env::var_os(PICTURES_VARIABLE) {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
    }
}

/// The check of the page's own requests must be able to fail.
#[test]
fn what_asks_elsewhere_is_found() {
    let event = |url: &str| serde_json::json!({ "method": "Network.requestWillBeSent", "params": { "request": { "url": url } } });
    let found =
        complaints(&[event("http://127.0.0.1:1/x"), event("https://fonts.example/y")], "http://127.0.0.1:1");
    assert_eq!(found, ["it asks for https://fonts.example/y"]);
    let violation = serde_json::json!({ "method": "Log.entryAdded", "params": { "entry": { "source": "security", "text": "Refused" } } });
    assert_eq!(complaints(&[violation], "http://127.0.0.1:1"), ["\"Refused\""]);
}
