//! The PostgreSQL that other tests stand on: it starts, answers, is dumped, and is gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::net::TcpStream;
use std::process::Stdio;

use strongroom_tests::services::postgres::{PLATFORM_DATABASE, Postgres};

#[test]
fn a_server_answers_and_goes_away() {
    let Some(server) = Postgres::start_with(&[("application_name", "it's a test")]).unwrap() else { return };
    assert_eq!(server.psql("SELECT 6 * 7; SELECT 'a', 'b'").unwrap(), "42\na|b");
    assert_eq!(server.psql("SHOW fsync").unwrap(), "off");
    assert!(server.psql("SELECT 1 / 0").unwrap_err().to_string().contains("division by zero"));
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_ok());
    let data = server.data_directory();
    assert!(data.exists());
    let mut client = server.client("psql");
    let mut client = client
        .args(["--command", "SELECT pg_sleep(3600)", "postgres"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(server);
    assert!(!client.wait().unwrap().success(), "the server went on after it was dropped");
    assert!(!data.exists());
}

#[test]
fn the_platform_database_is_dumped_at_the_size_asked_for() {
    let Some(server) = Postgres::start().unwrap() else { return };
    server.generate_platform_database(4).unwrap();
    let output = server.pg_dump(&[PLATFORM_DATABASE]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let length = output.stdout.len();
    assert!((3_600_000..4_400_000).contains(&length), "{length}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("\n-- PostgreSQL database dump complete\n"));
    let digest = "SELECT md5(string_agg(jobs::text, E'\\n' ORDER BY id)) FROM jobs";
    let first = server.psql_in(PLATFORM_DATABASE, digest).unwrap();

    let Some(other) = Postgres::start().unwrap() else { return };
    other.generate_platform_database(4).unwrap();
    assert_eq!(other.psql_in(PLATFORM_DATABASE, digest).unwrap(), first, "the same number, the same rows");
}
