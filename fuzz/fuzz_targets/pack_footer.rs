#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::pack::Footer;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(footer) = Footer::decode(bytes) {
        let again = footer.encode().expect("what decodes can be encoded");
        assert_eq!(again.len(), footer.unpadded_length());
        assert!(bytes.starts_with(&again) && bytes[again.len()..].iter().all(|byte| *byte == 0));
        let mut end = 112;
        for (at, frame) in footer.frames.iter().enumerate() {
            let range = footer.frame_range(at).expect("every frame has its place");
            assert_eq!(range.start, end);
            end = range.end;
            assert_eq!(footer.chunks_of(frame).len(), usize::from(frame.chunk_count));
            assert_eq!(footer.bases_of(frame).len(), usize::from(frame.base_count));
        }
        assert!(end <= footer.pack_length);
    }
});
