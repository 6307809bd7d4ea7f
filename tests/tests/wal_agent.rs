//! The agent of `wal-push --agent`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use strongroom_tests::archiving::{name_of, segment};
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Ran, Sandbox, run};

const SYSTEM: u64 = 7_311_000_000_000_000_001;

/// A data directory whose server has segments ready.
struct Server {
    sandbox: Sandbox,
}

impl Server {
    fn new() -> Self {
        let mut sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.path("run")).unwrap();
        sandbox.set("XDG_RUNTIME_DIR", sandbox.path("run"));
        Self { sandbox }
    }

    /// A segment of 1 MiB as a server writes it.
    fn make_ready(&self, place: u64, system: u64) {
        let bytes = segment(system, place, u8::try_from(place).unwrap());
        let _ = self.sandbox.write(format!("data/pg_wal/{}", name_of(place)), bytes);
        let _ = self.sandbox.write(format!("data/pg_wal/archive_status/{}.ready", name_of(place)), "");
    }

    fn push(&self, place: u64) -> Ran {
        self.push_by("--agent=3s", place)
    }

    /// By an agent that stays as long as this.
    fn push_by(&self, agent: &str, place: u64) -> Ran {
        let path = format!("pg_wal/{}", name_of(place));
        let arguments = ["wal-push", agent, &path];
        run(self.sandbox.command(arguments).current_dir(self.sandbox.path("data")))
    }

    /// Segments that are stored, of each system.
    fn stored(&self) -> Vec<u64> {
        let lines = self.sandbox.run(["wal", "list", "--json"]).assert_code(0).all("wal");
        lines.iter().map(|line| line["segments"].as_u64().unwrap()).collect()
    }

    fn files(&self, extension: Option<&str>) -> Vec<PathBuf> {
        let Ok(folder) = std::fs::read_dir(self.sandbox.path("run/strongroom")) else { return Vec::new() };
        let files = folder.map(|entry| entry.unwrap().path());
        files.filter(|file| file.extension().and_then(|extension| extension.to_str()) == extension).collect()
    }

    fn agent(&self) -> Pid {
        let locks = self.files(Some("lock"));
        assert_eq!(locks.len(), 1, "{locks:?}");
        Pid::from_raw(std::fs::read_to_string(&locks[0]).unwrap().trim().parse().unwrap()).unwrap()
    }

    fn wait_for_the_end_of_the_agent(&self) {
        wait_for("the end of the agent is waited for", || self.files(None).is_empty());
    }
}

#[test]
fn it_pushes_ahead_and_what_is_done_is_there() {
    let server = Server::new();
    // It ends by no clock.
    let push = |place| server.push_by("--agent=1h", place);
    for place in 1..=5 {
        server.make_ready(place, SYSTEM);
    }
    let ran = push(1).assert_code(0);
    assert!(ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran}");
    wait_for("what is ready is waited for", || server.stored() == [5]);
    let first = server.agent();
    for place in 2..=5 {
        let _ = push(place).assert_code(0);
    }
    assert_eq!(server.agent(), first);

    // Killed, it leaves nothing half done, and the next file starts another.
    server.make_ready(6, SYSTEM);
    kill_process(first, Signal::KILL).unwrap();
    let _ = push(6).assert_code(0);
    assert_eq!(server.stored(), [6]);
    let second = server.agent();
    assert_ne!(second, first);
    kill_process(second, Signal::TERM).unwrap();
    server.wait_for_the_end_of_the_agent();
    server.sandbox.assert_clean();
}

#[test]
fn a_cluster_that_is_made_anew_is_another_and_errors_are_passed_on() {
    let server = Server::new();
    server.make_ready(1, SYSTEM);
    let _ = server.push(1).assert_code(0);
    // The same path, and another cluster.
    server.make_ready(1, SYSTEM + 1);
    let _ = server.push(1).assert_code(0);
    assert_eq!(server.stored(), [1, 1]);

    // The same system, and other bytes.
    let _ = server.sandbox.write("other", "");
    server.make_ready(1, SYSTEM);
    let path = server.sandbox.path(format!("data/pg_wal/{}", name_of(1)));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[9000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let _ = server.push(1).assert_code(1).assert_says(["two servers push to one archive", "--source"]);
    std::fs::write(&path, "no segment").unwrap();
    let _ = server.push(1).assert_code(1).assert_says(["does not begin with a page of the log"]);
    std::fs::remove_file(&path).unwrap();
    let _ = server.push(1).assert_code(1).assert_says(["cannot open"]);
    assert_eq!(server.stored(), [1, 1]);
    server.wait_for_the_end_of_the_agent();
    server.sandbox.assert_clean();
}

#[test]
fn one_whose_folder_is_gone_ends_as_well() {
    let server = Server::new();
    server.make_ready(1, SYSTEM);
    let _ = server.push(1).assert_code(0);
    let agent = server.agent();
    std::fs::remove_dir_all(server.sandbox.path("run")).unwrap();
    wait_for("the end of the agent is waited for", || {
        std::fs::read_link(format!("/proc/{}/exe", agent.as_raw_nonzero())).is_err()
    });
}

#[test]
fn who_cannot_have_one_pushes_himself() {
    let server = Server::new();
    server.make_ready(1, SYSTEM);
    // A folder that others could write to is none for sockets.
    let folder = server.sandbox.path("run/strongroom");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let _ = server.push(1).assert_code(0);
    assert_eq!(server.stored(), [1]);
    assert!(server.files(None).is_empty() && server.files(Some("lock")).is_empty());
}
