//! What does not fit in memory while it is sorted: in blocks of a file without a name, each sealed under a key that nobody
//! else knows and that is forgotten with it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use strongroom_keys::Secret;
use strongroom_keys::random::{OsRandom, array};

/// Plain bytes of a block.
const BLOCK_BYTES: usize = 64 << 10;
const TAG_BYTES: usize = 16;

/// Where a block lies.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Of the file, in blocks.
    slot: u32,
    /// Plain bytes.
    length: u32,
    /// Which of all that were sealed: no two under one nonce.
    nonce: u64,
}

/// The file; its blocks are used again once they were read.
pub(super) struct Spill {
    folder: PathBuf,
    cipher: ChaCha20Poly1305,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<Arc<File>>,
    slots: u32,
    free: Vec<u32>,
    sealed: u64,
}

/// A sequence of bytes in it.
#[derive(Debug, Default)]
pub(super) struct Spilled {
    blocks: Vec<Block>,
    pub(super) bytes: u64,
}

impl Spill {
    /// Nothing yet; the file is made below `folder` when there is something.
    pub(super) fn new(folder: &Path) -> io::Result<Arc<Self>> {
        let key = Secret::new(array(&OsRandom).map_err(io::Error::other)?);
        let cipher = ChaCha20Poly1305::new(key.expose().into());
        Ok(Arc::new(Self { folder: folder.to_owned(), cipher, state: Mutex::default() }))
    }

    fn place(&self, length: u32) -> io::Result<(Arc<File>, Block)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &state.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = Arc::new(tempfile::tempfile_in(&self.folder)?);
                Arc::clone(state.file.insert(file))
            }
        };
        state.sealed += 1;
        let slot = match state.free.pop() {
            Some(slot) => slot,
            None => {
                state.slots = state.slots.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
                state.slots - 1
            }
        };
        Ok((file, Block { slot, length, nonce: state.sealed }))
    }

    fn seal(&self, plain: &mut [u8]) -> io::Result<Block> {
        let length = u32::try_from(plain.len()).map_err(io::Error::other)?;
        let (file, block) = self.place(length)?;
        let tag = self.cipher.encrypt_inout_detached(&nonce(block.nonce).into(), &[], (&mut *plain).into());
        let tag = tag.map_err(|_| io::Error::other("a block cannot be sealed"))?;
        let at = offset(block.slot);
        file.write_all_at(plain, at)?;
        file.write_all_at(&tag, at + plain.len() as u64)?;
        Ok(block)
    }

    /// Reads a block in place of what is in `out`; its place is free then.
    fn open(&self, block: Block, out: &mut Vec<u8>) -> io::Result<()> {
        let file = self.state.lock().unwrap_or_else(PoisonError::into_inner).file.clone();
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        out.resize(usize::try_from(block.length).map_err(io::Error::other)? + TAG_BYTES, 0);
        file.read_exact_at(out, offset(block.slot))?;
        let tag: [u8; TAG_BYTES] =
            out.split_off(out.len() - TAG_BYTES).try_into().map_err(|_| io::ErrorKind::InvalidData)?;
        let nonce = nonce(block.nonce);
        let opened =
            self.cipher.decrypt_inout_detached(&nonce.into(), &[], (&mut out[..]).into(), &tag.into());
        opened.map_err(|_| io::Error::other("what was written to the temporary file is not what is read"))?;
        self.state.lock().unwrap_or_else(PoisonError::into_inner).free.push(block.slot);
        Ok(())
    }
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}

fn offset(slot: u32) -> u64 {
    u64::from(slot) * (BLOCK_BYTES + TAG_BYTES) as u64
}

/// Writes a sequence.
pub(super) struct SpillWriter {
    spill: Arc<Spill>,
    buffer: Vec<u8>,
    spilled: Spilled,
}

impl SpillWriter {
    pub(super) fn new(spill: &Arc<Spill>) -> Self {
        Self {
            spill: Arc::clone(spill),
            buffer: Vec::with_capacity(BLOCK_BYTES),
            spilled: Spilled::default(),
        }
    }

    fn seal(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.spilled.bytes += self.buffer.len() as u64;
            self.spilled.blocks.push(self.spill.seal(&mut self.buffer)?);
            self.buffer.clear();
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Spilled> {
        self.seal()?;
        Ok(self.spilled)
    }
}

impl Write for SpillWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == BLOCK_BYTES {
            self.seal()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a sequence once.
pub(super) struct SpillReader {
    spill: Arc<Spill>,
    blocks: std::vec::IntoIter<Block>,
    buffer: Vec<u8>,
    at: usize,
}

impl SpillReader {
    pub(super) fn new(spill: &Arc<Spill>, spilled: Spilled) -> Self {
        Self { spill: Arc::clone(spill), blocks: spilled.blocks.into_iter(), buffer: Vec::new(), at: 0 }
    }
}

impl Read for SpillReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            let Some(block) = self.blocks.next() else { return Ok(0) };
            self.spill.open(block, &mut self.buffer)?;
            self.at = 0;
        }
        let taken = out.len().min(self.buffer.len() - self.at);
        out[..taken].copy_from_slice(&self.buffer[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spilled_comes_back_and_is_not_to_be_read_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path()).unwrap();
        let text: Vec<u8> = b"plain text ".iter().copied().cycle().take(200_000).collect();
        for _ in 0..2 {
            let mut writer = SpillWriter::new(&spill);
            writer.write_all(&text).unwrap();
            let spilled = writer.finish().unwrap();
            assert_eq!(spilled.bytes, 200_000);
            assert!(folder.path().read_dir().unwrap().next().is_none(), "it has no name");
            let file = spill.state.lock().unwrap().file.clone().unwrap();
            let mut raw = vec![0; 1000];
            file.read_exact_at(&mut raw, 0).unwrap();
            assert!(!raw.windows(5).any(|window| window == b"plain"));
            let mut again = Vec::new();
            SpillReader::new(&spill, spilled).read_to_end(&mut again).unwrap();
            assert!(again == text);
        }
        assert_eq!(spill.state.lock().unwrap().slots, 4, "places are used again");
    }

    #[test]
    fn what_somebody_changed_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path()).unwrap();
        let mut writer = SpillWriter::new(&spill);
        writer.write_all(b"abc").unwrap();
        let spilled = writer.finish().unwrap();
        let file = spill.state.lock().unwrap().file.clone().unwrap();
        file.write_all_at(b"x", 1).unwrap();
        assert!(SpillReader::new(&spill, spilled).read_to_end(&mut Vec::new()).is_err());
    }
}
