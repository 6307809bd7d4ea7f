#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_engines::redis::rdb::normal::normal;
use strongroom_engines::redis::rdb::{Give, Input, Members, Part, RdbError, RdbReader, copy_value};

fuzz_target!(|bytes: &[u8]| {
    let _ = read(bytes);
});

fn read(bytes: &[u8]) -> Result<(), RdbError> {
    let mut reader = RdbReader::new(bytes)?;
    let mut name = Vec::new();
    loop {
        match reader.next_part()? {
            Part::Key { code, .. } => {
                reader.key(&mut name)?;
                let mut canonical = Vec::new();
                copy_value(reader.input(), code, &mut Sorted::default(), &mut canonical)?;
                check(code, &canonical);
            }
            Part::End => return Ok(()),
            _ => {}
        }
    }
}

/// What was copied is read to its end, and copying it again changes nothing.
fn check(code: u8, canonical: &[u8]) {
    let mut again = Vec::new();
    let mut input = Input::new(canonical);
    copy_value(&mut input, code, &mut Sorted::default(), &mut again).unwrap();
    assert!(again == canonical && input.offset() == canonical.len() as u64);
    let mut input = Input::new(canonical);
    if normal(&mut input, code, 0, &mut |_| {}).is_ok() {
        assert_eq!(input.offset(), canonical.len() as u64);
    }
}

/// Sorts in memory.
#[derive(Default)]
struct Sorted(Vec<(Vec<u8>, Vec<u8>, usize)>);

impl Members for Sorted {
    fn add(&mut self, member: &[u8], body: &[u8], split: usize) -> Result<(), RdbError> {
        self.0.push((member.to_vec(), body.to_vec(), split));
        Ok(())
    }

    fn drain(&mut self, give: &mut Give<'_>) -> Result<(), RdbError> {
        self.0.sort();
        self.0.drain(..).try_for_each(|(member, body, split)| give(&member, &body, split))
    }
}
