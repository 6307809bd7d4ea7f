#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::FormatError;
use strongroom_format::cbor::{Decoder, Encoder};

fn written(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut encoder = Encoder::default();
    write(&mut encoder);
    encoder.into_bytes()
}

/// Reads one value, and gives it as it is written.
fn copy(decoder: &mut Decoder<'_>) -> Result<Vec<u8>, FormatError> {
    Ok(match decoder.rest().first().map(|byte| byte >> 5) {
        Some(0) => decoder.uint().map(|value| written(|e| e.uint(value)))?,
        Some(1) => decoder.int().map(|value| written(|e| e.int(value)))?,
        Some(2) => decoder.bytes().map(|value| written(|e| e.bytes(value)))?,
        Some(3) => decoder.text().map(|value| written(|e| e.text(value)))?,
        Some(4) => {
            let values = decoder.array(copy)?;
            let head = written(|e| e.array_head(values.len() as u64));
            head.into_iter().chain(values.into_iter().flatten()).collect()
        }
        Some(5) => {
            let (mut fields, mut count) = (Vec::new(), 0);
            decoder.map("any", |key, value| {
                count += 1;
                fields.extend(written(|e| e.uint(key)));
                fields.extend(copy(value)?);
                Ok(true)
            })?;
            // The head of a map is that of an array, but for its major type.
            let mut head = written(|e| e.array_head(count));
            head[0] ^= (4 ^ 5) << 5;
            head.into_iter().chain(fields).collect()
        }
        _ => return decoder.skip().map(|()| Vec::new()),
    })
}

fuzz_target!(|bytes: &[u8]| {
    let (mut decoder, mut skipped) = (Decoder::new(bytes), Decoder::new(bytes));
    while !decoder.rest().is_empty() {
        let before = decoder.rest();
        let copied = copy(&mut decoder);
        assert_eq!(copied.as_ref().err(), skipped.skip().as_ref().err());
        let Ok(copied) = copied else { break };
        assert_eq!(decoder.rest(), skipped.rest());
        assert_eq!(copied, before[..before.len() - decoder.rest().len()]);
    }
});
