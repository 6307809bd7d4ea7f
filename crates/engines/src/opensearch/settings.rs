//! The settings of an index that is made again: without what the server decides, and first as documents are loaded best.

use serde_json::{Map, Value, json};

use super::catalog::Definition;
use super::session::Server;

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
    "remote_store",
];
/// What is given only when all documents are in, and what it is until then. Said also where the index had none: a template of the
/// server may have one.
const LAST: [(&str, Option<&str>); 6] = [
    ("number_of_replicas", Some("0")),
    ("auto_expand_replicas", Some("false")),
    ("refresh_interval", Some("-1")),
    ("final_pipeline", Some("_none")),
    ("default_pipeline", Some("_none")),
    ("blocks", None),
];

/// Of an index that is made to be loaded, and what it is given afterwards.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) first: Value,
    pub(super) last: Value,
}

impl Settings {
    /// For an index of that server.
    pub(super) fn of(definition: &Definition, server: &Server) -> Self {
        let mut first = own(definition);
        if let Some(routing) = first.remove("routing").and_then(|routing| placed(routing, server)) {
            first.insert("routing".into(), routing);
        }
        let mut last = Map::new();
        for (name, loading) in LAST {
            let own = first.remove(name);
            if name == "final_pipeline" && server.is_elasticsearch() && server.number() < (7, 5) {
                continue;
            }
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

/// What of an index's settings the server did not decide.
pub(super) fn own(definition: &Definition) -> Map<String, Value> {
    let all = definition.settings.get("index").and_then(Value::as_object);
    let mut own = all.cloned().unwrap_or_default();
    own.retain(|name, _| !DECIDED.contains(&name.as_str()));
    own
}

/// Where the shards of an index may be: as it was, without what the server says only of how the index came to be. The tiers of
/// Elasticsearch would be an attribute that no node of OpenSearch has.
fn placed(mut routing: Value, server: &Server) -> Option<Value> {
    let allocation = routing.get_mut("allocation").and_then(Value::as_object_mut);
    if let Some(allocation) = allocation {
        allocation.remove("initial_recovery");
        if !server.is_elasticsearch() {
            for kind in ["include", "require", "exclude"] {
                let Some(filters) = allocation.get_mut(kind).and_then(Value::as_object_mut) else { continue };
                filters.remove("_tier_preference");
                if filters.is_empty() {
                    allocation.remove(kind);
                }
            }
        }
        if allocation.is_empty() {
            routing.as_object_mut()?.remove("allocation");
        }
    }
    let is_empty = routing.as_object().is_some_and(Map::is_empty);
    (!is_empty).then_some(routing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(distribution: &str, version: &str) -> Server {
        Server { distribution: distribution.into(), version: version.into(), cluster_uuid: String::new() }
    }

    #[test]
    fn what_the_server_decides_is_left_out_and_the_rest_comes_back() {
        let definition: Definition = serde_json::from_value(json!({
            "settings": { "index": {
                "uuid": "x", "version": { "created": "1" }, "number_of_shards": "3", "number_of_replicas": "2",
                "final_pipeline": "p", "remote_store": { "enabled": "true" }, "analysis": { "analyzer": {} }, "blocks": { "write": "true" },
            }}
        }))
        .unwrap();
        let settings = Settings::of(&definition, &server("opensearch", "3.8.0"));
        assert_eq!(
            settings.first,
            json!({ "index": { "number_of_shards": "3", "number_of_replicas": "0", "auto_expand_replicas": "false",
                "refresh_interval": "-1", "final_pipeline": "_none", "default_pipeline": "_none",
                "analysis": { "analyzer": {} } } })
        );
        assert_eq!(
            settings.last,
            json!({ "index": { "number_of_replicas": "2", "auto_expand_replicas": null, "refresh_interval": null,
                "final_pipeline": "p", "default_pipeline": null, "blocks": { "write": "true" } } })
        );
        let old = Settings::of(&definition, &server("elasticsearch", "7.4.2"));
        assert_eq!(
            (old.first["index"].get("final_pipeline"), old.last["index"].get("final_pipeline")),
            (None, None)
        );
    }

    #[test]
    fn shards_are_placed_as_they_were() {
        let routing = |routing: Value, distribution: &str| {
            let settings = json!({ "settings": { "index": { "routing": routing } } });
            let definition: Definition = serde_json::from_value(settings).unwrap();
            Settings::of(&definition, &server(distribution, "7.17.0")).first["index"]["routing"].clone()
        };
        let hot = json!({ "rebalance": { "enable": "none" }, "allocation": { "total_shards_per_node": "2",
            "require": { "temp": "hot" }, "include": { "_tier_preference": "data_content" }, "initial_recovery": { "_id": "n" } } });
        assert_eq!(
            routing(hot, "opensearch"),
            json!({ "rebalance": { "enable": "none" }, "allocation": { "total_shards_per_node": "2",
                "require": { "temp": "hot" } } })
        );
        let tier = json!({ "allocation": { "include": { "_tier_preference": "data_content" } } });
        assert_eq!(routing(tier.clone(), "opensearch"), Value::Null);
        assert_eq!(routing(tier.clone(), "elasticsearch"), tier);
    }
}
