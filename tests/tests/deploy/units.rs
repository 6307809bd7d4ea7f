//! Units of systemd, and the Compose file.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::deployment::SYSTEMD_ANALYZE;

use super::{at, document, read, run, tools};

const UNITS: &str = "deploy/systemd";
const PROGRAM: &str = "/usr/local/bin/strongroom";

fn names() -> Vec<String> {
    let entries = at(UNITS).read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".service") || name.ends_with(".timer"));
    names.sort();
    names
}

#[test]
fn units_are_what_systemd_takes() {
    let Some([analyze]) = tools([SYSTEMD_ANALYZE]) else { return };
    let folder = tempfile::tempdir().unwrap();
    // It looks whether the programs are there.
    let program = folder.path().join("strongroom");
    std::fs::copy("/bin/true", &program).unwrap();
    let copy = |name: &str, to: &Path| {
        let text = read(format!("{UNITS}/{name}")).replace(PROGRAM, &program.display().to_string());
        std::fs::write(to.join(name), text).unwrap();
    };
    std::fs::create_dir(folder.path().join("strongroom-.service.d")).unwrap();
    copy("strongroom-.service.d/hardening.conf", folder.path());
    let mut units = Vec::new();
    for name in names() {
        copy(&name, folder.path());
        units.push(folder.path().join(name.replace('@', "@5")));
    }
    assert!(units.len() > 8, "{units:?}");
    let mut verify = Command::new(&analyze);
    verify.args(["verify", "--man=no"]).args(&units);
    verify.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("strongroom-"), "{said}");
    // How exposed they are, of 10.
    let mut security = Command::new(&analyze);
    security.args(["security", "--offline=true", "--threshold=25", "--no-pager"]);
    security.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    let services = units.iter().filter(|unit| unit.extension().is_some_and(|end| end == "service"));
    let _judged = run(security.args(services), "");
}

#[test]
fn units_run_commands_that_there_are() {
    let sandbox = Sandbox::empty();
    let mut commands = 0;
    for name in names() {
        let text = read(format!("{UNITS}/{name}"));
        for line in text.lines().filter_map(|line| line.strip_prefix("ExecStart=")) {
            let words = line.strip_prefix(PROGRAM).unwrap();
            // Options that a host adds: as the unit has them, and as the documents say.
            let (words, more) = words.split_once('$').unwrap_or((words, ""));
            let after =
                |what: String, end: char| text.split(&what).nth(1).unwrap().split(end).next().unwrap();
            let mut options = vec![""];
            if !more.is_empty() {
                let said = after(format!("{more}=\""), '"');
                assert!(read("deploy/README.md").contains(&format!("{more}=\"{said}\"")), "{name}: {said}");
                options = vec![after(format!("\nEnvironment={more}="), '\n'), said];
            }
            for options in options {
                let words = format!("{words} {options}").replace("%i", "5").replace("%I", "5");
                commands += 1;
                let ran = sandbox.run(words.split_whitespace().chain(["--help"]));
                assert!(ran.status.success(), "{name}: {ran}");
            }
        }
    }
    assert!(commands >= 8);
}

#[test]
fn compose_files_name_what_there_is() {
    for folder in ["deploy/compose", "examples/save-it"] {
        let Some(compose) = document(&format!("{folder}/compose.yaml")) else { return };
        names_what_there_is(folder, &compose);
    }
    let sandbox = Sandbox::empty();
    sandbox.write("minio", "x");
    sandbox.write("postgres", "x");
    let secrets = sandbox.path("");
    let config =
        read("deploy/compose/strongroom.toml").replace("/run/secrets/", &format!("{}/", secrets.display()));
    sandbox.write("strongroom.toml", config);
    let _good = sandbox.run(["config", "check", "--offline", "--repo", ""]).assert_code(0);
}

fn names_what_there_is(folder: &str, compose: &Value) {
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        let name = format!("{folder}: {name}");
        let of = |field: &str| service[field].as_array().cloned().unwrap_or_default();
        for wanted in service["depends_on"].as_object().into_iter().flatten() {
            assert!(services.contains_key(wanted.0), "{name} waits for {}", wanted.0);
        }
        for field in ["secrets", "networks"] {
            for one in of(field) {
                assert!(compose[field].get(one.as_str().unwrap()).is_some(), "{name}: {one}");
            }
        }
        for volume in of("volumes") {
            let from = volume.as_str().unwrap().split(':').next().unwrap();
            match from.starts_with('.') {
                true => assert!(at(folder).join(from).exists(), "{name}: {from}"),
                false => assert!(compose["volumes"].get(from).is_some(), "{name}: {from}"),
            }
        }
        assert!(
            of("ports").iter().all(|port| port.as_str().unwrap().starts_with("127.0.0.1:")),
            "{name} is open to all"
        );
    }
}

#[test]
fn images_are_made_of_all_that_the_build_reads() {
    let ignored = read("deploy/docker/Dockerfile.dockerignore");
    let sent: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap().iter();
    let folders = members.map(|member| member.as_str().unwrap().split('/').next().unwrap());
    // Flags of SQLite are set in `.cargo`: without them the ledger's engine cannot read a page.
    for needed in folders.chain([".cargo", "Cargo.toml", "Cargo.lock"]) {
        assert!(sent.contains(&needed), "{needed} is not sent to the builder");
        assert!(at(needed).exists());
    }
    for sent in sent {
        assert!(at(sent).exists(), "{sent} is not there");
    }
}
