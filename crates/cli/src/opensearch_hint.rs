//! What to do next when OpenSearch refused.

use strongroom_engines::http::HttpError;
use strongroom_engines::opensearch::OpensearchError;

pub(crate) fn hint(error: &OpensearchError) -> Option<&'static str> {
    Some(match error {
        OpensearchError::Http(error) => return http_hint(error),
        OpensearchError::InTheWay { .. } => {
            "--drop-existing deletes indices first and replaces templates, pipelines and scripts; --rename restores under other names, without aliases"
        }
        OpensearchError::NoSource { .. } => "leave it out with --exclude",
        OpensearchError::Shard { .. } => {
            "no snapshot was made; run it again, or leave the index out with --exclude"
        }
        OpensearchError::Older { .. } => "restore into a server of that version or a newer one",
        OpensearchError::Partial { .. } => {
            "run it again with --drop-existing (--include names single indices), or delete what is there in part"
        }
        OpensearchError::NoTemplate { .. } => {
            "without --include, --exclude and --rename templates are restored, too; else put one there with data_stream and a pattern for this name"
        }
        OpensearchError::NotMade { source, .. } => return hint(source),
        OpensearchError::Unassigned { .. } => {
            "its settings below index.routing ask for nodes that are not there: start some, or give some the attributes"
        }
        OpensearchError::NotSupported { .. } => {
            "give the URL of the HTTP port (9200) of OpenSearch, or of Elasticsearch 7"
        }
        _ => return None,
    })
}

fn http_hint(error: &HttpError) -> Option<&'static str> {
    Some(match (error.status(), error) {
        (Some(401), _) => {
            "give user and password: in OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD, or in the URL"
        }
        (Some(403), _) => {
            "give the role the right to it (docs/engines/opensearch.md has a list), or leave the index out with --exclude"
        }
        (Some(404), _) => "it may have been deleted meanwhile; run it again",
        (None, HttpError::Unreachable { source, .. }) if is_tls(source) => {
            "--ca-file names the certificates to trust; a server without TLS is reached with http://"
        }
        (None, HttpError::Unreachable { .. }) => "is the server up, and are scheme, host and port right?",
        _ => return None,
    })
}

fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = format!("{error} {error:?}").to_lowercase();
    ["certificate", "tls", "corrupt message"].iter().any(|word| text.contains(word))
}
