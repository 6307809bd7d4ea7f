//! Charts and overlays, as they are rendered.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::deployment::{HELM, KUBECONFORM, KUSTOMIZE, SCHEMAS};

use super::{EXAMPLES, at, documents, read, run, tools};

/// The oldest Kubernetes that the chart names, and the newest that there are schemas of.
const VERSIONS: [&str; 2] = ["1.29.0", "1.37.0"];
const CHART: &str = "deploy/helm/strongroom";

/// All that there is, by where it comes from.
pub(super) struct Rendered {
    pub(super) name: String,
    pub(super) yaml: String,
}

/// The chart with all values that there are, and the configuration that they go with, for the newest Kubernetes; rendered once.
pub(super) fn charts(helm: &Path) -> &'static [Rendered] {
    static RENDERED: OnceLock<Vec<Rendered>> = OnceLock::new();
    RENDERED.get_or_init(|| charts_for(helm, VERSIONS[1]))
}

fn charts_for(helm: &Path, version: &str) -> Vec<Rendered> {
    let mut all = Vec::new();
    let mut render = |name: String, config: PathBuf, values: &[String]| {
        let file = format!("config={}", config.display());
        let mut words = vec!["backup".to_owned(), at(CHART).display().to_string(), "--set-file".into(), file];
        for values in values {
            words.extend(["--values".into(), at(values).display().to_string()]);
        }
        words.extend(["--kube-version".into(), version.into()]);
        let home = home_of_helm();
        if version == VERSIONS[1] {
            let mut lint = Command::new(helm);
            lint.args(["lint", "--strict", "--quiet"]).args(&words[1..]).envs(home.iter().cloned());
            let _linted = run(&mut lint, "");
        }
        let mut template = Command::new(helm);
        template.args(["template", "--namespace", "backup"]).args(&words).envs(home);
        all.push(Rendered { name, yaml: run(&mut template, "") });
    };
    let base = || at("deploy/kubernetes/base/strongroom.toml");
    render("the chart".into(), base(), &[]);
    for values in files(&at(CHART).join("ci"), "yaml") {
        let path = format!("{CHART}/ci/{values}");
        render(path.clone(), base(), &[path]);
    }
    for example in EXAMPLES {
        let folder = format!("examples/{example}/kubernetes");
        let values = format!("{folder}/values.yaml");
        if !at(&values).is_file() {
            continue;
        }
        let config = at(format!("examples/{example}/strongroom.toml"));
        render(values.clone(), config.clone(), std::slice::from_ref(&values));
        for more in files(&at(&folder), "yaml") {
            let path = format!("{folder}/{more}");
            if more.starts_with("values-") {
                render(path.clone(), config.clone(), &[values.clone(), path]);
            } else if more.starts_with("restore-") {
                let name = at("tests/tests/deploy/schemas/restore-name.yaml").display().to_string();
                render(path.clone(), config.clone(), &[values.clone(), path, name]);
            }
        }
    }
    all
}

/// Nothing of whoever runs this.
fn home_of_helm() -> Vec<(String, String)> {
    let folder = std::env::temp_dir().join("strongroom-tests-helm").display().to_string();
    ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name.into(), folder.clone())).into()
}

fn overlays(kustomize: &Path) -> Vec<Rendered> {
    let mut folders = vec!["deploy/kubernetes/base".to_owned()];
    folders.extend(
        names(&at("deploy/kubernetes/overlays")).map(|name| format!("deploy/kubernetes/overlays/{name}")),
    );
    folders.extend(EXAMPLES.map(|example| format!("examples/{example}")));
    folders.retain(|folder| at(folder).join("kustomization.yaml").is_file());
    let build = |name: String| {
        let yaml = run(Command::new(kustomize).arg("build").arg(at(&name)), "");
        Rendered { name, yaml }
    };
    let mut all: Vec<Rendered> = folders.into_iter().map(build).collect();
    for plain in [
        "deploy/kubernetes/restore/job.yaml",
        "examples/aivo/kubernetes/log.yaml",
        "examples/save-it/kubernetes/log.yaml",
    ] {
        all.push(Rendered { name: plain.into(), yaml: read(plain) });
    }
    // Each component by itself, in a copy: an overlay names what it is made of by relative paths.
    let scratch = tempfile::tempdir().unwrap();
    let _copied = run(Command::new("cp").arg("-r").arg(at("deploy/kubernetes")).arg(scratch.path()), "");
    let overlay = scratch.path().join("kubernetes/overlays/one");
    std::fs::create_dir(&overlay).unwrap();
    for component in names(&at("deploy/kubernetes/components")) {
        let text = format!("resources: [../../base]\ncomponents: [../../components/{component}]\n");
        std::fs::write(overlay.join("kustomization.yaml"), text).unwrap();
        let yaml = run(Command::new(kustomize).arg("build").arg(&overlay), "");
        all.push(Rendered { name: format!("deploy/kubernetes/components/{component}"), yaml });
    }
    all
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names.into_iter()
}

fn files(folder: &Path, extension: &str) -> impl Iterator<Item = String> {
    let end = format!(".{extension}");
    names(folder).filter(move |name| name.ends_with(&end))
}

/// The schemas of a version, as kubeconform looks for them, with those of the kinds that Kubernetes does not have.
fn schemas(python: &Path, version: &str, folder: &Path) {
    let library = python.parent().unwrap().parent().unwrap().join("lib");
    let packages = library.join(names(&library).next().unwrap()).join("site-packages");
    let from = packages.join(format!("kubernetes_validate/kubernetes-json-schema/v{version}-local-strict"));
    for name in files(&from, "json") {
        let text = std::fs::read_to_string(from.join(&name)).unwrap();
        let mut schema: Value =
            serde_json::from_str(&text.replace("\"/api/_definitions.json#", "\"_definitions.json#")).unwrap();
        // References are to files beside it.
        let _ = schema.as_object_mut().unwrap().remove("$id");
        std::fs::write(folder.join(name), schema.to_string()).unwrap();
    }
    let own = at("tests/tests/deploy/schemas");
    for name in files(&own, "json") {
        std::fs::copy(own.join(&name), folder.join(&name)).unwrap();
    }
}

#[test]
fn manifests_are_what_kubernetes_takes() {
    let Some([helm, kustomize, kubeconform, python]) = tools([HELM, KUSTOMIZE, KUBECONFORM, SCHEMAS]) else {
        return;
    };
    let overlays = overlays(&kustomize);
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        schemas(&python, version, folder.path());
        let place = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", folder.path().display());
        let check = |files: &[PathBuf]| {
            let mut check = Command::new(&kubeconform);
            check.args(["-strict", "-summary", "-kubernetes-version", version, "-schema-location", &place]);
            run(check.args(files), "")
        };
        let write = |name: &str, yaml: &str| {
            let file = folder.path().join(name.replace('/', "_") + ".yaml");
            std::fs::write(&file, yaml).unwrap();
            file
        };
        let older = if version == VERSIONS[1] { Vec::new() } else { charts_for(&helm, version) };
        let charts = if version == VERSIONS[1] { charts(&helm) } else { &older[..] };
        let all = charts.iter().chain(&overlays).map(|rendered| write(&rendered.name, &rendered.yaml));
        let said = check(&all.collect::<Vec<_>>());
        assert!(said.contains(&format!("in {} files", charts.len() + overlays.len())), "{said}");
        assert!(said.contains("Invalid: 0, Errors: 0, Skipped: 0") && !said.contains("Valid: 0,"), "{said}");
        // That it looks at all is seen when something is wrong.
        let wrong = write("wrong", &overlays[0].yaml.replace("concurrencyPolicy", "concurencyPolicy"));
        let wrong = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&[wrong])));
        assert!(wrong.is_err(), "a misspelt field is taken");
    }
}

#[test]
fn pods_may_do_nothing_that_they_need_not_and_run_commands_that_there_are() {
    let Some([helm, kustomize, python]) = tools([HELM, KUSTOMIZE, SCHEMAS]) else { return };
    let mut sandbox = Sandbox::empty();
    // As the pods of an Indexed Job have it.
    sandbox.set("JOB_COMPLETION_INDEX", "0");
    let mut commands = BTreeSet::new();
    for rendered in charts(&helm).iter().chain(&overlays(&kustomize)) {
        let objects = documents(&python, &rendered.yaml);
        assert!(!objects.is_empty());
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert!(!kinds.contains(&"Secret"), "{} has a secret in it", rendered.name);
        for object in &objects {
            let what = format!("{}: {} {}", rendered.name, object["kind"], object["metadata"]["name"]);
            if object["kind"] == "CronJob" {
                let spec = &object["spec"];
                assert!(spec["concurrencyPolicy"] == "Forbid" && spec["timeZone"].is_string(), "{what}");
                assert!(
                    spec["startingDeadlineSeconds"].is_u64() && spec["failedJobsHistoryLimit"].is_u64(),
                    "{what}"
                );
                assert!(spec["jobTemplate"]["spec"]["activeDeadlineSeconds"].is_u64(), "{what}");
                assert!(spec["jobTemplate"]["spec"]["ttlSecondsAfterFinished"].is_u64(), "{what}");
            }
            let Some(pod) = pod_of(object) else { continue };
            assert!(pod["securityContext"]["runAsNonRoot"] == true, "{what}");
            assert!(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "{what}");
            assert!(pod["automountServiceAccountToken"] == false, "{what}");
            // The kubelet would give the files of another's claim to that group, those that nobody else may read, too.
            let claims = pod["volumes"].as_array().into_iter().flatten();
            let is_anothers = claims
                .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
                .any(|claim| claim.starts_with("data-"));
            assert!(!is_anothers || pod["securityContext"]["fsGroup"].is_null(), "{what}");
            // What is told to stop may take a minute, for its hooks, and then says how it ended: Kubernetes would wait for half of one.
            assert!(pod["terminationGracePeriodSeconds"] == 120, "{what}");
            let containers = |of: &str| pod[of].as_array().cloned().unwrap_or_default();
            for container in containers("initContainers").iter().chain(&containers("containers")) {
                let context = &container["securityContext"];
                assert!(context["readOnlyRootFilesystem"] == true, "{what}");
                assert!(context["allowPrivilegeEscalation"] == false, "{what}");
                assert!(context["capabilities"]["drop"] == serde_json::json!(["ALL"]), "{what}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{what}");
                let mounted = |name: &str| {
                    let volumes = pod["volumes"].as_array().into_iter().flatten();
                    let claims = object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
                    volumes
                        .map(|volume| &volume["name"])
                        .chain(claims.map(|claim| &claim["metadata"]["name"]))
                        .any(|known| known == name)
                };
                for mount in container["volumeMounts"].as_array().unwrap() {
                    assert!(mounted(mount["name"].as_str().unwrap()), "{what}: {mount} mounts nothing");
                }
                for variable in container["env"].as_array().unwrap() {
                    let name = variable["name"].as_str().unwrap();
                    let is_secret =
                        ["PASSWORD", "SECRET", "TOKEN", "PASSPHRASE"].iter().any(|part| name.contains(part));
                    let is_a_path = name.ends_with("_FILE");
                    assert!(
                        !is_secret || is_a_path || variable["value"].is_null(),
                        "{what}: {name} stands there"
                    );
                }
                let words = container["args"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|word| word.as_str().unwrap().to_owned());
                let _new = commands.insert(words.collect::<Vec<String>>());
            }
        }
    }
    assert!(commands.len() > 20, "{commands:?}");
    for words in commands {
        // Whatever is wrong with an option is told before the help is given.
        let ran = sandbox.run(words.iter().map(String::as_str).chain(["--help"]));
        assert!(ran.status.success(), "{words:?}: {ran}");
    }
}

/// The pods that an object makes.
pub(super) fn pod_of(object: &Value) -> Option<&Value> {
    match object["kind"].as_str()? {
        "CronJob" => Some(&object["spec"]["jobTemplate"]["spec"]["template"]["spec"]),
        "Job" | "Deployment" | "StatefulSet" => Some(&object["spec"]["template"]["spec"]),
        _ => None,
    }
}

/// A CronJob of the chart, rendered with these values.
fn job<'o>(objects: &'o [Value], name: &str) -> &'o Value {
    let is_it = |object: &&Value| object["kind"] == "CronJob" && object["metadata"]["name"] == name;
    pod_of(objects.iter().find(is_it).unwrap_or_else(|| panic!("no {name}"))).unwrap()
}

#[test]
fn runs_know_what_runs_beside_them_and_the_watch_remembers_what_it_told() {
    let Some([helm, kustomize, python]) = tools([HELM, KUSTOMIZE, SCHEMAS]) else { return };
    let state = |pod: &Value| {
        let volumes = pod["volumes"].as_array().unwrap();
        volumes.iter().find(|volume| volume["name"] == "state").unwrap().clone()
    };
    let domain = |pod: &Value| {
        let variables = pod["containers"][0]["env"].as_array().unwrap();
        let is_it = |variable: &&Value| variable["name"] == "STRONGROOM_LOCK_DOMAIN";
        variables.iter().find(is_it).unwrap()["valueFrom"]["fieldRef"]["fieldPath"].clone()
    };
    let of = |rendered: &[Rendered], name: &str| {
        documents(&python, &rendered.iter().find(|rendered| rendered.name == name).unwrap().yaml)
    };
    let claims = |objects: &[Value]| {
        let claims = objects.iter().filter(|object| object["kind"] == "PersistentVolumeClaim");
        claims.map(|claim| claim["metadata"]["name"].clone()).collect::<Vec<_>>()
    };
    let charts = charts(&helm);
    let everything = of(charts, &format!("{CHART}/ci/everything-values.yaml"));
    let kms = of(charts, &format!("{CHART}/ci/kms-values.yaml"));
    let plain = of(charts, "the chart");
    let overlays = overlays(&kustomize);
    let overlay = of(&overlays, "deploy/kubernetes/overlays/everything");
    let label = "metadata.labels['batch.kubernetes.io/job-name']";
    for (objects, name, claim) in [
        (&everything, "backup-vault", Some("backup-vault-monitor")),
        (&kms, "backup-strongroom", Some("strongroom-state")),
        (&plain, "backup-strongroom", None),
        (&overlay, "strongroom", Some("strongroom-monitor")),
    ] {
        let (backup, monitor) =
            (job(objects, &format!("{name}-backup")), job(objects, &format!("{name}-monitor")));
        assert!(domain(backup) == label && state(backup)["emptyDir"].is_object(), "{name}");
        let own = state(monitor)["persistentVolumeClaim"]["claimName"].clone();
        assert_eq!(own.as_str(), claim, "{name}");
        // One that is named is there already.
        let made = if claim == Some("strongroom-state") { None } else { claim };
        assert_eq!(claims(objects), made.into_iter().collect::<Vec<_>>(), "{name}");
    }
    assert_eq!(job(&everything, "backup-vault-prune")["serviceAccountName"], "vault-prune");
    assert_eq!(job(&everything, "backup-vault-backup")["serviceAccountName"], "backup-vault");
    let restore =
        everything.iter().find(|object| object["metadata"]["name"] == "backup-vault-restore-drill-2026");
    assert_eq!(pod_of(restore.unwrap()).unwrap()["serviceAccountName"], "vault-restore");
}

#[test]
fn notes_name_jobs_that_there_are() {
    let Some([helm, python]) = tools([HELM, SCHEMAS]) else { return };
    // What helm prints after an installation, as an object: that is rendered without a cluster.
    let chart = tempfile::tempdir().unwrap();
    let _copied = run(Command::new("cp").arg("-r").arg(at(CHART)).arg(chart.path()), "");
    let chart = chart.path().join("strongroom");
    let told = "kind: Notes\ntold: {{ include (print $.Template.BasePath \"/NOTES.txt\") . | quote }}\n";
    std::fs::write(chart.join("templates/told.yaml"), told).unwrap();
    let none = ["backup", "check", "monitor", "prune", "verify"].map(|job| format!(",jobs.{job}=null"));
    let none = format!("config=x{}", none.concat());
    for (set, values, said) in [
        ("config=x", None, "A backup now:\n\n  JOB=backup-strongroom-backup "),
        (
            "config=x",
            Some("examples/aitbc/kubernetes/values.yaml"),
            "A backup now:\n\n  JOB=aitbc-backup-ledger ",
        ),
        ("config=x,jobs.backup=null", None, "One of them now:\n\n  JOB=backup-strongroom-check "),
        (&none[..], None, "nothing runs by itself"),
        (
            "config=x,serve.enabled=true,serve.schedule=true,serve.token.secret=s",
            None,
            "exec deployment/backup-strongroom-serve -- /usr/local/bin/strongroom run\n",
        ),
    ] {
        let mut template = Command::new(&helm);
        template.arg("template").arg("backup").arg(&chart).args([
            "--kube-version",
            VERSIONS[1],
            "--set",
            set,
        ]);
        template.args(values.iter().flat_map(|values| ["--values".into(), at(values)])).envs(home_of_helm());
        let objects = documents(&python, &run(&mut template, ""));
        let notes =
            objects.iter().find(|object| object["kind"] == "Notes").unwrap()["told"].as_str().unwrap();
        assert!(notes.contains(said), "{set}: {notes}");
        if let Some((_, rest)) = notes.split_once("JOB=") {
            let _there = job(&objects, rest.split(' ').next().unwrap());
        }
        assert_eq!(notes.contains("cronjob/"), notes.contains("JOB="), "{notes}");
    }
}

#[test]
fn the_restore_of_the_page_is_a_job() {
    let Some([helm, python]) = tools([HELM, SCHEMAS]) else { return };
    let page = read("deploy/README.md");
    let block =
        page.split("```sh\n").find(|block| block.contains("--show-only templates/restore.yaml")).unwrap();
    let command = block.split("| kubectl").next().unwrap();
    let command = command
        .replace("helm template", &format!("{} template", helm.display()))
        .replace("--values values.yaml", &format!("--values {CHART}/ci/kms-values.yaml"))
        .replace("config=strongroom.toml", "config=deploy/kubernetes/base/strongroom.toml");
    let rendered =
        run(Command::new("sh").args(["-c", &command]).envs(home_of_helm()).current_dir(at("")), "");
    let [job] = &documents(&python, &rendered)[..] else { panic!("one Job: {rendered}") };
    assert!(job["metadata"]["name"].as_str().unwrap().starts_with("backup-strongroom-restore-1"), "{job}");
    let args = &pod_of(job).unwrap()["containers"][0]["args"];
    assert!(
        args[0] == "restore" && args[1] == "latest:coordinator-db" && args[4] == "--drop-existing",
        "{args}"
    );
}

#[test]
fn wrong_values_are_told() {
    let Some([helm]) = tools([HELM]) else { return };
    let template = |set: &str| {
        let output = Command::new(&helm)
            .args(["template", "backup"])
            .arg(at(CHART))
            .args(["--kube-version", VERSIONS[1], "--set", set])
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for (set, said) in [
        ("config=", "--set-file config=strongroom.toml"),
        ("config=x,jobs.backup.schedule=hourly", "schedule"),
        ("config=x,cahce.sizeLimit=1Gi", "cahce"),
        ("config=x,jobs.prune.serviceAccount=pruner", "serviceAccount"),
        ("config=x,serve.enabled=true", "serve.token.secret"),
        ("config=x,serviceMonitor.enabled=true", "serve.enabled"),
        ("config=x,restore.enabled=true", "restore.name"),
    ] {
        let (taken, told) = template(set);
        assert!(!taken && told.contains(said), "{set}: {told}");
    }
    assert!(template("config=x").0);
}
