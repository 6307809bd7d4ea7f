//! Of commands that say who may do what, and how.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::parsers::{parse_parity, path_parser};

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Who can open and administer it: `passphrase`, `key-file:PATH` (made if missing), `aws-kms:ARN-OR-ALIAS`,
    /// `x25519:PUBLIC` (see `key generate-recovery`); may be repeated. Default: the passphrase or key file that
    /// was given, else a new key file for this user
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    /// Keep objects from being deleted by anybody (S3 Object Lock): `compliance:30d`, `governance:30d`, and with
    /// `,keys:2555d` keys and journal for longer
    #[arg(long, value_name = "MODE:DAYS", value_parser = parse_lock)]
    pub(crate) object_lock: Option<strongroom_format::policy::ObjectLock>,
    /// Store recovery blocks beside each pack, as a percentage of its blocks (`5%`): that many of its blocks can be damaged or
    /// lost, and are rebuilt. Default: none
    #[arg(long, value_name = "PERCENT", value_parser = parse_parity)]
    pub(crate) parity: Option<u8>,
    /// Name of this host as a writer
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
}

fn parse_lock(text: &str) -> Result<strongroom_format::policy::ObjectLock, String> {
    use strongroom_format::registry::LockMode;
    let wrong = || "write compliance:30d or governance:30d, perhaps with ,keys:2555d".to_owned();
    let days = |text: &str| {
        let number = text.strip_suffix('d').and_then(|days| days.parse().ok());
        number.filter(|days| (1..=36_500).contains(days)).ok_or_else(wrong)
    };
    let (data, keys) = text.split_once(',').map_or((text, None), |(data, keys)| (data, Some(keys)));
    let (mode, data) = data.split_once(':').ok_or_else(wrong)?;
    let mode = match mode {
        "compliance" => LockMode::Compliance,
        "governance" => LockMode::Governance,
        _ => return Err(wrong()),
    };
    let data_days = days(data)?;
    let keys_days = match keys {
        Some(keys) => days(keys.strip_prefix("keys:").ok_or_else(wrong)?)?,
        None => data_days,
    };
    Ok(strongroom_format::policy::ObjectLock { mode, data_days, keys_days: keys_days.max(data_days) })
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Show who can open the repository, who may write to it, and which keys there are
    List,
    /// Add a recipient, who can open it
    AddRecipient {
        /// `passphrase`, `key-file:PATH`, `x25519:PUBLIC` or `aws-kms:ARN-OR-ALIAS`
        #[arg(value_name = "RECIPIENT")]
        recipient: String,
        /// Permissions: read (restore, check), or also administer
        #[arg(long, value_enum, default_value_t = GrantArgument::Read, value_name = "RIGHTS")]
        grant: GrantArgument,
        /// Label, for people
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
    },
    /// Remove a recipient, and delete the keys wrapped for it
    RemoveRecipient {
        /// ID (any unique prefix), label, or the words it was added with
        #[arg(value_name = "RECIPIENT")]
        recipient: String,
    },
    /// Wrap every key of an old recipient for a new one; between KMS keys without seeing them
    Rewrap {
        /// The old recipient: ID, label, or the words it was added with
        #[arg(long, value_name = "RECIPIENT")]
        from: String,
        /// The new one
        #[arg(long, value_name = "RECIPIENT")]
        to: String,
        /// Then remove the old one
        #[arg(long)]
        remove: bool,
    },
    /// Make a new metadata key: whoever was removed cannot read what is written from now on
    Rotate,
    /// Retire a data key: seal what it protects under a new one; once more after a prune, to delete the key
    Retire {
        /// Data key ID (any unique prefix); `show ID` names those of a snapshot
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Add a write-only host, with a signing key of its own
    AddWriter {
        /// Its name; preferably its host name
        #[arg(value_name = "NAME")]
        name: String,
        /// Recipient that its keys are wrapped for: `x25519:PUBLIC`, `key-file:PATH`, `aws-kms:ARN-OR-ALIAS`
        #[arg(long, value_name = "RECIPIENT")]
        recipient: String,
        /// Its roles: write, maintain, verify, admin; may be repeated
        #[arg(long, value_enum, default_value = "write", value_name = "ROLE")]
        role: Vec<RoleArgument>,
        /// Source that it may write, or `*` for all; may be repeated
        #[arg(long, value_name = "NAME")]
        source: Vec<String>,
    },
    /// Revoke a writer; what it wrote stays, except for --forget
    RevokeWriter {
        /// Name, or ID (any unique prefix)
        // Not called `writer`: `--writer`, which every command takes, is.
        #[arg(value_name = "WRITER")]
        name: String,
        /// Snapshot to forget with it; may be repeated
        #[arg(long, value_name = "ID")]
        forget: Vec<String>,
    },
    /// Make a private key to keep offline, and print its public half for --recipient
    GenerateRecovery {
        /// New file for the private key
        #[arg(value_name = "FILE", value_parser = path_parser())]
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GrantArgument {
    Read,
    Admin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArgument {
    Write,
    Maintain,
    Verify,
    Admin,
}

#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    pub(crate) action: PolicyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAction {
    /// Show the rules in force
    Show,
    /// Change rules, for runs that begin from now on; rules not named stay as they are
    #[command(group = clap::ArgGroup::new("rules").required(true).multiple(true))]
    Set {
        /// Whether small changes may be stored as deltas against an earlier snapshot
        #[arg(long, value_enum, value_name = "SWITCH", group = "rules")]
        deltas: Option<Switch>,
        /// Data keys of how many of its own last runs a write-only host may keep (`backup --keep-base-keys`), so that it can
        /// store deltas too: 0 (none) to 64. Whoever takes over such a host can read what these runs stored
        #[arg(long, value_name = "RUNS", group = "rules",
            value_parser = clap::value_parser!(u8).range(..=i64::from(strongroom_format::policy::BASE_KEYS_LIMIT)))]
        keep_base_keys: Option<u8>,
        /// Recovery blocks beside each new pack, as a percentage of its blocks: `5%`, or `off`. That many blocks of a pack can be
        /// damaged or lost, and are rebuilt
        #[arg(long, value_name = "PERCENT", value_parser = parse_parity, group = "rules")]
        parity: Option<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}
