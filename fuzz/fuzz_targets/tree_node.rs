#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::node::Node;
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(node) = Node::decode(bytes) {
        let again = node.encode().expect("what decodes can be encoded");
        let (head, items) = again.split_at(8);
        assert_eq!(head, &bytes[..8]);
        match node {
            // The items of the other kinds are no CBOR and have no fields to ignore.
            Node::Entries(_) => assert_canonical(&bytes[8..], items),
            _ => assert_eq!(items, &bytes[8..]),
        }
        assert_eq!(Node::decode(&again), Ok(node));
    }
});
