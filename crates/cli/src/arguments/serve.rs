//! Of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::parsers::path_parser;

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen. Elsewhere than on the loopback somebody must be asked for a token or a certificate [default: 127.0.0.1:9898]
    #[arg(long, env = "STRONGROOM_SERVE_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// File with the token that whoever looks must know, in its first line (the token itself may be in STRONGROOM_SERVE_TOKEN)
    #[arg(long, env = "STRONGROOM_SERVE_TOKEN_FILE", value_name = "FILE", value_parser = path_parser())]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate of this server, and those between it and one that is trusted (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser(), requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser(), requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Who signs certificates of those who may look without a token (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub(crate) client_ca: Option<PathBuf>,
    /// Ask for the token (or a certificate) on /metrics too
    #[arg(long)]
    pub(crate) metrics_token: bool,
    /// Run nothing: only show what others did
    #[arg(long)]
    pub(crate) no_schedule: bool,
    /// Tell [notify.NAME] of the configuration nothing of what is found: a `monitor --alerts` elsewhere does
    #[arg(long)]
    pub(crate) no_alerts: bool,
}
