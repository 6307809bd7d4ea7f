//! A server that archives its log by commands of this project.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::binary::strongroom;
use crate::patience::wait_for;
use crate::sandbox::Sandbox;
use crate::services::postgres::Postgres;

/// A segment of 1 MiB of timeline 1, as a server writes it: its first page says which.
#[must_use]
pub fn segment(system: u64, place: u64, fill: u8) -> Vec<u8> {
    let mut bytes = vec![fill; 1 << 20];
    bytes[..2].copy_from_slice(&0xD110_u16.to_le_bytes());
    bytes[2..4].copy_from_slice(&6_u16.to_le_bytes());
    bytes[4..8].copy_from_slice(&1_u32.to_le_bytes());
    bytes[8..16].copy_from_slice(&(place << 20).to_le_bytes());
    bytes[24..32].copy_from_slice(&system.to_le_bytes());
    bytes[32..36].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    bytes
}

/// The name of a segment of timeline 1.
#[must_use]
pub fn name_of(place: u64) -> String {
    format!("00000001{place:016X}")
}

/// The user that a server runs as when the tests run as root must be able to use what lies in the sandbox.
///
/// # Panics
/// When it cannot be given.
pub fn give_to_server(folder: &Path) {
    let user = || uzers::get_user_by_name("postgres").or_else(|| uzers::get_user_by_name("nobody"));
    let Some(user) = (uzers::get_effective_uid() == 0).then(user).flatten() else { return };
    let mut folders = vec![folder.to_owned()];
    while let Some(path) = folders.pop() {
        std::os::unix::fs::chown(&path, Some(user.uid()), Some(user.primary_group_id())).unwrap();
        if path.is_dir() {
            folders.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

/// As a shell takes it for one word.
fn word(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// The program, where the server's user may run it.
///
/// # Panics
/// Without the program.
pub fn program_of_server(sandbox: &Sandbox) -> PathBuf {
    let copy = sandbox.path("strongroom");
    if !copy.exists() {
        std::fs::copy(strongroom().unwrap().get_program(), &copy).unwrap();
    }
    copy
}

/// The command that a server runs: as whoever made the repository, with a cache of its own.
///
/// # Panics
/// Without the program.
pub fn command_of_server(sandbox: &Sandbox, arguments: &str) -> String {
    let binary = program_of_server(sandbox);
    let variables = [
        ("HOME", sandbox.home()),
        ("STRONGROOM_REPO", sandbox.repository()),
        ("STRONGROOM_CACHE_DIR", sandbox.path("cache-of-server")),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, path)| format!("{name}={}", word(path))).collect();
    format!("env {} {} {arguments}", variables.join(" "), word(&binary))
}

/// The program with the sandbox's own variables, as a service's unit sets them, and what it keeps in places of the server's user.
///
/// # Panics
/// Without the program.
pub fn service_of_server(sandbox: &Sandbox) -> PathBuf {
    let binary = program_of_server(sandbox);
    let variables: String =
        variables_of_server(sandbox).iter().map(|line| format!("export {line}\n")).collect();
    let script = format!("#!/bin/sh\n{variables}exec {} \"$@\"\n", word(&binary));
    let service = sandbox.write("service", script);
    std::fs::set_permissions(&service, std::fs::Permissions::from_mode(0o755)).unwrap();
    give_to_server(&sandbox.path(""));
    service
}

/// The examples' script for the server's user, with the sandbox's own variables in the file that it reads; as a shell takes it.
///
/// # Panics
/// Without the program.
pub fn script_of_server(sandbox: &Sandbox) -> String {
    let script = sandbox.path("strongroom-as-postgres");
    let of_examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/strongroom-as-postgres");
    std::fs::copy(of_examples, &script).unwrap();
    let mut lines = variables_of_server(sandbox);
    lines.push(format!("STRONGROOM_PROGRAM={}", word(&program_of_server(sandbox))));
    let environment = sandbox.write("environment-of-server", lines.join("\n"));
    give_to_server(&sandbox.path(""));
    format!("env STRONGROOM_ENVIRONMENT={} {}", word(&environment), word(&script))
}

/// As a shell takes them, a line each.
fn variables_of_server(sandbox: &Sandbox) -> Vec<String> {
    let own = [("STRONGROOM_CACHE_DIR", "cache-of-server"), ("STRONGROOM_STATE_DIR", "state-of-server")];
    let mut command = sandbox.command([""; 0]);
    for (name, folder) in own {
        std::fs::create_dir(sandbox.path(folder)).unwrap();
        command.env(name, sandbox.path(folder));
    }
    let line = |name: &std::ffi::OsStr, value: &std::ffi::OsStr| {
        format!("{}='{}'", name.to_str().unwrap(), value.to_str().unwrap().replace('\'', "'\\''"))
    };
    command.get_envs().filter_map(|(name, value)| Some(line(name, value?))).collect()
}

/// A moment between what is done before and what is done after.
///
/// # Panics
/// When the server says no.
pub fn moment(server: &Postgres) -> String {
    let pause = || server.psql("SELECT pg_sleep(0.1)").unwrap();
    let _before = pause();
    let moment = server
        .psql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
        .unwrap();
    let _after = pause();
    moment
}

/// Waits until all that was written is archived.
///
/// # Panics
/// When it is not.
pub fn archive_all(server: &Postgres) {
    let last = server.psql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
    wait_for("archiving is waited for", || {
        server.psql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver").unwrap() >= last
    });
}

/// Waits until it has recovered.
///
/// # Panics
/// When it does not.
pub fn wait_until_promoted(server: &Postgres) {
    wait_for("the end of recovery is waited for", || {
        server.psql("SELECT pg_is_in_recovery()").unwrap() == "f"
    });
}
