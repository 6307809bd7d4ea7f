//! Storing tree nodes: those that are new, grouped into frames of metadata packs.

use strongroom_format::NodeId;
use strongroom_format::node::Node;
use strongroom_format::pack::ChunkRecord;
use strongroom_format::registry::ObjectKind;

use crossbeam_channel::Sender;

use super::run::Run;
use super::worker::FrameSealer;
use crate::error::RepositoryError;
use crate::pack_writer::SealedFrame;

/// Plain bytes of a full frame of nodes: small, because nodes are read one at a time.
const NODE_FRAME_BYTES: usize = 256 << 10;

/// Writes nodes of one thread.
pub(crate) struct NodeWriter<'r, 'a> {
    run: &'r Run<'a>,
    sealed: Sender<(ObjectKind, SealedFrame)>,
    sealer: FrameSealer<'r, 'a>,
    plain: Vec<u8>,
    records: Vec<ChunkRecord>,
}

impl<'r, 'a> NodeWriter<'r, 'a> {
    pub(crate) fn new(
        run: &'r Run<'a>,
        sealed: Sender<(ObjectKind, SealedFrame)>,
    ) -> Result<Self, RepositoryError> {
        Ok(Self { run, sealed, sealer: FrameSealer::new(run)?, plain: Vec::new(), records: Vec::new() })
    }

    /// Names a node, and stores it if it is new.
    pub(crate) fn write(&mut self, node: &Node) -> Result<NodeId, RepositoryError> {
        let bytes = node
            .encode()
            .map_err(|source| RepositoryError::Unstorable { what: "a tree node".into(), source })?;
        let id = self.run.identity.node_id(&bytes);
        if self.run.look_up(ObjectKind::MetadataPack, &[id])? == [true] {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            if self.plain.len() + bytes.len() > NODE_FRAME_BYTES {
                self.flush()?;
            }
            self.plain.extend_from_slice(&bytes);
            self.records.push(ChunkRecord { id, length });
        }
        Ok(id)
    }

    fn flush(&mut self) -> Result<(), RepositoryError> {
        if self.records.is_empty() {
            return Ok(());
        }
        let frame = self.sealer.seal_nodes(&self.plain, std::mem::take(&mut self.records))?;
        self.plain.clear();
        self.run.failure.send(&self.sealed, (ObjectKind::MetadataPack, frame))
    }

    /// Hands over the last frame.
    pub(crate) fn finish(mut self) -> Result<(), RepositoryError> {
        self.flush()
    }
}
