//! Dumps of real servers, whole and harmed.

use std::io::Cursor;

use proptest::prelude::*;

use super::normal::normal;
use super::*;

const DUMPS: [&[u8]; 2] = [
    include_bytes!("../../../../../fuzz/seeds/redis_rdb/7.0.rdb"),
    include_bytes!("../../../../../fuzz/seeds/redis_rdb/8.0.rdb"),
];

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

/// A key with its type and its canonical value.
type Found = (Vec<u8>, u8, Vec<u8>);

fn read(bytes: &[u8]) -> Result<Vec<Found>, RdbError> {
    let mut reader = RdbReader::new(Cursor::new(bytes))?;
    let mut keys = Vec::new();
    loop {
        match reader.next_part()? {
            Part::Key { code, .. } => {
                let (mut name, mut value) = (Vec::new(), Vec::new());
                reader.key(&mut name)?;
                copy_value(reader.input(), code, &mut Sorted::default(), &mut value)?;
                keys.push((name, code, value));
            }
            Part::End => return Ok(keys),
            _ => {}
        }
    }
}

fn normal_of(code: u8, value: &[u8]) -> Result<Vec<u8>, RdbError> {
    let mut out = Vec::new();
    let mut input = Input::new(value);
    normal(&mut input, code, 0, &mut |bytes| out.extend_from_slice(bytes))?;
    assert_eq!(input.offset(), value.len() as u64);
    Ok(out)
}

#[test]
fn the_same_data_of_two_versions_means_the_same() {
    let [mut old, mut new] = DUMPS.map(|dump| read(dump).unwrap());
    old.sort();
    new.retain(|(name, ..)| name != b"hx");
    new.sort();
    let meaning = |keys: &[Found]| -> Vec<(Vec<u8>, Vec<u8>)> {
        // Of the hash whose field expires in one of them only.
        let others = keys.iter().filter(|(name, ..)| name != b"h" && name != b"x");
        others.map(|(name, code, value)| (name.clone(), normal_of(*code, value).unwrap())).collect()
    };
    assert_eq!(meaning(&old).len(), 8);
    assert!(meaning(&old) == meaning(&new));
}

#[test]
fn copying_again_changes_nothing() {
    for (name, code, value) in DUMPS.iter().flat_map(|dump| read(dump).unwrap()) {
        let mut again = Vec::new();
        copy_value(&mut Input::new(&value[..]), code, &mut Sorted::default(), &mut again).unwrap();
        assert!(again == value, "{}", String::from_utf8_lossy(&name));
    }
}

#[test]
fn a_dump_that_ends_early_or_has_another_byte_is_refused() {
    for dump in DUMPS {
        for end in 0..dump.len() {
            assert!(read(&dump[..end]).is_err(), "the first {end} bytes");
        }
        let mut other = dump.to_vec();
        for at in 0..dump.len() {
            other[at] ^= 0x20;
            assert!(read(&other).is_err(), "byte {at}");
            other[at] = dump[at];
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_value_is_it_is_read_or_refused(code in 0_u8..30, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut value = Vec::new();
        if copy_value(&mut Input::new(&bytes[..]), code, &mut Sorted::default(), &mut value).is_ok() {
            let mut again = Vec::new();
            copy_value(&mut Input::new(&value[..]), code, &mut Sorted::default(), &mut again).unwrap();
            prop_assert!(again == value);
            let _ = normal_of(code, &value);
        }
    }

    /// Hash tables come in any order; what they mean does not change with it, nor with how they are packed.
    #[test]
    fn the_order_of_a_hash_table_does_not_count(
        members in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..30), 0..20),
        seed in any::<u64>(),
    ) {
        let mut shuffled: Vec<_> = members.iter().collect();
        shuffled.sort_by_key(|member| blake3::keyed_hash(&[u8::try_from(seed % 251).unwrap(); 32], member).as_bytes().to_vec());
        let mut value = Vec::new();
        write_length(&mut value, shuffled.len() as u64).unwrap();
        for member in shuffled {
            write_length(&mut value, member.len() as u64).unwrap();
            value.extend_from_slice(member);
        }
        let mut canonical = Vec::new();
        copy_value(&mut Input::new(&value[..]), 2, &mut Sorted::default(), &mut canonical).unwrap();
        let mut sorted = Vec::new();
        write_length(&mut sorted, members.len() as u64).unwrap();
        members.iter().for_each(|member| write_string(&mut sorted, member).unwrap());
        prop_assert!(canonical == sorted);
    }
}
