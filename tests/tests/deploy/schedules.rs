//! Examples: their configurations are in order, and their CronJobs come when these say.

use std::collections::BTreeSet;

use serde_json::Value;
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::deployment::{HELM, SCHEMAS};

use super::manifests::{charts, pod_of};
use super::{EXAMPLES, documents, read, tools};

/// Beside the one of each example, those of its other hosts.
const OTHERS: [&str; 2] = ["chatcard/redis.toml", "chatcard/kubernetes/strongroom.toml"];

/// The configuration, as it is.
fn config(example: &str) -> toml::Table {
    read_config(&format!("{example}/strongroom.toml"))
}

fn read_config(path: &str) -> toml::Table {
    read(format!("examples/{path}")).parse().unwrap()
}

/// All that examples have.
fn configurations() -> Vec<String> {
    let own = EXAMPLES.iter().map(|example| format!("{example}/strongroom.toml"));
    own.chain(OTHERS.map(str::to_owned)).collect()
}

fn text<'t>(table: &'t toml::Table, field: &str) -> Option<&'t str> {
    table.get(field).and_then(toml::Value::as_str)
}

/// All variables that a configuration refers to.
fn variables(path: &str) -> BTreeSet<String> {
    let text = read(format!("examples/{path}"));
    let after = text.split("\"env:").skip(1);
    after.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn configurations_are_in_order() {
    for example in &configurations() {
        let mut sandbox = Sandbox::empty();
        sandbox.write("strongroom.toml", read(format!("examples/{example}")));
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
fn restore_tests_are_not_done_where_the_platform_works() {
    let mut looked_at = 0;
    for path in configurations() {
        for (name, source) in read_config(&path)["sources"].as_table().unwrap() {
            let source = source.as_table().unwrap();
            let Some(scratch) = source.get("verify").and_then(|verify| verify.get("scratch_url")) else {
                continue;
            };
            assert_ne!(source.get("url"), Some(scratch), "{path}: {name} is tested where it is backed up");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 2, "{looked_at}");
}

#[test]
fn the_hosts_of_chatcard_say_the_same() {
    let whole = config("chatcard");
    for path in OTHERS {
        for (field, value) in &read_config(path) {
            if field != "sources" {
                assert_eq!(Some(value), whole.get(field), "{path}: {field}");
                continue;
            }
            for (name, source) in value.as_table().unwrap() {
                assert_eq!(Some(source), whole["sources"].get(name), "{path}: {name}");
            }
        }
    }
    let names = |config: &toml::Table| -> BTreeSet<String> { config.keys().cloned().collect() };
    let sources = |config: &toml::Table| names(config["sources"].as_table().unwrap());
    let cluster = read_config(OTHERS[1]);
    assert_eq!(names(&cluster), names(&whole));
    let left_out: Vec<String> = sources(&whole).difference(&sources(&cluster)).cloned().collect();
    assert_eq!(left_out, ["postgresql-conf", "redis-aof"], "what only its own host can read");
    // One host forgets for all: a run that forgets says so to every other.
    assert!(!read_config(OTHERS[0]).contains_key("forget"));
}

/// When a task of the configuration is due, by its name on the command line.
fn due<'c>(config: &'c toml::Table, task: &str) -> Option<&'c str> {
    config.get(&task.replace('-', "_")).and_then(|task| text(task.as_table()?, "schedule"))
}

/// When each source is backed up, or its restore tested.
fn due_of_sources(config: &toml::Table, task: &str, named: &[&str]) -> Vec<(String, Option<String>)> {
    let sources = config["sources"].as_table().unwrap();
    let is_meant = |name: &str| named.is_empty() || named.contains(&name);
    let of = |source: &toml::Table| match task {
        "backup" => text(source, "schedule").or_else(|| text(config, "schedule")).map(str::to_owned),
        _ => due(source, task).or_else(|| due(config, task)).map(str::to_owned),
    };
    let meant = sources.iter().filter(|(name, _)| is_meant(name));
    meant.map(|(name, source)| (format!("{task} of {name}"), of(source.as_table().unwrap()))).collect()
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
        assert_eq!(text(&config, "time_zone"), Some("UTC"), "{example}");
        let values = read(format!("examples/{example}/kubernetes/values.yaml"));
        for name in variables(&format!("{example}/strongroom.toml")) {
            assert!(values.contains(&name), "{example}: nobody gives the pods {name}");
        }
        let page = read(format!("examples/{example}/README.md"));
        let (mut done, mut renews) = (BTreeSet::new(), false);
        for job in documents(&python, &rendered.yaml).iter().filter(|object| object["kind"] == "CronJob") {
            let args = &pod_of(job).unwrap()["containers"][0]["args"];
            let args: Vec<&str> = args.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let what = format!("{example}: {args:?}");
            assert_eq!(job["spec"]["timeZone"], "Etc/UTC", "{what}");
            // The rest is not of the configuration: it is never due, and nobody waits for it.
            if matches!(args[..], ["monitor", ..] | ["object-lock", "extend"]) {
                renews |= args[0] == "object-lock";
                continue;
            }
            let named: Vec<&str> = args[1..].iter().copied().take_while(|word| *word != "--only").collect();
            let tasks: Vec<&str> =
                args[1 + named.len()..].iter().copied().filter(|word| *word != "--only").collect();
            assert!(args[0] == "run" && !tasks.is_empty(), "{what}");
            for task in tasks {
                let of = match task {
                    "backup" | "verify" => due_of_sources(&config, task, &named),
                    _ => vec![(task.to_owned(), due(&config, task).map(str::to_owned))],
                };
                assert!(
                    task != "backup" || !named.is_empty(),
                    "{what}: each source has a schedule of its own"
                );
                for (one, schedule) in of {
                    assert_eq!(schedule.as_deref(), job["spec"]["schedule"].as_str(), "{what}: {one}");
                    assert!(done.insert(one), "{what}: it is done twice");
                    looked_at += 1;
                }
            }
        }
        assert_eq!(renews, page.contains("--object-lock"), "{example}: a lock ends when nobody renews it");
        let copy = config.get("sync").and_then(|sync| text(sync.as_table()?, "to_repo"));
        let is_at_google = copy.is_some_and(|copy| copy.starts_with("gs://"));
        assert!(!is_at_google || values.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{example}: {copy:?}");
        // Nothing that the configuration has due is left to nobody.
        let tasks = ["forget", "wal-expire", "sync", "prune", "check"];
        let of_repository = tasks.iter().filter(|task| config.contains_key(&task.replace('-', "_")));
        let of_sources = ["backup", "verify"].iter().flat_map(|task| due_of_sources(&config, task, &[]));
        let all: BTreeSet<String> =
            of_sources.map(|(one, _)| one).chain(of_repository.map(|task| (*task).to_owned())).collect();
        assert_eq!(done, all, "{example}");
    }
    assert!(looked_at >= 30, "{looked_at}");
}
