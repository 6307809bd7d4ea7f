#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::node::Node;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(node) = Node::decode(bytes) {
        let again = node.encode().expect("what decodes can be encoded");
        assert_eq!(Node::decode(&again), Ok(node));
    }
});
