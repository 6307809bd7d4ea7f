//! `init`: who can open the new repository, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use strongroom_tests::sandbox::{Sandbox, run, text};

fn mode(path: &PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn without_a_word_it_makes_a_key_file_and_finds_it_again() {
    let sandbox = Sandbox::empty();
    let made = sandbox.run(["init", "--json"]).assert_code(0).one("init");
    let key = PathBuf::from(text(&made["key_files"][0]));
    assert!(key.starts_with(sandbox.home()), "{made}");
    assert_eq!(mode(&key), 0o600);
    let fingerprint = text(&made["fingerprint"]);
    assert_eq!(key.file_stem().unwrap().to_str().unwrap(), fingerprint.replace(' ', ""));
    assert!(fs::read_to_string(&key).unwrap().contains(&fingerprint), "the key file says whose it is");
    assert_eq!(fs::read_dir(key.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
    let _found = sandbox.backup_stream("x", b"x");
    // It is a plain file that can be moved to another host.
    fs::rename(&key, sandbox.path("moved.key")).unwrap();
    let _lost = sandbox.run(["snapshots"]).assert_code(5);
    let _given = sandbox.run(["snapshots", "--key-file", "moved.key"]).assert_code(0);
    let _given = run(sandbox.command(["snapshots"]).env("STRONGROOM_KEY_FILE", "moved.key")).assert_code(0);
    assert_eq!(mode(&sandbox.repository()), 0o700);
}

#[test]
fn for_people_it_says_where_the_key_is_and_what_to_do_with_it() {
    let sandbox = Sandbox::empty();
    let made = sandbox.run(["init"]).assert_code(0);
    let home = sandbox.home();
    let _said = made
        .assert_prints(["fingerprint ", "key file ", home.to_str().unwrap()])
        .assert_says(["Keep a copy of the key file", "STRONGROOM_FINGERPRINT"]);
}

#[test]
fn key_files_are_made_or_taken_as_they_are() {
    let sandbox = Sandbox::empty();
    let _made = sandbox
        .run(["init", "--key-file", "keys/mine.key"])
        .assert_code(0)
        .assert_prints(["key file keys/mine.key"]);
    let key = sandbox.path("keys/mine.key");
    assert_eq!(mode(&key), 0o600);
    let before = fs::read(&key).unwrap();
    let _second = sandbox.run(["init", "--repo", "second", "--key-file", "keys/mine.key"]).assert_code(0);
    assert_eq!(fs::read(&key).unwrap(), before, "an existing key file stays as it is");
    for repository in ["repository", "second"] {
        let _opened =
            sandbox.run(["snapshots", "--repo", repository, "--key-file", "keys/mine.key"]).assert_code(0);
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let _warned = sandbox
        .run(["snapshots", "--key-file", "keys/mine.key"])
        .assert_code(0)
        .assert_says(["can be read by others", "chmod 600"]);
    sandbox.write("no.key", "nonsense");
    let _refused = sandbox
        .run(["init", "--repo", "third", "--key-file", "no.key"])
        .assert_code(5)
        .assert_says(["not a key file"]);
    assert_eq!(fs::read(sandbox.path("no.key")).unwrap(), b"nonsense");
}

#[test]
fn a_passphrase_comes_from_the_environment_or_a_file() {
    let sandbox = Sandbox::empty();
    let file = sandbox.write("passphrase", "correct horse battery\n");
    let _made =
        run(sandbox.command(["init"]).env("STRONGROOM_PASSPHRASE", "correct horse battery")).assert_code(0);
    let _from_file = run(sandbox.command(["snapshots", "--passphrase-file"]).arg(&file)).assert_code(0);
    let _from_variable =
        run(sandbox.command(["snapshots"]).env("STRONGROOM_PASSPHRASE_FILE", &file)).assert_code(0);
    let _second =
        run(sandbox.command(["init", "--repo", "second", "--passphrase-file"]).arg(&file)).assert_code(0);
    let _opened = run(sandbox
        .command(["snapshots", "--repo", "second"])
        .env("STRONGROOM_PASSPHRASE", "correct horse battery"))
    .assert_code(0);
    let _missing = sandbox
        .run(["snapshots", "--passphrase-file", "nowhere"])
        .assert_code(1)
        .assert_says(["passphrase file nowhere"]);
    let empty = sandbox.write("empty", "");
    let _empty = run(sandbox.command(["snapshots", "--passphrase-file"]).arg(&empty))
        .assert_code(1)
        .assert_says(["is empty"]);
    // Nothing of it is anywhere in the repository or the cache.
    for folder in [sandbox.repository(), sandbox.cache()] {
        let status =
            std::process::Command::new("grep").args(["-rq", "correct horse"]).arg(folder).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }
}

#[test]
fn a_short_passphrase_is_refused() {
    let sandbox = Sandbox::empty();
    let init = |passphrase: &str| run(sandbox.command(["init"]).env("STRONGROOM_PASSPHRASE", passphrase));
    let _refused = init("seven77").assert_code(1).assert_says(["fewer than 8 characters"]);
    // Characters, not bytes.
    let _refused = init("sévén77").assert_code(1);
    let _made = init("eight888").assert_code(0);
}

#[test]
fn without_anything_to_ask_a_passphrase_must_be_given() {
    let sandbox = Sandbox::empty();
    let _refused = sandbox
        .run(["init", "--recipient", "passphrase"])
        .assert_code(1)
        .assert_says(["STRONGROOM_PASSPHRASE"]);
    let _unknown = sandbox
        .run(["init", "--recipient", "pgp:0xABCD"])
        .assert_code(2)
        .assert_says(["pgp:0xABCD", "is no recipient"]);
}

#[test]
fn each_of_several_recipients_opens_it() {
    let sandbox = Sandbox::empty();
    let mut init = sandbox.command([
        "init",
        "--recipient",
        "passphrase",
        "--recipient",
        "key-file:one.key",
        "--recipient",
        "key-file:two.key",
    ]);
    let _made = run(init.env("STRONGROOM_PASSPHRASE", "correct horse battery")).assert_code(0);
    for key in ["one.key", "two.key"] {
        let _opened = sandbox.run(["snapshots", "--key-file", key]).assert_code(0);
    }
    let _opened = run(sandbox.command(["snapshots"]).env("STRONGROOM_PASSPHRASE", "correct horse battery"))
        .assert_code(0);
    let mut check = sandbox.command(["check", "--keys"]);
    let _clean = run(check.env("STRONGROOM_PASSPHRASE", "correct horse battery")).assert_code(0);
}

#[test]
fn it_never_takes_the_place_of_what_is_there() {
    let sandbox = Sandbox::new();
    let config = fs::read(sandbox.repository().join("config")).unwrap();
    let _twice = sandbox.run(["init"]).assert_code(1).assert_says([
        "there is a repository at",
        "already",
        "hint: use it as it is",
    ]);
    assert_eq!(fs::read(sandbox.repository().join("config")).unwrap(), config);
    let _still = sandbox.run(["snapshots"]).assert_code(0);
    sandbox.write("folder/mine", "mine");
    let _folder =
        sandbox.run(["init", "--repo", "folder"]).assert_code(1).assert_says(["folder is not empty"]);
    let _file = sandbox.run(["init", "--repo", "folder/mine"]).assert_code(1).assert_says(["folder/mine"]);
    assert_eq!(fs::read_dir(sandbox.path("folder")).unwrap().count(), 1);
    let keys = sandbox.home().join(".config/strongroom/keys");
    assert_eq!(fs::read_dir(keys).unwrap().count(), 1, "only the first repository's key is there");
    fs::create_dir(sandbox.path("empty")).unwrap();
    let _made = sandbox.run(["init", "--repo", "empty"]).assert_code(0);
    let _url =
        sandbox.run(["init", "--repo", &format!("file://{}", sandbox.path("url").display())]).assert_code(0);
    assert!(sandbox.path("url/config").is_file());
}

#[test]
fn an_unfinished_init_is_told_from_a_repository() {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.repository().join("journal/0000000000000000")).unwrap();
    let _said = sandbox.run(["init"]).assert_code(1).assert_says(["did not finish"]);
    let _said = sandbox.run(["snapshots"]).assert_code(1).assert_says(["did not finish"]);
}
