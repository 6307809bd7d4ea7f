//! `wal-push --queue-max`: a server whose log cannot be archived goes on, and everybody is told what is gone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::archiving::{name_of, segment};
use strongroom_tests::sandbox::{Ran, Sandbox, run, text};

const SYSTEM: u64 = 7_311_000_000_000_000_001;

/// A data directory whose server has segments of 1 MiB ready.
struct Server {
    sandbox: Sandbox,
    agent: bool,
}

impl Server {
    fn new(agent: bool) -> Self {
        let mut sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.path("run")).unwrap();
        sandbox.set("XDG_RUNTIME_DIR", sandbox.path("run"));
        Self { sandbox, agent }
    }

    fn make_ready(&self, places: impl IntoIterator<Item = u64>) {
        for place in places {
            let name = name_of(place);
            let bytes = segment(SYSTEM, place, u8::try_from(place).unwrap());
            let _ = self.sandbox.write(format!("data/pg_wal/{name}"), bytes);
            let _ = self.sandbox.write(format!("data/pg_wal/archive_status/{name}.ready"), "");
        }
    }

    /// As a server does it: what is archived is not ready any more.
    fn push(&self, place: u64, queue_max: &str) -> Ran {
        let path = format!("pg_wal/{}", name_of(place));
        let mut arguments = vec!["wal-push", &path, "--queue-max", queue_max];
        arguments.extend(self.agent.then_some("--agent=1s"));
        let ran = run(self.sandbox.command(arguments).current_dir(self.sandbox.path("data")));
        if ran.status.success() {
            let status = self.sandbox.path(format!("data/pg_wal/archive_status/{}", name_of(place)));
            let _ = std::fs::rename(status.with_extension("ready"), status.with_extension("done"));
        }
        ran
    }

    /// Nothing can be stored, by an agent that has the repository open neither.
    fn hide_archive(&self) {
        std::fs::rename(self.sandbox.repository().join("wal"), self.sandbox.path("away")).unwrap();
        std::fs::write(self.sandbox.repository().join("wal"), "").unwrap();
    }

    fn show_archive(&self) {
        std::fs::remove_file(self.sandbox.repository().join("wal")).unwrap();
        std::fs::rename(self.sandbox.path("away"), self.sandbox.repository().join("wal")).unwrap();
    }

    /// First and last of each gap.
    fn gaps(&self) -> Vec<(String, String)> {
        let line = self.sandbox.run(["wal", "list", "--json"]).assert_code(0).one("wal");
        let gaps = line["gaps"].as_array().unwrap();
        gaps.iter().map(|gap| (text(&gap["first"]), text(&gap["last"]))).collect()
    }

    fn notes(&self) -> usize {
        let exported = self.sandbox.run(["journal", "export"]).assert_code(0);
        exported.text().lines().filter(|line| line.contains("wal_dropped")).count()
    }
}

fn what_cannot_be_pushed_is_dropped(agent: bool) {
    let server = Server::new(agent);
    server.make_ready([1]);
    let _ = server.push(1, "10M").assert_code(0);
    server.hide_archive();
    server.make_ready(2..=4);
    let ran = server.push(2, "10M");
    assert!(!ran.status.success(), "there is room: {ran}");
    // More than may wait, and less than a quarter more.
    let dropped = server.push(2, "2560K").assert_code(0);
    let _ = dropped.assert_says(["DROPPED", &name_of(2), &name_of(4), "3 segments", "new base backup"]);
    for place in [3, 4] {
        let _ = server.push(place, "2560K").assert_code(0).assert_says(["was dropped", &name_of(place)]);
    }
    // What is made ready by hand once more is no longer given up.
    server.make_ready([4]);
    assert!(!server.push(4, "2560K").status.success());

    server.show_archive();
    let listed = server.sandbox.run(["wal", "list", "--json"]).assert_code(0);
    let range = listed.one("wal_dropped")["ranges"][0].clone();
    assert_eq!((text(&range["first"]), text(&range["last"])), (name_of(2), name_of(4)));
    let _ = server.sandbox.run(["wal", "list", "--max-lag", "1d"]).assert_code(3).assert_says(["DROPPED"]);
    assert_eq!(server.notes(), 0);
    server.make_ready([5]);
    let _ = server.push(5, "2560K").assert_code(0);
    assert_eq!(server.notes(), 1);
    assert_eq!(server.gaps(), [(name_of(2), name_of(4))]);
    let listed = server.sandbox.run(["wal", "list", "--json", "--max-lag", "1d"]).assert_code(3);
    assert_eq!((listed.all("wal_dropped").len(), &listed.one("wal")["missing_segments"]), (0, &3.into()));

    // What the server still has may be saved.
    let _ = server.push(4, "2560K").assert_code(0);
    assert_eq!((server.gaps(), server.notes()), (vec![(name_of(2), name_of(3))], 1));
    server.sandbox.assert_clean();
}

#[test]
fn what_cannot_be_pushed_is_dropped_when_too_much_waits() {
    what_cannot_be_pushed_is_dropped(false);
}

#[test]
fn what_an_agent_cannot_push_is_dropped_when_too_much_waits() {
    what_cannot_be_pushed_is_dropped(true);
}

#[test]
fn a_quarter_more_is_dropped_untried() {
    let server = Server::new(false);
    server.make_ready(1..=5);
    let dropped = server.push(1, "3M").assert_code(0);
    let _ = dropped.assert_says(["DROPPED", &name_of(1), &name_of(5), "as fast as it is written"]);
    for place in 2..=5 {
        let _ = server.push(place, "3M").assert_code(0).assert_says(["was dropped"]);
    }
    // An archive that has nothing has no gap: what was dropped is told as such.
    server.make_ready([6]);
    let ran = server.push(6, "3M").assert_code(0);
    assert!(ran.stderr.is_empty(), "{ran}");
    assert_eq!((server.gaps(), server.notes()), (vec![], 1));
    let state = server.sandbox.home().join(".local/state/strongroom/wal-dropped");
    assert_eq!(state.read_dir().unwrap().count(), 0, "nobody is to be told of anything");
}

#[test]
fn what_leaves_no_trace_is_not_dropped() {
    let mut server = Server::new(false);
    let _ = server.sandbox.write("file", "");
    server.sandbox.set("STRONGROOM_STATE_DIR", server.sandbox.path("file"));
    server.make_ready(1..=5);
    let _ = server.push(1, "3M").assert_code(1).assert_says(["cannot be kept in"]);
}
