//! `report`, `drill`: what was agreed and what was reached; `config schema` and `show`, the scripts' variables, manual pages.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::PathBuf;

use serde_json::Value;
use strongroom_tests::sandbox::{Sandbox, text};
use strongroom_tests::services::json_schema;

fn configured(sandbox: &mut Sandbox) {
    sandbox.set("STRONGROOM_CONFIG", sandbox.path("strongroom.toml"));
    sandbox.write("data/dump", "a\n".repeat(1000));
    let folder = sandbox.path("data").display().to_string();
    sandbox.write(
        "strongroom.toml",
        format!(
            r#"
            rpo = "1h"
            rto = "1h"
            slo = {{ backup_success_percent = 99.5 }}
            retention = {{ days = 30, compliance_days = 2555 }}
            verify = {{ every = "7d" }}
            [drills.quarterly]
            every = "92d"
            what = "all of <it>"
            [sources.shop]
            engine = "command"
            stream = ["dump=cat {folder}/dump && ! test -e {folder}/fail"]
            [sources.idle]
            engine = "files"
            paths = ["{folder}"]
            "#
        ),
    );
}

#[test]
fn what_was_reached_stands_beside_what_was_agreed() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let _ran = sandbox.run(["run", "shop"]).assert_code(0);
    sandbox.write("data/fail", "");
    let _failed = sandbox.run(["run", "shop", "--only", "backup"]).assert_code(1);
    let _held = sandbox.run(["hold", "add", "latest", "--name", "legal"]).assert_code(0);
    let record = |kind: &str, code| {
        let drill = ["drill", "record", "--kind", kind, "--result", "passed", "--took", "42m"];
        sandbox.run([&drill[..], &["--note", "all was <back>"]].concat()).assert_code(code)
    };
    let _misspelt = record("quaterly", 2).assert_says(["is `quarterly` meant?"]);
    let _recorded = record("quarterly", 0).assert_prints(["noted the quarterly drill"]);
    let _listed = sandbox.run(["drill", "list"]).assert_code(0).assert_prints(["quarterly", "passed"]);

    let report = sandbox.run(["report", "--format", "json"]).assert_code(0);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let of = |name: &str| {
        let sources = report["sources"].as_array().unwrap();
        sources.iter().find(|source| source["name"] == name).unwrap().clone()
    };
    let (shop, idle) = (of("shop"), of("idle"));
    assert_eq!((&shop["backups"]["tried"], &shop["backups"]["met"]), (&2.into(), &false.into()));
    assert_eq!((&shop["rpo"]["met"], &shop["rto"]["met"]), (&true.into(), &true.into()));
    assert_eq!(shop["restore_tests"]["percent"], 100.0);
    assert_eq!((&shop["retention"]["days"], &shop["retention"]["held_snapshots"]), (&30.into(), &1.into()));
    assert_eq!(idle["backups"]["met"], Value::Null);
    assert_eq!(report["drills"][0]["held"][0]["seconds"], 42.0 * 60.0);
    assert_eq!(report["audit"]["holds"][0]["result"], "done");
    assert!(report["audit"]["unbroken_since"].is_string(), "{}", report["audit"]);
    assert!(
        report["missed"][0].as_str().unwrap().contains("shop: 50.00% of backups"),
        "{}",
        report["missed"]
    );
    let unknown = report["unknown"].to_string();
    assert!(unknown.contains("idle: no restore test") && unknown.contains("not checked"), "{unknown}");
    let head = text(&report["audit"]["head"]);
    let _goes_on = sandbox.run(["journal", "verify", "--expect-head", &head]).assert_code(0);

    let page = sandbox.path("report.html");
    let html = ["report", "--format", "html", "--output", page.to_str().unwrap()];
    let _written = sandbox.run(html).assert_code(0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("all was &lt;back&gt;") && !page.contains("<back>"));
    assert!(!page.contains("src=") && !page.contains("href="), "it needs nothing else");
    let before = sandbox.run(["report", "--month", "2020-01"]).assert_code(0);
    let _before = before.assert_prints(["shop: no restore test in this period", "no quarterly drill"]);
    let _future = sandbox.run(["report", "--month", "2999-01"]).assert_code(2);
    let _wrong = sandbox.run(["report", "--quarter", "2026-Q5"]).assert_code(2).assert_says(["2026-Q3"]);
}

fn schema(sandbox: &Sandbox) -> Value {
    serde_json::from_slice(&sandbox.run(["config", "schema"]).assert_code(0).stdout).unwrap()
}

/// Samples of the documents.
fn samples() -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut samples = Vec::new();
    for page in ["docs/configuration.md", "docs/monitoring.md", "docs/audit.md", "docs/report.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for sample in text.split("```toml\n").skip(1) {
            samples.push((page.into(), sample.split("```").next().unwrap().to_owned()));
        }
    }
    samples
}

#[test]
fn the_schema_says_what_the_parser_says() {
    let sandbox = Sandbox::new();
    let schema = schema(&sandbox);
    let samples = samples();
    assert!(samples.len() >= 4, "{}", samples.len());
    // Each is in order for one just when it is for the other.
    let cases = [
        ("rpo = \"1h\"\n", true),
        ("rpo = \"1 hour\"\n", false),
        ("rpo = 5\n", false),
        ("typo = 1\n", false),
        ("[retention]\ndays = 0\n", false),
        ("[retention]\ndays = 3\nkeep_within = \"3w\"\n", true),
        ("[slo]\nbackup_success_percent = 101\n", false),
        ("[verify]\nevery = \"1d\"\nschedule = \"@daily\"\n", false),
        ("[check]\nevery = \"1d\"\nsample = 10\n", true),
        ("[check]\nsmaple = 10\n", false),
        ("[repository]\nregion = \"eu\"\n", true),
        ("[repository]\nregoin = \"eu\"\n", false),
        ("[audit]\nrequired = true\n", true),
        ("[audit]\nrequired = 1\n", false),
        ("[sources.a]\nengine = \"files\"\npaths = [\"/etc\"]\none_file_system = true\n", true),
        ("[sources.a]\nengine = \"files\"\npaths = [\"/etc\"]\none_file_system = \"x\"\n", false),
        ("[sources.a]\nengine = \"files\"\npaths = [\"/etc\"]\ndbname = \"x\"\n", false),
        ("[sources.a]\nengine = \"oracle\"\n", false),
        ("[sources.a]\nretention = { days = 3 }\n", true),
        ("[[sources.a.assertions]]\nname = \"x\"\n", false),
        ("[drills.monthly]\nschedule = \"@monthly\"\n", true),
        ("[notify.x]\nslack = \"env:HOOK\"\nmin_severity = \"worse\"\n", false),
    ];
    let all = samples.iter().map(|(_, sample)| sample.as_str()).chain(cases.iter().map(|(text, _)| *text));
    let Some(judged) = json_schema::judge(&schema, &all.collect::<Vec<_>>()).unwrap() else { return };
    for ((page, sample), wrong) in samples.iter().zip(&judged) {
        assert!(wrong.is_empty(), "{}: {wrong:?}\n{sample}", page.display());
    }
    for ((text, is_good), wrong) in cases.into_iter().zip(&judged[samples.len()..]) {
        assert_eq!(wrong.is_empty(), is_good, "the schema: {text}: {wrong:?}");
        sandbox.write("c.toml", text);
        // A source that the repository does not know is no matter of form.
        let mut command = sandbox.command(["config", "check", "--offline", "--config", "c.toml"]);
        let checked = strongroom_tests::sandbox::run(command.env_remove("STRONGROOM_REPO"));
        assert_eq!(checked.status.success(), is_good, "config check: {text}{checked}");
    }
}

#[test]
fn variables_of_scripts_are_honoured_and_told() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox);
    let shown = |sandbox: &Sandbox| {
        let lines = sandbox.run(["config", "show", "--json"]).assert_code(0).all("setting");
        let line = |line: &Value| {
            format!("{}={} from {}", text(&line["field"]), text(&line["value"]), text(&line["from"]))
        };
        lines.iter().map(line).collect::<Vec<_>>()
    };
    let before = shown(&sandbox);
    let repository = sandbox.repository().display().to_string();
    assert!(
        before.contains(&format!("repository.url={repository} from the environment, STRONGROOM_REPO")),
        "{before:?}"
    );
    let days =
        |lines: &[String]| lines.iter().find(|line| line.starts_with("sources.shop.retention.days")).cloned();
    assert!(
        days(&before).unwrap().contains("30 days from") && days(&before).unwrap().contains(".toml"),
        "{before:?}"
    );
    sandbox.set("BACKUP_RETENTION_DAYS", "60");
    sandbox.set("BACKUP_S3_BUCKET", "saveit-backups");
    let after = shown(&sandbox);
    assert_eq!(
        days(&after).unwrap(),
        "sources.shop.retention.days=60 days from the environment, BACKUP_RETENTION_DAYS"
    );
    // Something else says where the repository is.
    assert!(
        after.contains(&format!("repository.url={repository} from the environment, STRONGROOM_REPO")),
        "{after:?}"
    );
    sandbox.set("STRONGROOM_REPO", "");
    let bucket = "repository.url=s3://saveit-backups/strongroom from the environment, BACKUP_S3_BUCKET";
    assert!(shown(&sandbox).contains(&bucket.to_owned()));
    sandbox.set("STRONGROOM_REPO", &repository);

    // Off is off, and nonsense is refused.
    sandbox.set("BACKUP_ENABLED", "false");
    let _off = sandbox.run(["run"]).assert_code(0).assert_says(["BACKUP_ENABLED"]);
    assert_eq!(sandbox.snapshots().len(), 0);
    sandbox.set("BACKUP_ENABLED", "perhaps");
    let _nonsense = sandbox.run(["run"]).assert_code(2).assert_says(["BACKUP_ENABLED=perhaps"]);
    sandbox.set("BACKUP_ENABLED", "");
    // Without a configuration, too.
    let _id = sandbox.backup_stream("x", b"data");
    sandbox.set("STRONGROOM_CONFIG", "");
    let kept = sandbox.run(["forget", "--dry-run"]).assert_code(0);
    let _kept = kept.assert_prints(["would forget 0 of 1"]);
    sandbox.set("BACKUP_RETENTION_DAYS", "soon");
    let _nonsense = sandbox.run(["forget", "--dry-run"]).assert_code(2).assert_says(["a number of days"]);
}

#[test]
fn a_repository_is_made_for_whom_the_configuration_names() {
    let mut sandbox = Sandbox::empty();
    let recovery = sandbox.run(["key", "generate-recovery", "recovery.key"]).assert_code(0);
    let public =
        recovery.text().split_whitespace().find(|word| word.starts_with("x25519:")).unwrap().to_owned();
    sandbox.set("STRONGROOM_CONFIG", sandbox.path("strongroom.toml"));
    let key = sandbox.path("own.key").display().to_string();
    let named = |more: &str| format!("recipients = [\"key-file:{key}\"{more}]\n");
    sandbox.write("strongroom.toml", named(""));
    sandbox.set("STRONGROOM_KEY_FILE", &key);
    let _made = sandbox.run(["init", "--host", "test"]).assert_code(0);
    let _in_order = sandbox.run(["config", "check"]).assert_code(0);
    sandbox.write("strongroom.toml", named(&format!(", \"{public}\"")));
    let missing = sandbox.run(["config", "check"]).assert_code(1);
    let _missing = missing.assert_prints(["strongroom.toml:1: ", "the repository does not open for x25519:"]);
    let _added = sandbox.run(["key", "add-recipient", &public]).assert_code(0);
    let _in_order = sandbox.run(["config", "check"]).assert_code(0);
}

#[test]
fn every_command_has_a_manual_page() {
    let sandbox = Sandbox::empty();
    let _written = sandbox.run(["man", "--output", "man"]).assert_code(0);
    let page = |name: &str| std::fs::read_to_string(sandbox.path("man").join(name)).unwrap_or_default();
    let help = sandbox.run(["--help"]).assert_code(0).text();
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    // Names stand in the first column; what goes on below them is further in.
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let page = page(&format!("strongroom-{name}.1"));
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH DESCRIPTION"), "{name}: {page}");
    }
    assert!(
        page("strongroom-key-rotate.1").contains(".SH NAME") && page("strongroom.1").contains("Exit codes")
    );
    assert!(sandbox.run(["man"]).assert_code(0).text().contains(".SH NAME"));
}
