//! `examples/restore.sh`, with a Kubernetes that says what the test wants.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use strongroom_tests::services::deployment::{HELM, SCHEMAS};

use super::{at, documents, tools};

/// Keeps the Job that it is given; says first that it runs, and then how it ended.
const KUBECTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/calls"
case "$1" in
  create) cat > "$here/job.yaml"; test -s "$here/job.yaml" && echo job.batch/one ;;
  get) if test -e "$here/asked"; then echo "$END"; else touch "$here/asked"; fi ;;
  logs) echo "the log of $4" ;;
  wait) case "$END" in *Complete*) ;; *) exit 1 ;; esac ;;
esac
"#;

struct Cluster {
    folder: tempfile::TempDir,
    helm: std::path::PathBuf,
}

impl Cluster {
    fn restore(&self, end: &str, words: &[&str]) -> Output {
        let folder = self.folder.path();
        let _new = std::fs::remove_file(folder.join("asked"));
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut restore = Command::new(at("examples/restore.sh"));
        restore
            .args(words)
            .env("PATH", path)
            .env("NAMESPACE", "backup")
            .env("END", end)
            .env("POLL_SECONDS", "0");
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            restore.env(name, folder.join("helm-home"));
        }
        restore.output().unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

#[test]
fn a_restore_as_a_job_ends_as_the_job_does() {
    let Some([helm, python]) = tools([HELM, SCHEMAS]) else { return };
    let cluster = Cluster { folder: tempfile::tempdir().unwrap(), helm };
    let kubectl = cluster.folder.path().join("kubectl");
    std::fs::write(&kubectl, KUBECTL).unwrap();
    std::fs::set_permissions(&kubectl, Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(&cluster.helm, cluster.folder.path().join("helm")).unwrap();

    let done = cluster.restore("SuccessCriteriaMet Complete", &["aitbc", "postgresql"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("the log of job.batch/one"));
    let calls = cluster.read("calls");
    assert!(calls.contains("create -n backup") && !calls.contains("component=restore"), "{calls}");

    // It failed: that is told at once, and whoever starts servers behind `&&` starts none.
    let failed = cluster.restore("FailureTarget Failed", &["aitbc", "postgresql"]);
    assert!(!failed.status.success());
    assert!(
        String::from_utf8_lossy(&failed.stdout).contains("the log of job.batch/one"),
        "why is there to be read"
    );

    // Another snapshot, and without the KMS.
    let args = r#"restore.args=["latest:coordinator-db@2023-12-22T02:00:00Z", "--to", "host=postgresql"]"#;
    let words = ["aitbc", "postgresql", "--set", "repository.keyFile.secret=recovery", "--set-json", args];
    assert!(cluster.restore("Complete", &words).status.success());
    let job = &documents(&python, &cluster.read("job.yaml"))[0];
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let wanted = ["restore", "latest:coordinator-db@2023-12-22T02:00:00Z", "--to", "host=postgresql"];
    assert_eq!(container["args"], serde_json::json!(wanted));
    assert!(container["env"].to_string().contains("STRONGROOM_KEY_FILE"), "{container}");

    // One that there is not makes no Job.
    assert!(!cluster.restore("Complete", &["aitbc", "nothing"]).status.success());
}
