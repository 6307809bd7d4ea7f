//! Sorting more than fits in memory: runs of a bounded size, sorted by another thread, sealed, and merged.
//!
//! Memory is two runs and a block a run that is merged. What follows a key may be of any size: what is large goes to the
//! temporary file at once, and through the sort as a reference.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::spill::{Spill, SpillReader, SpillWriter, Spilled};

/// Runs that are merged at once.
const FAN_IN: usize = 64;
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
        &self.bytes[(item.at + item.key) as usize..(item.at + item.key + item.body) as usize]
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

    /// Comparing eight bytes at hand is much quicker than two texts that lie anywhere.
    fn sort(&mut self) {
        let Some(first) = self.items.first().map(|item| self.key(item).to_vec()) else { return };
        let mut common = first.len();
        for item in &self.items {
            let same = self.key(item).iter().zip(&first).take(common).take_while(|(one, other)| one == other);
            common = same.count();
        }
        let mut items = std::mem::take(&mut self.items);
        for item in &mut items {
            let mut prefix = [0; 8];
            for (to, from) in prefix.iter_mut().zip(&self.key(item)[common..]) {
                *to = *from;
            }
            item.prefix = u64::from_be_bytes(prefix);
        }
        items.sort_unstable_by(|one, other| {
            one.prefix.cmp(&other.prefix).then_with(|| self.key(one).cmp(self.key(other)))
        });
        self.items = items;
    }
}

type Large = Arc<Mutex<Vec<Option<Spilled>>>>;

/// Takes records in any order.
pub(super) struct Sorter {
    spill: Arc<Spill>,
    batch: Batch,
    run_bytes: usize,
    runs: Vec<Spilled>,
    large: Large,
    /// The run that is being sorted and sealed.
    under_way: Option<JoinHandle<io::Result<Spilled>>>,
}

impl Sorter {
    /// With runs of so many bytes.
    pub(super) fn new(spill: &Arc<Spill>, run_bytes: usize) -> Self {
        Self {
            spill: Arc::clone(spill),
            batch: Batch::default(),
            run_bytes,
            runs: Vec::new(),
            large: Arc::default(),
            under_way: None,
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
        let mut batch = std::mem::take(&mut self.batch);
        let spill = Arc::clone(&self.spill);
        self.under_way = Some(std::thread::spawn(move || {
            batch.sort();
            let mut writer = SpillWriter::new(&spill);
            for item in &batch.items {
                write_record(&mut writer, batch.key(item), batch.body(item), item.is_large)?;
            }
            writer.finish()
        }));
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        if let Some(under_way) = self.under_way.take() {
            let run = under_way.join().map_err(|_| io::Error::other("a thread that sorted broke down"))?;
            self.runs.push(run?);
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
        while self.runs.len() >= FAN_IN {
            let runs: Vec<Spilled> = self.runs.drain(..FAN_IN).collect();
            let mut merged = Sorted::new(&self.spill, Batch::default(), runs, &self.large)?;
            let mut writer = SpillWriter::new(&self.spill);
            merged.copy_raw(&mut writer)?;
            self.runs.push(writer.finish()?);
        }
        let sorted = Sorted::new(&self.spill, batch, std::mem::take(&mut self.runs), &self.large)?;
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

fn write_record(out: &mut impl Write, key: &[u8], body: &[u8], is_large: bool) -> io::Result<()> {
    let narrow = |length: usize| u32::try_from(length).map_err(io::Error::other);
    let [key_0, key_1, key_2, key_3] = narrow(key.len())?.to_le_bytes();
    let [body_0, body_1, body_2, body_3] = narrow(body.len())?.to_le_bytes();
    out.write_all(&[key_0, key_1, key_2, key_3, body_0, body_1, body_2, body_3, u8::from(is_large)])?;
    out.write_all(key)?;
    out.write_all(body)
}

/// One of what is merged, at its next record.
struct Run {
    reader: SpillReader,
    body: u32,
    is_large: bool,
}

impl Run {
    /// The key of the next record; none at its end.
    fn advance(&mut self, mut key: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        let mut head = [0; 9];
        if self.reader.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.reader.read_exact(&mut head[1..])?;
        let [k0, k1, k2, k3, b0, b1, b2, b3, is_large] = head;
        key.resize(u32::from_le_bytes([k0, k1, k2, k3]) as usize, 0);
        self.reader.read_exact(&mut key)?;
        (self.body, self.is_large) = (u32::from_le_bytes([b0, b1, b2, b3]), is_large == 1);
        Ok(Some(key))
    }
}

/// Records in their order.
pub(super) struct Sorted {
    spill: Arc<Spill>,
    batch: Batch,
    /// The next one of the batch.
    next: usize,
    runs: Vec<Run>,
    /// The runs' next keys; what lies in memory is behind the last of them.
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
    fn new(spill: &Arc<Spill>, batch: Batch, runs: Vec<Spilled>, large: &Large) -> io::Result<Self> {
        let (mut heads, mut opened) = (BinaryHeap::new(), Vec::new());
        for (number, run) in runs.into_iter().enumerate() {
            let mut run = Run { reader: SpillReader::new(spill, run), body: 0, is_large: false };
            if let Some(key) = run.advance(Vec::new())? {
                heads.push(Reverse((key, number)));
            }
            opened.push(run);
        }
        let mut sorted = Self {
            spill: Arc::clone(spill),
            batch,
            next: 0,
            runs: opened,
            heads,
            large: Arc::clone(large),
            key: Vec::new(),
            body: Vec::new(),
        };
        sorted.offer_batch(Vec::new());
        Ok(sorted)
    }

    fn offer_batch(&mut self, mut key: Vec<u8>) {
        if let Some(item) = self.batch.items.get(self.next) {
            key.clear();
            key.extend_from_slice(self.batch.key(item));
            self.heads.push(Reverse((key, self.runs.len())));
        }
    }

    /// The key of the next record, without taking it.
    pub(super) fn peek(&self) -> Option<&[u8]> {
        self.heads.peek().map(|Reverse((key, _))| key.as_slice())
    }

    /// Takes the next record into `key` and `body`; tells whether its body is large. False at the end.
    fn advance(&mut self) -> io::Result<Option<bool>> {
        let Some(Reverse((key, from))) = self.heads.pop() else { return Ok(None) };
        self.key.clear();
        self.key.extend_from_slice(&key);
        self.body.clear();
        if from == self.runs.len() {
            let Some(item) = self.batch.items.get(self.next) else { return Ok(None) };
            let is_large = item.is_large;
            self.body.extend_from_slice(self.batch.body(item));
            self.next += 1;
            self.offer_batch(key);
            return Ok(Some(is_large));
        }
        let Some(run) = self.runs.get_mut(from) else { return Ok(None) };
        self.body.resize(run.body as usize, 0);
        run.reader.read_exact(&mut self.body)?;
        let is_large = run.is_large;
        if let Some(key) = run.advance(key)? {
            self.heads.push(Reverse((key, from)));
        }
        Ok(Some(is_large))
    }

    /// The next record.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub(super) fn next_record(&mut self) -> io::Result<Option<(&[u8], Body<'_>)>> {
        let Some(is_large) = self.advance()? else { return Ok(None) };
        if !is_large {
            return Ok(Some((&self.key, Body::Whole(&self.body))));
        }
        let number = self.body.as_slice().try_into().map(usize::from_le_bytes).map_err(io::Error::other)?;
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        let spilled = large.get_mut(number).and_then(Option::take).ok_or(io::ErrorKind::NotFound)?;
        drop(large);
        Ok(Some((&self.key, Body::Large(SpillReader::new(&self.spill, spilled)))))
    }

    /// Without looking at what is large.
    fn copy_raw(&mut self, out: &mut impl Write) -> io::Result<()> {
        while let Some(is_large) = self.advance()? {
            write_record(out, &self.key, &self.body, is_large)?;
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
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(&Spill::new(folder.path()).unwrap(), run_bytes);
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
        ) {
            let order: Vec<Vec<u8>> = keys.into_iter().collect();
            let records: BTreeMap<Vec<u8>, Vec<u8>> =
                order.iter().enumerate().map(|(number, key)| (key.clone(), vec![7; number % 50])).collect();
            let expected: Vec<_> = records.clone().into_iter().collect();
            prop_assert_eq!(sort(&records, &order, run_bytes), expected);
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
        assert!(sort(&records, &order, 100) == records.into_iter().collect::<Vec<_>>());
    }
}
