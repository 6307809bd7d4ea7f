#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::index::Index;
use strongroom_format::pack::Footer;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = Index::decode(bytes) {
        assert_eq!(index.encode().expect("what decodes can be encoded"), bytes);
        for pack in &index.packs {
            let _ = pack.decoded_header();
            let _ = Footer::decode(&pack.footer);
        }
    }
});
