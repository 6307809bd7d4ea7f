#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::path::EntryPath;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(path) = EntryPath::new(bytes) {
        assert_eq!(path.as_bytes(), bytes);
        assert!(
            path.components()
                .all(|part| !part.is_empty() && part != b".." && part != b"." && !part.contains(&0))
        );
        assert!(!path.to_string().chars().any(char::is_control));
        if let Some(parent) = path.parent() {
            assert!(path.is_within(&parent) && parent < path);
        }
    }
});
