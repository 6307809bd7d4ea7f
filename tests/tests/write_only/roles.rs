//! Roles: each does what it is for, with exactly its policy.

use std::collections::BTreeSet;

use strongroom_tests::proxy::iam::roles::Role;
use strongroom_tests::services::aws::{object, refused};

use super::Way;
use super::estate::{Estate, PREFIX};
use super::fixtures::{PRUNE, auditor, dump, reader};
use super::thief::CREATE_ONLY;

/// The roles restore, audit and prune do what they are for with exactly their policies.
pub fn roles_have_the_rights_they_need(way: Way) {
    let Some(estate) = Estate::new(way, "roles") else { return };
    let (snapshot, _) = estate.db1.backup("a", &dump(1));
    let _ = estate.db2.backup("b", &dump(2));
    let (restore, audit) = (reader(&estate), auditor(&estate));
    let mut prune = estate.host("prune");
    estate.add_writer(&mut prune, Role::Prune, &["--role", "maintain"]);
    estate.proxy.forget();
    for host in [&restore, &audit, &prune] {
        assert_eq!(host.sees().len(), 2);
        let _listed = host.run(["ls", &snapshot]).assert_code(0);
        host.assert_clean();
    }
    restore.assert_restores(&snapshot, &dump(1));
    let written = restore.run(["cat", &snapshot, "dump.sql"]).assert_code(0);
    assert!(written.stdout == dump(1));
    let _checked = restore.run(["check", "--read-data"]).assert_code(0).assert_says(["attested"]);
    estate.assert_nothing_denied();
    // Attested, it need not be stored again by another.
    let (_, report) = estate.db2.backup("b", &dump(1));
    assert_eq!(report["new_bytes"], 0, "{report}");

    for host in [&audit, &prune] {
        let target = host.sandbox.path("x");
        let arguments = ["restore", &snapshot, "--target", &target.to_string_lossy()];
        let _refused = host.run(arguments).assert_code(5).assert_says(["vault"]);
    }
    for host in [&restore, &audit, &prune] {
        let _refused = host.try_backup("a", &dump(9)).assert_code(5);
        let _refused = host.run(["key", "rotate"]).assert_code(5);
    }
}

/// Prune forgets, retires and deletes without opening anything that was backed up; who lacks a right is told which.
pub fn prune_needs_no_data_key(way: Way) {
    let Some(estate) = Estate::new(way, "prune") else { return };
    let (restore, audit) = (reader(&estate), auditor(&estate));
    let (first, _) = estate.db1.backup("a", &dump(1));
    let (theirs, _) = estate.db2.backup("b", &dump(2));
    let (second, _) = estate.db1.backup("a", &dump(3));
    // What nobody names.
    let stray = format!("{PREFIX}packs/aa/{}", "aa".repeat(32));
    let target = object(&estate.bucket, &stray);
    let created = estate.client(&estate.db1).s3("PUT", &target, &CREATE_ONLY, b"garbage").unwrap();
    assert_eq!(created.head.status, 200);
    for host in [&estate.db1, &restore, &audit, &estate.admin] {
        let answer = estate.client(host).s3("DELETE", &target, &[], b"").unwrap();
        refused(&answer, 403, "s3:DeleteObject").unwrap();
    }
    for host in [&estate.db1, &restore, &audit] {
        for arguments in [&["forget", &theirs][..], &PRUNE] {
            let _refused = host.run(arguments).assert_code(5).assert_says(["role `maintain`"]);
        }
    }

    let mut prune = estate.host("prune");
    estate.add_writer(&mut prune, Role::Prune, &["--role", "maintain"]);
    // A signer that may retire, on a host that the store lets delete nothing.
    let mut weak = estate.host("weak");
    estate.add_writer(&mut weak, Role::Audit, &["--role", "maintain"]);
    let _forgotten = weak.run(["forget", &first]).assert_code(0);
    let before = estate.objects();
    let denied = weak.run(PRUNE).assert_code(5).assert_says([
        "no permission to delete",
        "s3:DeleteObject",
        "deploy/iam/prune.json",
    ]);
    assert!(!denied.stderr.contains("kms:"), "{denied}");
    // Its entries are there, and everything else still is.
    let after = estate.objects();
    assert!(before.iter().all(|object| after.contains(object)) && after.len() == before.len() + 3);
    for (snapshot, data) in [(&theirs, dump(2)), (&second, dump(3))] {
        restore.assert_restores(snapshot, &data);
    }

    estate.proxy.forget();
    let pruned = prune.run(PRUNE).assert_code(0).one("prune");
    // The first snapshot's data and nodes, and the stray.
    assert_eq!(pruned["deleted"]["objects"], 3, "{pruned}");
    estate.assert_nothing_denied();
    let kms: BTreeSet<String> = estate
        .proxy
        .decisions()
        .iter()
        .filter(|decision| decision.action.starts_with("kms:"))
        .map(|decision| decision.encryption_context("sr:purpose").unwrap_or_default().to_owned())
        .collect();
    let expected: &[&str] = if way == Way::Kms { &["identity", "metadata", "signing"] } else { &[] };
    assert_eq!(kms.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for host in [&estate.db2, &restore, &audit, &prune] {
        assert_eq!(host.sees(), [theirs.clone(), second.clone()], "{}", host.name);
    }
    for (snapshot, data) in [(&theirs, dump(2)), (&second, dump(3))] {
        restore.assert_restores(snapshot, &data);
    }
    audit.assert_clean();
}
