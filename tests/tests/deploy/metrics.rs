//! Rules, dashboard and queries, against the metrics that there are.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use strongroom_tests::archiving::{name_of, segment};
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::deployment::{PROMTOOL, SCHEMAS};

use super::{EXAMPLES, at, document, documents, read, run, tools};

const RULES: &str = "deploy/prometheus/alerts.yaml";
const DASHBOARD: &str = "deploy/grafana/strongroom.json";

const SYSTEM: u64 = 7_311_000_000_000_000_001;

/// A repository of which there is something to say of everything.
fn metrics() -> String {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_CONFIG", sandbox.path("strongroom.toml"));
    sandbox.write("data/a.txt", "one\n");
    let folder = sandbox.path("data").display().to_string();
    let config = format!(
        "rpo = \"1d\"\nrto = \"1h\"\nexpect_every = \"1d\"\n[storage]\ncapacity = \"1K\"\n[verify]\nevery = \"1d\"\n[check]\nevery = \"1d\"\n\
         [retention]\nkeep_last = 1\n[forget]\nevery = \"1d\"\n[sources.shop]\nengine = \"files\"\npaths = [\"{folder}\"]\n"
    );
    sandbox.write("strongroom.toml", config);
    sandbox.write("pg/global/pg_control", [&SYSTEM.to_le_bytes()[..], &[0; 100]].concat());
    let log = sandbox.write(format!("pg/pg_wal/{}", name_of(1)), segment(SYSTEM, 1, 7));
    let _pushed = sandbox.run(["wal-push", log.to_str().unwrap()]).assert_code(0);
    let _ran = sandbox.run(["run"]).assert_code(0);
    sandbox.run(["monitor", "--metrics"]).assert_code(0).text()
}

/// The names in a query that can only be metrics'.
fn named(query: &str) -> BTreeSet<String> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_one =
        |word: &&str| ["strongroom_", "backup_", "s3_bucket_"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(is_one).map(str::to_owned).collect()
}

#[test]
fn rules_and_metrics_are_what_prometheus_takes() {
    let Some([promtool]) = tools([PROMTOOL]) else { return };
    let checked = run(Command::new(&promtool).args(["check", "rules"]).arg(at(RULES)), "");
    assert!(checked.contains("SUCCESS"), "{checked}");
    let tested = run(
        Command::new(&promtool).args(["test", "rules"]).arg(at("deploy/prometheus/alerts_test.yaml")),
        "",
    );
    assert!(tested.contains("SUCCESS"), "{tested}");
    let _checked = run(Command::new(&promtool).args(["check", "metrics"]), &metrics());
}

#[test]
fn every_rule_is_tested() {
    let (Some(rules), Some(tests)) = (document(RULES), document("deploy/prometheus/alerts_test.yaml")) else {
        return;
    };
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let tests = tests["tests"].to_string();
    for rule in rules {
        assert!(
            tests.contains(&format!("\"alertname\":{}", rule["alert"])),
            "{} is not tested",
            rule["alert"]
        );
    }
}

#[test]
fn rules_name_findings_that_there_are() {
    let (rules, documented) = (read(RULES), read("docs/monitoring.md"));
    let quoted = rules.split("kind").skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix("=\"").or_else(|| rest.strip_prefix("!~\""))?;
        rest.split('"').next()
    });
    let kinds: Vec<&str> = quoted.flat_map(|kinds| kinds.split('|')).collect();
    assert!(kinds.len() > 6, "{kinds:?}");
    for kind in kinds {
        assert!(documented.contains(&format!("`{kind}`")), "there is no finding {kind}");
    }
}

#[test]
fn queries_name_metrics_that_there_are() {
    let page = metrics();
    let mut known = BTreeSet::new();
    for line in page.lines() {
        match line.strip_prefix("# TYPE ").map(|of| of.split_once(' ').unwrap()) {
            Some((name, "histogram")) => {
                known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            }
            Some((name, _)) => {
                let _new = known.insert(name.to_owned());
            }
            None => {}
        }
    }
    // Some are there only where there is something to say.
    known.extend(named(&read("docs/monitoring.md")));
    let mut queries = vec![(RULES.to_owned(), read(RULES))];
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && panel["title"] != "", "{panel}");
        for target in targets {
            queries.push((
                format!("{DASHBOARD}: {}", panel["title"]),
                target["expr"].as_str().unwrap().to_owned(),
            ));
        }
    }
    for example in EXAMPLES {
        let path = format!("examples/{example}/README.md");
        let text = read(&path);
        let blocks = text.split("```promql\n").skip(1).filter_map(|block| block.split("```").next());
        queries.extend(blocks.map(|block| (path.clone(), block.to_owned())));
    }
    let mut asked = BTreeSet::new();
    for (place, query) in &queries {
        for name in named(query) {
            assert!(known.contains(&name), "{place}: there is no metric {name}; there are {known:?}");
            let _new = asked.insert(name);
        }
    }
    assert!(asked.len() > 20, "{asked:?}");
}

#[test]
fn copies_of_the_rules_and_the_dashboard_are_the_same() {
    assert_eq!(read(RULES), read("deploy/helm/strongroom/files/alerts.yaml"), "copy it into the chart");
    assert_eq!(
        read(DASHBOARD),
        read("deploy/helm/strongroom/files/dashboard.json"),
        "copy it into the chart"
    );
    let Some([python]) = tools([SCHEMAS]) else { return };
    let rule = documents(&python, &read("deploy/kubernetes/components/prometheus/prometheusrule.yaml"));
    assert_eq!(rule[0]["spec"], documents(&python, &read(RULES))[0]);
}
