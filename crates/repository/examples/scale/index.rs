//! An index of very many chunks.

use std::path::Path;
use std::time::Instant;

use strongroom_repository::cache::scale::{GeneratedIndex, chunk};

use super::{Result, peak_bytes};

/// Chunks that a worker looks up together: those of a batch of 1 MiB.
const TOGETHER: usize = 16;

/// Loads an index of so many chunks into an empty cache.
pub(super) fn build(folder: &str, chunks: &str, memory: &str) -> Result<()> {
    let (chunks, memory) = (chunks.parse()?, memory.parse()?);
    let index = GeneratedIndex::open(Some(Path::new(folder)), chunks, memory)?;
    let started = Instant::now();
    index.load()?;
    let seconds = started.elapsed().as_secs_f64();
    let resident = index.resident()?;
    println!(
        "seconds {seconds:.2} runs {} entries {} peak {} resident {}",
        resident.runs,
        resident.entries,
        peak_bytes()?,
        resident.bytes
    );
    Ok(())
}

/// Opens the cache, and looks up on one core: what is there, what is not, in no order, and in that of a stream.
pub(super) fn look_up(folder: &str, chunks: &str, memory: &str, lookups: &str) -> Result<()> {
    let (chunks, lookups): (u64, u64) = (chunks.parse()?, lookups.parse()?);
    let before = peak_bytes()?;
    let state_started = Instant::now();
    let index = GeneratedIndex::open(Some(Path::new(folder)), chunks, memory.parse()?)?;
    let prepared = state_started.elapsed().as_secs_f64();
    let state = peak_bytes()?;
    let started = Instant::now();
    if index.load()? != 0 {
        return Err("the cache was not as it was left".into());
    }
    let open = started.elapsed().as_secs_f64();
    let resident = index.resident()?;
    let hits = rate(&index, lookups, |number| scattered(number, chunks), true)?;
    let misses = rate(&index, lookups, |number| chunks + number, false)?;
    let stream = rate(&index, lookups.min(chunks), |number| number, true)?;
    for number in (0..1000).map(|number| scattered(number + lookups, chunks)).chain(0..1000.min(chunks)) {
        if !index.is_in_place(number)? {
            return Err(format!("chunk {number} is not at its place").into());
        }
    }
    println!(
        "prepared {prepared:.2} open {open:.3} hits {hits:.0} misses {misses:.0} stream {stream:.0} runs {} entries {} resident {} state {} peak {}",
        resident.runs,
        resident.entries,
        resident.bytes,
        state - before,
        peak_bytes()?
    );
    Ok(())
}

/// Lookups a second of this thread's time on a core: what else runs on the machine takes none of it.
fn rate(index: &GeneratedIndex, lookups: u64, number: impl Fn(u64) -> u64, known: bool) -> Result<f64> {
    let mut ids = Vec::with_capacity(TOGETHER);
    let started = seconds_on_a_core()?;
    let mut at = 0;
    while at < lookups {
        ids.clear();
        ids.extend((at..lookups.min(at + TOGETHER as u64)).map(|at| chunk(number(at))));
        at += ids.len() as u64;
        if index.are_known(&ids)?.iter().any(|is_known| *is_known != known) {
            return Err(
                format!("a chunk is wrongly said {}to be there", if known { "not " } else { "" }).into()
            );
        }
    }
    Ok(lookups as f64 / (seconds_on_a_core()? - started))
}

/// The `number`th chunk in no order.
fn scattered(number: u64, chunks: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)) % chunks
}

fn seconds_on_a_core() -> Result<f64> {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = said.split(' ').next().ok_or("no schedstat")?.parse()?;
    Ok(nanoseconds / 1e9)
}
