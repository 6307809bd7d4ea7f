//! What a node says of its chain in a small JSON file.

use serde_json::Value;

use super::facts::MetadataFacts;

/// How the file is called.
pub(super) const METADATA: &str = "metadata.json";
/// Longest file that is looked at, bytes.
pub(super) const LIMIT_BYTES: u64 = 1 << 20;
const HEIGHTS: [&str; 6] =
    ["height", "block_height", "head_height", "latest_height", "latest_block_height", "block_number"];
const HEADS: [&str; 6] = ["head", "head_hash", "hash", "block_hash", "latest_hash", "latest_block_hash"];
/// Where nodes put both together.
const GROUPS: [&str; 5] = ["head", "latest", "latest_block", "chain", "ledger"];

/// What the file at `path` says.
pub(super) fn parse(path: String, bytes: &[u8]) -> MetadataFacts {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let groups = GROUPS.iter().filter_map(|group| value.get(group));
    let places: Vec<&Value> = std::iter::once(&value).chain(groups).collect();
    let find = |names: &[&str]| {
        places
            .iter()
            .flat_map(|place| names.iter().filter_map(|name| place.get(name)).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let height = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    MetadataFacts {
        path,
        height: find(&HEIGHTS).into_iter().find_map(height),
        head: find(&HEADS).into_iter().find_map(Value::as_str).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_and_heads_by_their_usual_names() {
        let told = |text: &str| {
            let facts = parse("m".into(), text.as_bytes());
            (facts.height, facts.head)
        };
        assert_eq!(told(r#"{"height": 7, "head": "ab"}"#), (Some(7), Some("ab".into())));
        assert_eq!(told(r#"{"head": {"height": "8", "hash": "cd"}}"#), (Some(8), Some("cd".into())));
        assert_eq!(told(r#"{"block_height": 9}"#), (Some(9), None));
        assert_eq!(told("{}"), (None, None));
        assert_eq!(told("no JSON"), (None, None));
        assert_eq!(told(r#"{"height": -1}"#), (None, None));
    }
}
