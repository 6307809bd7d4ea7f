use super::*;
use crate::view::{Facts, SnapshotView, Snapshots};
use strongroom_ops::config::Config;
use strongroom_ops::history::History;
use strongroom_ops::status::{Logs, Status};

const EVIL: &str = "<script>alert(\"1\")</script>&'";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn snapshot_of(number: u8, source: &str) -> SnapshotView {
    SnapshotView {
        id: format!("{number:02x}").repeat(32),
        source: source.into(),
        engine: EVIL.into(),
        time: now(),
        seconds: 1.0,
        host: EVIL.into(),
        user: EVIL.into(),
        tool: EVIL.into(),
        signer: EVIL.into(),
        entry: number.into(),
        parent: None,
        entries: 1,
        files: 1,
        bytes: 1,
        new_bytes: 1,
        stored_bytes: 1,
        unreadable: 0,
        arguments: vec!["dump --password=pl4nted postgres://u:pl4nted@h".into()],
        tags: vec![EVIL.into()],
        holds: vec![EVIL.into()],
        streams: Vec::new(),
        facts: Facts::Known(r#"{"url": "redis://:pl4nted@h", "token": "pl4nted"}"#.into()),
    }
}

/// A source with so many snapshots.
fn view(snapshots: u8) -> View {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.json");
    let name = EVIL.replace('"', "\\\"");
    std::fs::write(&file, format!("{{\"sources\": {{\"{name}\": {{\"engine\": \"files\"}}}}}}")).unwrap();
    let config = Config::read(&file).unwrap();
    let status = Status::new(&History::default(), &[], 0, Logs::default(), &config, now());
    View {
        repository: "https://me:pl4nted@store".into(),
        bucket: EVIL.into(),
        fingerprint: "00".into(),
        status,
        snapshots: Snapshots::new((0..snapshots).map(|number| snapshot_of(number, EVIL)).collect()),
        next: Vec::new(),
        schedules: true,
        tool: "strongroom".into(),
    }
    .redacted()
}

fn all(view: &View, reading: &Reading) -> Vec<String> {
    let shown = Shown { view: Some(view), reading, now: now(), session: true };
    let id = "00".repeat(32);
    let mut pages = vec![overview(shown).0, source(shown, EVIL, 1).unwrap().0];
    pages.extend(snapshot(shown, &id).map(|page| page.0));
    pages
}

#[test]
fn no_text_is_markup_and_no_secret_is_shown() {
    let reading = Reading {
        last: Some(now()),
        error: Some(strongroom_ops::redacted(&format!("{EVIL} s3://k:pl4nted@b"))),
    };
    for page in all(&view(3), &reading) {
        assert!(!page.contains("<script") && !page.contains("pl4nted"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        // Neither would be let through by the policy.
        assert!(!page.contains(" style=") && !page.contains(" onclick="), "{page}");
    }
}

#[test]
fn snapshots_come_page_by_page() {
    let view = view(60);
    let reading = Reading::default();
    let shown = Shown { view: Some(&view), reading: &reading, now: now(), session: false };
    let links = |page| source(shown, EVIL, page).map(|page| page.0.matches("href=\"/snapshots/").count());
    assert_eq!((links(1), links(2), links(3)), (Ok(25), Ok(25), Ok(10)));
    for page in [0, 4, usize::MAX] {
        assert_eq!(links(page), Err(NotFound));
    }
    assert_eq!(source(shown, "none", 1).map(drop), Err(NotFound));
    assert_eq!(snapshot(shown, "00").map(drop), Err(NotFound));
    // The newest first.
    let first = source(shown, EVIL, 1).unwrap().0;
    assert!(first.contains(&format!("/snapshots/{}", "3b".repeat(32))) && !first.contains(&"00".repeat(32)));
}

#[test]
fn what_is_not_known_is_said() {
    let reading = Reading::default();
    let shown = Shown { view: None, reading: &reading, now: now(), session: false };
    assert!(overview(shown).0.contains("Nothing is known yet"));
    let page = all(&view(0), &reading).remove(0);
    assert!(
        page.contains("there is no data to show yet") && page.contains("No restore was tested yet"),
        "{page}"
    );
    let stale = Reading { last: Some(now()), error: Some("no route".into()) };
    let page = all(&view(1), &stale).remove(0);
    assert!(page.contains("Unknown") && page.contains("no route") && !page.contains("All is well"), "{page}");
}
