//! Examples: their configurations are in order, and their CronJobs come when these say.

use std::collections::BTreeSet;

use serde_json::Value;
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::deployment::{HELM, SCHEMAS};

use super::manifests::{charts, pod_of};
use super::{EXAMPLES, documents, read, tools};

/// The configuration, as it is.
fn config(example: &str) -> toml::Table {
    read(format!("examples/{example}/strongroom.toml")).parse().unwrap()
}

fn text<'t>(table: &'t toml::Table, field: &str) -> Option<&'t str> {
    table.get(field).and_then(toml::Value::as_str)
}

/// All variables that a configuration refers to.
fn variables(example: &str) -> BTreeSet<String> {
    let text = read(format!("examples/{example}/strongroom.toml"));
    let after = text.split("\"env:").skip(1);
    after.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn configurations_are_in_order() {
    for example in EXAMPLES {
        let mut sandbox = Sandbox::empty();
        sandbox.write("strongroom.toml", read(format!("examples/{example}/strongroom.toml")));
        let check = |sandbox: &Sandbox| sandbox.run(["config", "check", "--offline", "--repo", ""]);
        // No secret stands in it: without them it cannot be used.
        let variables = variables(example);
        assert!(!variables.is_empty());
        let _missing = check(&sandbox).assert_code(1);
        for name in &variables {
            let value = match name.as_str() {
                _ if name.contains("SMTP_URL") => "smtps://mail.example.com",
                _ if name.contains("WEBHOOK") => "https://example.com/x",
                "REDIS_URL" => "redis://cache.example.com",
                _ if name.contains("ENDPOINT") => "https://example.com:9200",
                _ => "host=db.example.com",
            };
            sandbox.set(name, value);
        }
        let checked = check(&sandbox);
        assert!(checked.status.success(), "{example}: {checked}");
        // What is backed up is what would be.
        let ran = sandbox.run(["run", "--dry-run", "--only", "backup", "--repo", "nowhere"]);
        assert!(!ran.text().contains("host=db.example.com"), "{example}: {ran}");
    }
}

#[test]
fn cron_jobs_come_when_configurations_say() {
    let Some([helm, python]) = tools([HELM, SCHEMAS]) else { return };
    let mut looked_at = 0;
    for rendered in charts(&helm) {
        let Some(example) = EXAMPLES
            .into_iter()
            .find(|name| rendered.name == format!("examples/{name}/kubernetes/values.yaml"))
        else {
            continue;
        };
        let config = config(example);
        let sources = config["sources"].as_table().unwrap();
        let mut backed_up = BTreeSet::new();
        for job in documents(&python, &rendered.yaml).iter().filter(|object| object["kind"] == "CronJob") {
            let args = &pod_of(job).unwrap()["containers"][0]["args"];
            let args: Vec<&str> = args.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let ["run", named @ .., "--only", "backup"] = &args[..] else { continue };
            assert!(!named.is_empty(), "{example}: each source has a schedule of its own");
            for name in named {
                let source = sources[*name].as_table().unwrap();
                let schedule = text(source, "schedule").or_else(|| text(&config, "schedule"));
                assert_eq!(schedule, job["spec"]["schedule"].as_str(), "{example}: {name}");
                assert_eq!(text(&config, "time_zone"), Some("UTC"), "{example}");
                assert_eq!(job["spec"]["timeZone"], "Etc/UTC", "{example}");
                let _new = backed_up.insert((*name).to_owned());
                looked_at += 1;
            }
        }
        let all: BTreeSet<String> = sources.keys().cloned().collect();
        assert_eq!(backed_up, all, "{example}: every source is backed up by a job");
    }
    assert!(looked_at >= 10, "{looked_at}");
}
