//! A snapshot for tests, with as little in it as can be.

use strongroom_format::checkpoint::SnapshotState;
use strongroom_format::manifest::{Manifest, Totals};
use strongroom_format::node::TreeRef;
use strongroom_format::{ChunkId, ContentHash, SnapshotId, WriterId};

use super::Snapshot;

pub(crate) fn snapshot() -> Snapshot {
    let manifest = Manifest {
        source: "db".into(),
        engine: "stdin".into(),
        host: "db1".into(),
        user: String::new(),
        tool: String::new(),
        started_ns: 0,
        finished_ns: 0,
        parent: None,
        generation: 0,
        tree: TreeRef { root: ChunkId([1; 32]), level: 0, entries: 0, bytes: 0 },
        streams: Vec::new(),
        facts: None,
        totals: Totals::default(),
        nonce: [0; 16],
        arguments: Vec::new(),
        tags: Vec::new(),
        origin: None,
    };
    let state = SnapshotState {
        number: 1,
        id: SnapshotId([1; 32]),
        signer: WriterId([2; 16]),
        entry_hash: ContentHash([3; 32]),
        time_ms: 0,
        manifest: Vec::new(),
        keys: Vec::new(),
        tags: Vec::new(),
        holds: Vec::new(),
    };
    Snapshot { state, manifest }
}
