//! The settings of an index that is made again: without what the server decides, and first as documents are loaded best.

use serde_json::{Map, Value, json};

use super::catalog::Definition;

/// What a server gives an index, or what says of another one where it was.
const DECIDED: [&str; 9] = [
    "uuid",
    "history_uuid",
    "version",
    "provided_name",
    "creation_date",
    "creation_date_string",
    "resize",
    "verified_before_close",
    "routing",
];
/// What is given only when all documents are in, and what it is until then.
const LAST: [(&str, Option<&str>); 6] = [
    ("number_of_replicas", Some("0")),
    ("auto_expand_replicas", Some("false")),
    ("refresh_interval", Some("-1")),
    ("final_pipeline", None),
    ("default_pipeline", None),
    ("blocks", None),
];

/// Of an index that is made to be loaded, and what it is given afterwards.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) first: Value,
    pub(super) last: Value,
}

impl Settings {
    pub(super) fn of(definition: &Definition) -> Self {
        let mut first: Map<String, Value> =
            definition.settings.get("index").and_then(Value::as_object).cloned().unwrap_or_default();
        first.retain(|name, _| !DECIDED.contains(&name.as_str()));
        let mut last = Map::new();
        for (name, loading) in LAST {
            let own = first.remove(name);
            if let Some(loading) = loading {
                first.insert(name.to_owned(), loading.into());
                // Null is the server's default.
                last.insert(name.to_owned(), own.unwrap_or(Value::Null));
            } else if let Some(own) = own {
                last.insert(name.to_owned(), own);
            }
        }
        Self { first: json!({ "index": first }), last: json!({ "index": last }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_decides_is_left_out_and_the_rest_comes_back() {
        let definition: Definition = serde_json::from_value(json!({
            "settings": { "index": {
                "uuid": "x", "version": { "created": "1" }, "number_of_shards": "3", "number_of_replicas": "2",
                "final_pipeline": "p", "analysis": { "analyzer": {} }, "blocks": { "write": "true" },
            }}
        }))
        .unwrap();
        let settings = Settings::of(&definition);
        assert_eq!(
            settings.first,
            json!({ "index": { "number_of_shards": "3", "number_of_replicas": "0", "auto_expand_replicas": "false",
                "refresh_interval": "-1", "analysis": { "analyzer": {} } } })
        );
        assert_eq!(
            settings.last,
            json!({ "index": { "number_of_replicas": "2", "auto_expand_replicas": null, "refresh_interval": null,
                "final_pipeline": "p", "blocks": { "write": "true" } } })
        );
    }
}
