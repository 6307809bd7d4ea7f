//! Sorting more than fits in memory: runs of a bounded size, sorted by another thread, held or sealed, and merged.
//!
//! Memory is two runs, those that are held, and a block a run that is merged. What follows a key may be of any size: what is
//! large goes to the temporary file at once, and through the sort as a reference.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::spill::{Spill, SpillReader, SpillWriter, Spilled};

/// Runs that are merged at once.
const FAN_IN: usize = 64;
/// Items that are not worth another look at eight bytes of their keys.
const FEW: usize = 8;
/// Bodies above it are not held in memory, bytes.
pub(super) const LARGE_BYTES: usize = 256 << 10;
/// What is copied at once, bytes.
const PIECE_BYTES: usize = 16 << 10;

/// A record that lies in memory: its key, and behind it its body.
#[derive(Clone, Copy)]
struct Item {
    /// The first bytes behind what all keys begin with.
    prefix: u64,
    at: u32,
    key: u32,
    body: u32,
    is_large: bool,
}

impl Item {
    fn body_range(&self) -> Range<usize> {
        let start = (self.at + self.key) as usize;
        start..start + self.body as usize
    }
}

/// Records that are sorted together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

impl Batch {
    fn size(&self) -> usize {
        self.bytes.len() + self.items.len() * size_of::<Item>()
    }

    fn key(&self, item: &Item) -> &[u8] {
        &self.bytes[item.at as usize..(item.at + item.key) as usize]
    }

    fn body(&self, item: &Item) -> &[u8] {
        &self.bytes[item.body_range()]
    }

    fn push(&mut self, key: &[u8], body: &[u8], is_large: bool) -> io::Result<()> {
        let narrow = |length: usize| u32::try_from(length).map_err(|_| io::Error::other("too long a key"));
        let item = Item {
            prefix: 0,
            at: narrow(self.bytes.len())?,
            key: narrow(key.len())?,
            body: narrow(body.len())?,
            is_large,
        };
        narrow(self.bytes.len() + key.len() + body.len())?;
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(body);
        self.items.push(item);
        Ok(())
    }

    fn sort(&mut self) {
        let mut items = std::mem::take(&mut self.items);
        self.sort_from(&mut items, 0);
        self.items = items;
    }

    /// Sorts by what follows `depth` bytes that all of their keys begin with. Comparing eight bytes at hand is much quicker than
    /// two texts that lie anywhere.
    fn sort_from(&self, items: &mut [Item], depth: usize) {
        let Some((first, others)) = items.split_first() else { return };
        let first = &self.key(first)[depth..];
        let common = others.iter().fold(first.len(), |common, item| {
            let key = self.key(item)[depth..].iter().zip(&first[..common]);
            key.take_while(|(one, other)| one == other).count()
        });
        let depth = depth + common;
        for item in &mut *items {
            let mut prefix = [0; 8];
            for (to, from) in prefix.iter_mut().zip(&self.key(item)[depth..]) {
                *to = *from;
            }
            item.prefix = u64::from_be_bytes(prefix);
        }
        items.sort_unstable_by_key(|item| item.prefix);
        for same in items.chunk_by_mut(|one, other| one.prefix == other.prefix) {
            // A key may end within the eight bytes: what is short is like one that goes on with zeros.
            if same.len() < FEW || same.iter().any(|item| (item.key as usize) < depth + 8) {
                same.sort_unstable_by(|one, other| self.key(one)[depth..].cmp(&self.key(other)[depth..]));
            } else {
                self.sort_from(same, depth + 8);
            }
        }
    }

    /// All records in their order, one behind the other.
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.items
            .iter()
            .try_for_each(|item| write_record(out, self.key(item), self.body(item), item.is_large))
    }
}

type Large = Arc<Mutex<Vec<Option<Spilled>>>>;

/// Records in their order, waiting to be merged.
enum Run {
    Held(Vec<u8>),
    Sealed(Spilled),
}

/// Takes records in any order.
pub(super) struct Sorter {
    spill: Arc<Spill>,
    batch: Batch,
    run_bytes: usize,
    /// What runs in memory may still take, bytes.
    left_bytes: usize,
    held: Vec<Vec<u8>>,
    sealed: Vec<Spilled>,
    large: Large,
    /// The run that is being sorted and perhaps sealed; with the memory that it was filled in.
    under_way: Option<JoinHandle<io::Result<(Run, Batch)>>>,
    /// To be filled: it is cheaper to use memory again than to have new.
    spare: Batch,
}

impl Sorter {
    /// With runs of so many bytes, of which `held_bytes` are not written to the temporary file.
    pub(super) fn new(spill: &Arc<Spill>, run_bytes: usize, held_bytes: usize) -> Self {
        Self {
            spill: Arc::clone(spill),
            batch: Batch::default(),
            run_bytes,
            left_bytes: held_bytes,
            held: Vec::new(),
            sealed: Vec::new(),
            large: Arc::default(),
            under_way: None,
            spare: Batch::default(),
        }
    }

    /// One more record.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub(super) fn push(&mut self, key: &[u8], body: &[u8]) -> io::Result<()> {
        if body.len() > LARGE_BYTES {
            let mut writer = SpillWriter::new(&self.spill);
            writer.write_all(body)?;
            return self.push_large(key, writer.finish()?);
        }
        self.batch.push(key, body, false)?;
        self.spill_if_full()
    }

    /// One more, whose body is in the temporary file already.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub(super) fn push_large(&mut self, key: &[u8], body: Spilled) -> io::Result<()> {
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        large.push(Some(body));
        let number = large.len() - 1;
        drop(large);
        self.batch.push(key, &number.to_le_bytes(), true)?;
        self.spill_if_full()
    }

    fn spill_if_full(&mut self) -> io::Result<()> {
        if self.batch.size() < self.run_bytes {
            return Ok(());
        }
        self.settle()?;
        let spare = std::mem::take(&mut self.spare);
        let mut batch = std::mem::replace(&mut self.batch, spare);
        let spill = Arc::clone(&self.spill);
        let bytes = batch.bytes.len() + batch.items.len() * RECORD_BYTES;
        let is_held = bytes <= self.left_bytes;
        if is_held {
            self.left_bytes -= bytes;
        }
        self.under_way = Some(std::thread::spawn(move || {
            batch.sort();
            let run = if is_held {
                let mut run = Vec::with_capacity(bytes);
                batch.write(&mut run)?;
                Run::Held(run)
            } else {
                let mut writer = SpillWriter::new(&spill);
                batch.write(&mut writer)?;
                Run::Sealed(writer.finish()?)
            };
            batch.bytes.clear();
            batch.items.clear();
            Ok((run, batch))
        }));
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        if let Some(under_way) = self.under_way.take() {
            let run = under_way.join().map_err(|_| io::Error::other("a thread that sorted broke down"))?;
            let (run, spare) = run?;
            self.spare = spare;
            match run {
                Run::Held(run) => self.held.push(run),
                Run::Sealed(run) => self.sealed.push(run),
            }
        }
        Ok(())
    }

    /// All of them, in their order; it can take others then.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub(super) fn finish(&mut self) -> io::Result<Sorted> {
        self.settle()?;
        let mut batch = std::mem::take(&mut self.batch);
        batch.sort();
        let held = std::mem::take(&mut self.held);
        self.left_bytes += held.iter().map(Vec::len).sum::<usize>();
        while self.sealed.len() >= FAN_IN {
            let runs: Vec<Spilled> = self.sealed.drain(..FAN_IN).collect();
            let mut merged = Sorted::new(&self.spill, Batch::default(), Vec::new(), runs, &self.large)?;
            let mut writer = SpillWriter::new(&self.spill);
            merged.copy_raw(&mut writer)?;
            self.sealed.push(writer.finish()?);
        }
        let sealed = std::mem::take(&mut self.sealed);
        let sorted = Sorted::new(&self.spill, batch, held, sealed, &self.large)?;
        self.large = Arc::default();
        Ok(sorted)
    }
}

impl Drop for Sorter {
    fn drop(&mut self) {
        // It writes to a file that nobody reads any more.
        let _ = self.settle();
    }
}

/// What stands before each record's bytes.
#[derive(Clone, Copy, Default)]
struct Head {
    key: usize,
    body: usize,
    is_large: bool,
}

const RECORD_BYTES: usize = 9;

impl Head {
    fn of([k0, k1, k2, k3, b0, b1, b2, b3, large]: [u8; RECORD_BYTES]) -> Self {
        let wide = |bytes| u32::from_le_bytes(bytes) as usize;
        Self { key: wide([k0, k1, k2, k3]), body: wide([b0, b1, b2, b3]), is_large: large == 1 }
    }
}

fn write_record(out: &mut impl Write, key: &[u8], body: &[u8], is_large: bool) -> io::Result<()> {
    let narrow = |length: usize| u32::try_from(length).map_err(io::Error::other);
    let [k0, k1, k2, k3] = narrow(key.len())?.to_le_bytes();
    let [b0, b1, b2, b3] = narrow(body.len())?.to_le_bytes();
    out.write_all(&[k0, k1, k2, k3, b0, b1, b2, b3, u8::from(is_large)])?;
    out.write_all(key)?;
    out.write_all(body)
}

/// One of what is merged, at its next record.
enum Source {
    /// What was not written anywhere.
    Batch {
        batch: Batch,
        next: usize,
    },
    /// With the place behind the next record's key.
    Held {
        run: Vec<u8>,
        at: usize,
        head: Head,
    },
    Sealed {
        reader: SpillReader,
        head: Head,
    },
}

/// Where a record's body is.
enum Place {
    /// In what a source holds.
    Source(usize, Range<usize>),
    /// Copied.
    Copied,
}

impl Source {
    /// Takes the key of the next record; false at its end.
    fn next_key(&mut self, key: &mut Vec<u8>) -> io::Result<bool> {
        key.clear();
        match self {
            Self::Batch { batch, next } => {
                let Some(item) = batch.items.get(*next) else { return Ok(false) };
                key.extend_from_slice(batch.key(item));
            }
            Self::Held { run, at, head } => {
                let Some((first, rest)) = run.get(*at..).and_then(<[u8]>::split_first_chunk) else {
                    return Ok(false);
                };
                *head = Head::of(*first);
                key.extend_from_slice(rest.get(..head.key).ok_or(io::ErrorKind::UnexpectedEof)?);
                *at += RECORD_BYTES + head.key;
            }
            Self::Sealed { reader, head } => {
                let mut bytes = [0; RECORD_BYTES];
                if reader.read(&mut bytes[..1])? == 0 {
                    return Ok(false);
                }
                reader.read_exact(&mut bytes[1..])?;
                *head = Head::of(bytes);
                key.resize(head.key, 0);
                reader.read_exact(key)?;
            }
        }
        Ok(true)
    }

    /// Takes what belongs to that key, into `out` where it is not at hand; tells where it is, and whether it is large.
    fn take_body(&mut self, out: &mut Vec<u8>) -> io::Result<(Option<Range<usize>>, bool)> {
        match self {
            Self::Batch { batch, next } => {
                let item = batch.items.get(*next).ok_or(io::ErrorKind::UnexpectedEof)?;
                *next += 1;
                Ok((Some(item.body_range()), item.is_large))
            }
            Self::Held { at, head, .. } => {
                let start = *at;
                *at += head.body;
                Ok((Some(start..*at), head.is_large))
            }
            Self::Sealed { reader, head } => {
                out.resize(head.body, 0);
                reader.read_exact(out)?;
                Ok((None, head.is_large))
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Batch { batch, .. } => &batch.bytes,
            Self::Held { run, .. } => run,
            Self::Sealed { .. } => &[],
        }
    }
}

/// Records in their order.
pub(super) struct Sorted {
    spill: Arc<Spill>,
    sources: Vec<Source>,
    /// Their next keys.
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
    large: Large,
    key: Vec<u8>,
    body: Vec<u8>,
}

/// What belongs to a key.
pub(super) enum Body<'b> {
    /// As it lies in memory.
    Whole(&'b [u8]),
    /// To be read.
    Large(SpillReader),
}

impl Sorted {
    fn new(
        spill: &Arc<Spill>,
        batch: Batch,
        held: Vec<Vec<u8>>,
        sealed: Vec<Spilled>,
        large: &Large,
    ) -> io::Result<Self> {
        let head = Head::default();
        let held = held.into_iter().map(|run| Source::Held { run, at: 0, head });
        let sealed =
            sealed.into_iter().map(|run| Source::Sealed { reader: SpillReader::new(spill, run), head });
        let mut sources: Vec<Source> = held.chain(sealed).chain([Source::Batch { batch, next: 0 }]).collect();
        let mut heads = BinaryHeap::new();
        for (number, source) in sources.iter_mut().enumerate() {
            let mut key = Vec::new();
            if source.next_key(&mut key)? {
                heads.push(Reverse((key, number)));
            }
        }
        let (spill, large) = (Arc::clone(spill), Arc::clone(large));
        Ok(Self { spill, sources, heads, large, key: Vec::new(), body: Vec::new() })
    }

    /// The key of the next record, without taking it.
    pub(super) fn peek(&self) -> Option<&[u8]> {
        self.heads.peek().map(|Reverse((key, _))| key.as_slice())
    }

    /// Takes the next record, its key into `key`; tells where its body is, and whether that is large. None at the end.
    fn advance(&mut self) -> io::Result<Option<(Place, bool)>> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((next, from)) = &mut *head;
        std::mem::swap(&mut self.key, next);
        let number = *from;
        let Some(source) = self.sources.get_mut(number) else { return Ok(None) };
        let (at, is_large) = source.take_body(&mut self.body)?;
        if !source.next_key(next)? {
            PeekMut::pop(head);
        }
        Ok(Some((at.map_or(Place::Copied, |at| Place::Source(number, at)), is_large)))
    }

    fn body(&self, place: Place) -> io::Result<&[u8]> {
        match place {
            Place::Copied => Ok(&self.body),
            Place::Source(number, at) => {
                let held = self.sources.get(number).and_then(|source| source.bytes().get(at));
                held.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    /// The next record.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub(super) fn next_record(&mut self) -> io::Result<Option<(&[u8], Body<'_>)>> {
        let Some((place, is_large)) = self.advance()? else { return Ok(None) };
        let body = self.body(place)?;
        if !is_large {
            return Ok(Some((&self.key, Body::Whole(body))));
        }
        let number = body.try_into().map(usize::from_le_bytes).map_err(io::Error::other)?;
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        let spilled = large.get_mut(number).and_then(Option::take).ok_or(io::ErrorKind::NotFound)?;
        drop(large);
        Ok(Some((&self.key, Body::Large(SpillReader::new(&self.spill, spilled)))))
    }

    /// Without looking at what is large.
    fn copy_raw(&mut self, out: &mut impl Write) -> io::Result<()> {
        while let Some((place, is_large)) = self.advance()? {
            write_record(out, &self.key, self.body(place)?, is_large)?;
        }
        Ok(())
    }
}

impl Body<'_> {
    /// Gives it piece by piece.
    ///
    /// # Errors
    /// As `give` does, and when the temporary file cannot be read.
    pub(super) fn pass<E: From<io::Error>>(
        self,
        give: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Whole(body) => give(body),
            Self::Large(mut reader) => {
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    match reader.read(&mut piece)? {
                        0 => return Ok(()),
                        read => give(&piece[..read])?,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn sort(
        records: &BTreeMap<Vec<u8>, Vec<u8>>,
        order: &[Vec<u8>],
        run_bytes: usize,
        held_bytes: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(&Spill::new(folder.path()).unwrap(), run_bytes, held_bytes);
        for key in order {
            sorter.push(key, &records[key]).unwrap();
        }
        let mut sorted = sorter.finish().unwrap();
        let mut out = Vec::new();
        while let Some((key, body)) = sorted.next_record().unwrap() {
            let (key, mut all) = (key.to_vec(), Vec::new());
            body.pass::<io::Error>(&mut |piece| {
                all.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
            out.push((key, all));
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_sorts_as_a_map_does(
            keys in prop::collection::hash_set(prop::collection::vec(0_u8..4, 0..12), 0..300),
            run_bytes in 60_usize..4000,
            held_bytes in 0_usize..8000,
        ) {
            let order: Vec<Vec<u8>> = keys.into_iter().collect();
            let records: BTreeMap<Vec<u8>, Vec<u8>> =
                order.iter().enumerate().map(|(number, key)| (key.clone(), vec![7; number % 50])).collect();
            let expected: Vec<_> = records.clone().into_iter().collect();
            prop_assert_eq!(sort(&records, &order, run_bytes, held_bytes), expected);
        }
    }

    #[test]
    fn large_bodies_and_many_runs_come_back() {
        let large = vec![5; LARGE_BYTES + 3];
        let order: Vec<Vec<u8>> =
            (0..300_u32).map(|number| number.wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec()).collect();
        let records: BTreeMap<Vec<u8>, Vec<u8>> = order
            .iter()
            .enumerate()
            .map(|(number, key)| {
                (key.clone(), if number % 100 == 7 { large.clone() } else { key.repeat(number) })
            })
            .collect();
        // More runs than are merged at once.
        assert!(sort(&records, &order, 100, 0) == records.into_iter().collect::<Vec<_>>());
    }
}
