//! `wal receive`, from replication slots of real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use strongroom_tests::archiving::{name_of, segment};
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Running, Sandbox, text};
use strongroom_tests::services::postgres::{Postgres, installations};

/// A server, and a repository that receives its log.
struct Setup {
    sandbox: Sandbox,
    server: Postgres,
}

impl Setup {
    fn each() -> Vec<Self> {
        let start = |binaries: &PathBuf| Postgres::start_of(binaries, &[("max_wal_senders", "4")]).unwrap();
        installations()
            .unwrap()
            .iter()
            .map(|binaries| Self { sandbox: Sandbox::new(), server: start(binaries) })
            .collect()
    }

    fn arguments(&self, url: &str) -> Vec<String> {
        let binaries = self.server.binaries().display().to_string();
        let words = [
            "wal",
            "receive",
            "--slot",
            "vault",
            "--create-slot",
            "--dbname",
            url,
            "--pg-bin",
            &binaries,
            "--json",
        ];
        words.map(str::to_owned).to_vec()
    }

    fn receive(&self) -> Running {
        self.sandbox.start(self.arguments(&self.server.url("postgres")))
    }

    fn slot(&self, column: &str) -> String {
        let sql = format!(
            "SELECT coalesce({column}::text, '') FROM pg_replication_slots WHERE slot_name = 'vault'"
        );
        self.server.psql(&sql).unwrap()
    }

    fn wait_until_it_receives(&self) {
        wait_for("the slot is waited for", || self.slot("active") == "true");
    }

    /// Writes, and ends the segment; gives the name of the last.
    fn write(&self, rows: u32) -> String {
        self.server.psql("CREATE TABLE IF NOT EXISTS t (n int, at text)").unwrap();
        let insert = format!("INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, {rows}) n");
        self.server.psql(&insert).unwrap();
        self.server.psql("SELECT pg_walfile_name(pg_switch_wal())").unwrap()
    }

    fn archived(&self) -> Option<Value> {
        self.sandbox.run(["wal", "list", "--json"]).assert_code(0).all("wal").pop()
    }

    fn wait_for_segment(&self, name: &str) {
        wait_for("a segment is waited for", || {
            self.archived().is_some_and(|line| line["last"].as_str().is_some_and(|last| last >= name))
        });
    }

    fn spool(&self) -> PathBuf {
        self.sandbox.home().join(".local/state/strongroom/wal-receive/vault")
    }

    fn spooled(&self) -> usize {
        let folder =
            self.spool().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        folder.filter(|name| name.len() == 24).count()
    }

    /// Every segment is there once, from the first to the last.
    fn assert_whole(&self) {
        let lines = self.sandbox.run(["wal", "list", "--json"]).assert_code(0).all("wal");
        assert!(lines.iter().all(|line| line["missing_segments"] == 0), "{lines:?}");
        let line = self.archived().unwrap();
        let system = self.server.psql("SELECT system_identifier FROM pg_control_system()").unwrap();
        assert_eq!(text(&line["system_identifier"]), system);
        self.sandbox.assert_clean();
    }
}

#[test]
fn what_is_received_is_stored_and_leaves_the_spool() {
    for setup in Setup::each() {
        let running = setup.receive();
        setup.wait_until_it_receives();
        let mut last = String::new();
        for _ in 0..3 {
            last = setup.write(50_000);
            setup.wait_for_segment(&last);
        }
        wait_for("the spool is waited for", || setup.spooled() == 1);
        running.signal(Signal::TERM);
        let ran = running.wait().assert_code(143);
        assert!(ran.all("wal_received").len() >= 3, "{ran}");
        wait_for("the end of the stream is waited for", || setup.slot("active") == "false");
        setup.assert_whole();

        // Bytes as the server has them.
        let destination = setup.sandbox.path("segment");
        let system = text(&setup.archived().unwrap()["system_identifier"]);
        let arguments = ["wal-get", &last, destination.to_str().unwrap(), "--system-identifier", &system];
        let _ = setup.sandbox.run(arguments).assert_code(0);
        let theirs = setup.server.data_directory().join("pg_wal").join(&last);
        assert!(std::fs::read(&destination).unwrap() == std::fs::read(theirs).unwrap());

        // What is written meanwhile the slot keeps.
        let later = setup.write(50_000);
        let running = setup.receive();
        setup.wait_for_segment(&later);
        running.signal(Signal::TERM);
        let _ = running.wait().assert_code(143);
        setup.assert_whole();
    }
}

#[test]
fn killed_at_any_moment_it_loses_nothing() {
    for setup in Setup::each() {
        let mut last = String::new();
        for round in 0..4 {
            let running = setup.receive();
            setup.wait_until_it_receives();
            last = setup.write(30_000 + 10_000 * round);
            if round % 2 == 0 {
                // Somewhere between receiving and storing.
                wait_for("the spool is waited for", || setup.spooled() > 0);
            } else {
                setup.wait_for_segment(&last);
            }
            running.kill();
            let _ = setup.write(30_000);
        }
        let running = setup.receive();
        last = last.max(setup.write(10_000));
        setup.wait_for_segment(&last);
        running.signal(Signal::TERM);
        let _ = running.wait().assert_code(143);
        setup.assert_whole();
    }
}

#[test]
fn a_server_that_is_away_is_waited_for_and_one_that_is_promoted_followed() {
    for mut setup in Setup::each() {
        // Where it listens is read from a service file whenever somebody connects.
        let file = setup.sandbox.path("services");
        let write = |server: &Postgres| {
            std::fs::write(&file, format!("[own]\nhost=127.0.0.1\nport={}\nuser=postgres\n", server.port()))
                .unwrap();
        };
        write(&setup.server);
        setup.sandbox.set("PGSERVICEFILE", &file);
        let running = setup.sandbox.start(setup.arguments("service=own"));
        setup.wait_until_it_receives();
        let first = setup.write(10_000);
        setup.wait_for_segment(&first);
        // It comes back as a standby of nobody, and is promoted.
        setup.server.restart(|data| std::fs::write(data.join("standby.signal"), "").unwrap()).unwrap();
        write(&setup.server);
        setup.wait_until_it_receives();
        assert_eq!(setup.server.psql("SELECT pg_promote()").unwrap(), "t");
        let second = setup.write(10_000);
        setup.wait_for_segment(&second);
        wait_for("the history is waited for", || setup.archived().is_some_and(|line| line["others"] == 1));
        running.signal(Signal::TERM);
        let ran = running.wait().assert_code(143).assert_says(["receiving the log was interrupted"]);
        assert!(!ran.all("warning").is_empty(), "{ran}");
        setup.assert_whole();
    }
}

#[test]
fn what_waiting_does_not_mend_is_an_error() {
    for setup in Setup::each() {
        let url = setup.server.url("postgres");
        let receive = |changes: &[(&str, &str)]| {
            let mut words = setup.arguments(&url);
            for (switch, value) in changes {
                match words.iter().position(|word| word == switch) {
                    Some(at) if value.is_empty() => drop(words.remove(at)),
                    Some(at) => words[at + 1] = (*value).to_owned(),
                    None => words.extend([(*switch).to_owned(), (*value).to_owned()]),
                }
            }
            setup.sandbox.run(words)
        };
        let _ = receive(&[("--create-slot", "")])
            .assert_code(1)
            .assert_says(["no replication slot `vault`", "--create-slot"]);
        let _ = receive(&[("--slot", "Not A Slot")]).assert_code(2);
        let nothing = setup.sandbox.path("nothing").display().to_string();
        let _ =
            receive(&[("--pg-bin", &nothing)]).assert_code(1).assert_says(["there is no psql", "--pg-bin"]);
        // A client that is older than the server.
        let old = setup.sandbox.path("old");
        std::fs::create_dir(&old).unwrap();
        std::os::unix::fs::symlink(setup.server.binaries().join("psql"), old.join("psql")).unwrap();
        let program =
            setup.sandbox.write("old/pg_receivewal", "#!/bin/sh\necho 'pg_receivewal (PostgreSQL) 9.6'\n");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let wrong = receive(&[("--pg-bin", &old.display().to_string())]).assert_code(1);
        let _ = wrong.assert_says(["there is no pg_receivewal", "there is one of 9"]);
        assert_eq!(setup.slot("slot_name"), "", "nothing was made");
        // A spool that others could write to, and one of another server.
        let open = setup.sandbox.path("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let _ = receive(&[("--spool", &open.display().to_string())]).assert_code(1).assert_says(["0700"]);
        std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(open.join(name_of(1)), segment(7, 1, 7)).unwrap();
        let _ = receive(&[("--spool", &open.display().to_string())]).assert_code(1).assert_says(["system 7"]);
    }
}
