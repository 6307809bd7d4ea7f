//! What several attempts share.

use strongroom_format::entry::{IndexRef, Statement};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_tests::noise::noise;
use strongroom_tests::proxy::iam::roles::Role;

use super::estate::{Estate, Finding, Host};

/// What no stored object may hold as it is.
pub const MARKER: &[u8] = b"card 4111 1111 1111 1111";

/// Some hundred KB that do not compress, with a line that is easy to find.
pub fn dump(seed: u64) -> Vec<u8> {
    let mut data = noise(300_000, seed);
    data.splice(150_000..150_000, MARKER.iter().copied());
    data
}

pub fn snapshot_of(manifest: &Manifest, indexes: Vec<IndexRef>) -> Statement {
    let body = SnapshotBody { manifest: manifest.encode(), packs: vec![], indexes, keys: vec![] };
    Statement::Snapshot(Box::new(body))
}

pub fn objects_of(found: &[Finding]) -> Vec<&str> {
    found.iter().map(|finding| &finding.object[..]).collect()
}

/// Everything that is retired goes at once, leftovers too.
pub const PRUNE: [&str; 6] = ["prune", "--json", "--grace", "0", "--orphan-age", "0"];

/// A host that restores, and attests what it has opened.
pub fn reader(estate: &Estate) -> Host {
    let mut host = estate.host("restore");
    estate.add_writer(&mut host, Role::Restore, &["--role", "verify"]);
    if let Some(file) = &host.key_file {
        let recipient = format!("key-file:{}", file.display());
        let _added = estate.admin.run(["key", "add-recipient", &recipient]).assert_code(0);
    }
    host
}

/// A host that checks the structure.
pub fn auditor(estate: &Estate) -> Host {
    let mut host = estate.host("audit");
    estate.add_writer(&mut host, Role::Audit, &["--role", "verify"]);
    host
}
