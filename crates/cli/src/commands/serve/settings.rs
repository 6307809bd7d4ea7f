//! How to serve: what the command line says goes before the environment, that before the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::ServerConfig;
use strongroom_ops::config::{Config, Text};
use strongroom_web::{Access, TlsFiles, Token, tls};

use crate::arguments::Serve;
use crate::exit::Usage;

const PORT: u16 = 9898;
/// The token itself.
const TOKEN_VARIABLE: &str = "STRONGROOM_SERVE_TOKEN";
/// How often the journal is looked at.
const REFRESH: Duration = Duration::from_secs(15);
/// Runs at once.
const PARALLEL: usize = 2;

/// How to serve.
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) access: Access,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) refresh: Duration,
    pub(super) parallel: usize,
}

impl Settings {
    pub(super) fn new(arguments: &Serve, config: &Config) -> anyhow::Result<Self> {
        let own = &config.serve;
        let listen = arguments.listen.or(own.listen).unwrap_or((Ipv4Addr::LOCALHOST, PORT).into());
        let files = files(arguments, config)?;
        let access = Access {
            token: token(arguments, config)?,
            certificates: files.as_ref().is_some_and(|files| files.client_ca.is_some()),
            metrics: arguments.metrics_token || own.metrics_token.unwrap_or(false),
        };
        if access.metrics && access.token.is_none() && !access.certificates {
            return Err(Usage("metrics_token asks for a token, and there is none: give --token-file, STRONGROOM_SERVE_TOKEN or --client-ca".into()).into());
        }
        access.check(listen).map_err(|error| Usage(error.to_string()))?;
        Ok(Self {
            listen,
            access,
            tls: files.as_ref().map(tls).transpose()?,
            refresh: own.refresh.unwrap_or(REFRESH),
            parallel: own.parallel.unwrap_or(PARALLEL),
        })
    }
}

/// What of the configuration's own cannot be had, or used, by its fields.
pub(in crate::commands) fn wrong(config: &Config) -> Vec<(&'static str, anyhow::Error)> {
    let own = &config.serve;
    let token = own.token.as_ref().map(|token| -> anyhow::Result<()> {
        Token::new(token.resolve()?.trim())?;
        Ok(())
    });
    let files = own.tls_cert.clone().zip(own.tls_key.clone());
    let tls = files.map(|(certificate, key)| -> anyhow::Result<()> {
        tls(&TlsFiles { certificate, key, client_ca: own.client_ca.clone() })?;
        Ok(())
    });
    let all = [("token", token), ("tls_cert", tls)];
    all.into_iter().filter_map(|(field, looked)| Some((field, looked?.err()?))).collect()
}

/// The one of a file that is named goes before the one of the environment: both are of the same caller.
fn token(arguments: &Serve, config: &Config) -> anyhow::Result<Option<Token>> {
    let of_file = arguments.token_file.as_ref().filter(|path| !path.as_os_str().is_empty());
    let of_variable = || std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    let (text, from) = if let Some(path) = of_file {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("the token's file {} cannot be read", path.display()))?;
        (text.lines().next().unwrap_or_default().to_owned(), path.display().to_string())
    } else if let Some(text) = of_variable() {
        (text, TOKEN_VARIABLE.to_owned())
    } else if let Some(text) = config.serve.token.as_ref() {
        (text.resolve().context("serve.token")?, Text::to_string(text))
    } else {
        return Ok(None);
    };
    let token = Token::new(text.trim()).with_context(|| from.clone());
    Ok(Some(token?))
}

fn files(arguments: &Serve, config: &Config) -> anyhow::Result<Option<TlsFiles>> {
    let own = &config.serve;
    // Both of one place: half of each would be of no pair.
    let (certificate, key) = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => (Some(certificate), Some(key)),
        _ => (own.tls_cert.as_ref(), own.tls_key.as_ref()),
    };
    let client_ca = arguments.client_ca.as_ref().or(own.client_ca.as_ref()).cloned();
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca }))
        }
        _ if client_ca.is_some() => {
            Err(Usage("--client-ca needs --tls-cert and --tls-key: certificates are shown by TLS".into())
                .into())
        }
        _ => Ok(None),
    }
}
