//! `key`: who may open the repository, and who may write to it.

use std::path::Path;

use serde_json::json;
use strongroom_format::policy::Recipient;
use strongroom_format::registry::{Purpose, RecipientType, Roles};
use strongroom_format::{PublicKey, RecipientId, SnapshotId};
use strongroom_keys::Secret;
use strongroom_keys::key_file;
use strongroom_keys::random::{self, OsRandom};
use strongroom_keys::wrap::x25519_public;
use strongroom_repository::administration::{Grant, NewWriter, RemovedRecipient, RetiredKey};
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::ObjectName;

use crate::arguments::{GrantArgument, KeyAction, RoleArgument};
use crate::context::Context;
use crate::credentials;
use crate::exit::{Outcome, PARTLY, Usage};
use crate::output::line;
use crate::recipients::{self, NewKeys};
use crate::render;

const PURPOSES: [Purpose; 6] =
    [Purpose::Data, Purpose::Metadata, Purpose::Identity, Purpose::Vault, Purpose::Signing, Purpose::Root];

pub(crate) fn run(context: &Context<'_>, action: &KeyAction) -> anyhow::Result<Outcome> {
    match action {
        KeyAction::List => list(context, &context.open()?),
        KeyAction::AddRecipient { recipient, grant, label } => {
            let grant = match grant {
                GrantArgument::Read => Grant::Read,
                GrantArgument::Admin => Grant::Admin,
            };
            with_new_keys(context, "add-recipient", recipient, |repository, recipient| {
                repository.add_recipient(recipient, grant, label.as_deref())?;
                context.terminal.say("added; check that it opens with `strongroom check --keys`");
                Ok(json!({ "type": "recipient", "id": recipient.recipient().to_hex() }))
            })
        }
        KeyAction::RemoveRecipient { recipient } => {
            let mut repository = context.open()?;
            let id = recipients::find(context.global, &repository.state().policy, recipient)?;
            let removed = remove_recipient(context, &mut repository, id)?;
            context.terminal.say(
                "removed; what it opened before, its holder may have kept: `strongroom key rotate` keeps what is written from now on from them",
            );
            Ok(wraps_left(context, removed.deleted, &removed.left))
        }
        KeyAction::Rewrap { from, to, remove } => rewrap(context, from, to, *remove),
        KeyAction::Rotate => {
            let mut repository = context.open()?;
            let key =
                context.performed(&mut repository, ("key", Some("rotate")), json!({}), |repository| {
                    Ok(repository.rotate()?)
                })?;
            if context.global.json {
                context.json(&json!({ "type": "rotate", "metadata_key": key.to_hex() }));
            } else {
                line!("metadata key {key} is in force");
            }
            Ok(Outcome::Done)
        }
        KeyAction::Retire { key } => retire(context, key),
        KeyAction::AddWriter { name, recipient, role, source } => {
            add_writer(context, name, recipient, role, source)
        }
        KeyAction::RevokeWriter { name, forget } => revoke_writer(context, name, forget),
        KeyAction::GenerateRecovery { file } => generate_recovery(context, file),
    }
}

/// Opens the repository and does something for a recipient, whose key file stays only if that succeeds.
fn with_new_keys(
    context: &Context<'_>,
    action: &str,
    recipient: &str,
    act: impl FnOnce(&mut Repository, &strongroom_keys::wrap::WrapTo) -> anyhow::Result<serde_json::Value>,
) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let mut keys = NewKeys::default();
    let wrap_to = keys.recipient(context.global, recipient)?;
    let detail = json!({ "recipient": wrap_to.recipient().to_hex() });
    let performed = context
        .performed(&mut repository, ("key", Some(action)), detail, |repository| act(repository, &wrap_to));
    let done = match performed {
        Ok(done) => done,
        Err(error) => {
            keys.discard();
            return Err(error);
        }
    };
    for path in keys.keep(&repository.fingerprint())? {
        context.terminal.say(&format!("key file {}", path.display()));
    }
    if context.global.json {
        context.json(&done);
    }
    Ok(Outcome::Done)
}

fn remove_recipient(
    context: &Context<'_>,
    repository: &mut Repository,
    recipient: RecipientId,
) -> anyhow::Result<RemovedRecipient> {
    let detail = json!({ "recipient": recipient.to_hex() });
    context.performed(repository, ("key", Some("remove-recipient")), detail, |repository| {
        Ok(repository.remove_recipient(recipient)?)
    })
}

fn add_writer(
    context: &Context<'_>,
    name: &str,
    recipient: &str,
    roles: &[RoleArgument],
    sources: &[String],
) -> anyhow::Result<Outcome> {
    let roles = roles.iter().fold(Roles(0), |roles, role| {
        let role = match role {
            RoleArgument::Write => Roles::WRITE,
            RoleArgument::Maintain => Roles::MAINTAIN,
            RoleArgument::Verify => Roles::VERIFY,
            RoleArgument::Admin => Roles::ADMIN,
        };
        Roles(roles.0 | role.0)
    });
    if roles.holds(Roles::WRITE) && sources.is_empty() {
        return Err(
            Usage("which sources may it write? give --source NAME, or --source '*' for all".into()).into()
        );
    }
    with_new_keys(context, "add-writer", recipient, |repository, recipient| {
        let writer = NewWriter { name, roles, sources: sources.to_vec(), recipient };
        let id = repository.add_writer(&writer)?;
        if !context.global.json {
            line!("writer {id} {}", render::safe(name));
        }
        context.terminal.say(&format!(
            "On that host: STRONGROOM_WRITER={name} (unless it is the host's name) and STRONGROOM_FINGERPRINT='{}'.",
            repository.fingerprint()
        ));
        Ok(
            json!({ "type": "writer", "id": id.to_hex(), "name": name, "recipient": recipient.recipient().to_hex() }),
        )
    })
}

fn revoke_writer(context: &Context<'_>, writer: &str, forget: &[String]) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let matching: Vec<_> = repository
        .state()
        .policy
        .signers
        .iter()
        .filter(|known| known.name == writer || (writer.len() >= 4 && known.id.to_hex().starts_with(writer)))
        .map(|known| known.id)
        .collect();
    let [id] = matching[..] else {
        return Err(Usage(format!(
            "`{writer}` fits {} writers; `strongroom key list` lists them",
            matching.len()
        ))
        .into());
    };
    let forget = forget
        .iter()
        .map(|text| Ok(context.select(&repository, text)?.id()))
        .collect::<anyhow::Result<Vec<SnapshotId>>>()?;
    let detail = json!({ "writer": id.to_hex(), "forget": forget.len() });
    let revoked =
        context.performed(&mut repository, ("key", Some("revoke-writer")), detail, |repository| {
            Ok(repository.revoke_writer(id, &forget)?)
        })?;
    context.terminal.say(&format!(
        "revoked; {} snapshot(s) forgotten. It can still read names and sizes of what is written: `strongroom key rotate` ends that.",
        revoked.forgotten.len()
    ));
    Ok(wraps_left(context, 0, &revoked.left))
}

fn rewrap(context: &Context<'_>, from: &str, to: &str, remove: bool) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let from = recipients::find(context.global, &repository.state().policy, from)?;
    let mut keys = NewKeys::default();
    let wrap_to = keys.recipient(context.global, to)?;
    let detail = json!({ "from": from.to_hex(), "recipient": wrap_to.recipient().to_hex() });
    let rewrapped = context.performed(&mut repository, ("key", Some("rewrap")), detail, |repository| {
        Ok(repository.rewrap(from, &wrap_to, &context.terminal)?)
    });
    let done = match rewrapped {
        Ok(done) => done,
        Err(error) => {
            // What was wrapped so far is wrapped for it: a run that goes on needs the same key.
            keys.keep(&repository.fingerprint())?;
            return Err(error);
        }
    };
    context.terminal.finish();
    for path in keys.keep(&repository.fingerprint())? {
        context.terminal.say(&format!("key file {}", path.display()));
    }
    if context.global.json {
        context.json(&json!({ "type": "rewrap", "wrapped": done.wrapped, "kept": done.kept, "recipient": wrap_to.recipient().to_hex() }));
    } else {
        line!("wrapped {} keys for {}; it had {} already", done.wrapped, wrap_to.recipient(), done.kept);
    }
    if !remove {
        return Ok(Outcome::Done);
    }
    let removed = remove_recipient(context, &mut repository, from)?;
    Ok(wraps_left(context, removed.deleted, &removed.left))
}

fn retire(context: &Context<'_>, key: &str) -> anyhow::Result<Outcome> {
    let mut repository = context.open_to_read()?;
    let known = repository.data_keys();
    let matching: Vec<_> = known.into_iter().filter(|known| known.to_hex().starts_with(key)).collect();
    let [key] = &matching[..] else {
        return Err(match matching.len() {
            0 => RepositoryError::NoSuchDataKey { key: key.to_owned() }.into(),
            several => Usage(format!("{several} data keys begin with {key}: give more digits")).into(),
        });
    };
    let detail = json!({ "key": key.to_hex() });
    let retired = context.performed(&mut repository, ("key", Some("retire")), detail, |repository| {
        Ok(repository.retire_data_key(*key, &context.terminal)?)
    })?;
    context.terminal.finish();
    match retired {
        RetiredKey::Resealed { packs, bytes, by } => {
            if context.global.json {
                context.json(&json!({ "type": "retire", "key": key.to_hex(), "packs": packs, "bytes": bytes, "by": by.to_hex() }));
            } else {
                line!("data key {key}: {packs} packs ({}) are sealed under {by} now", render::bytes(bytes));
            }
            context.terminal.say(&format!("the old packs are retired: when `strongroom prune` has deleted them, `strongroom key retire {key}` deletes the key"));
            Ok(Outcome::Done)
        }
        RetiredKey::Waiting { packs } => {
            if context.global.json {
                context.json(&json!({ "type": "retire", "key": key.to_hex(), "waiting": packs }));
            } else {
                line!(
                    "data key {key}: {packs} retired packs still hold frames under it: `strongroom prune` deletes them when their grace has passed"
                );
            }
            Ok(Outcome::Code(PARTLY))
        }
        RetiredKey::Deleted { deleted, left } => Ok(wraps_left(context, deleted, &left)),
    }
}

fn wraps_left(context: &Context<'_>, deleted: usize, left: &[ObjectName]) -> Outcome {
    if context.global.json {
        let left: Vec<_> = left.iter().map(ObjectName::as_str).collect();
        context.json(&json!({ "type": "wraps", "deleted": deleted, "left": left }));
    } else {
        if deleted > 0 {
            line!("deleted {deleted} wrapped keys");
        }
        for name in left {
            line!("not deleted: {name}");
        }
    }
    if left.is_empty() {
        return Outcome::Done;
    }
    context.terminal.warn("this host may not delete everything in keys/: delete these as somebody who may");
    Outcome::Code(PARTLY)
}

fn generate_recovery(context: &Context<'_>, file: &Path) -> anyhow::Result<Outcome> {
    let private = Secret::new(random::array(&OsRandom)?);
    credentials::write_private(file, key_file::encode_x25519(&private)?.as_bytes())?;
    let public = key_file::public_text(&x25519_public(&private)?);
    if context.global.json {
        let path = file.display().to_string();
        context.json(&json!({ "type": "recovery_key", "public": public, "file": path }));
    } else {
        line!("{public}");
    }
    context.terminal.say(&format!(
        "The private key is in {}: move it to where no host can read it. The line above is the recipient to give to `init` or `key add-recipient`.",
        file.display()
    ));
    Ok(Outcome::Done)
}

fn list(context: &Context<'_>, repository: &Repository) -> anyhow::Result<Outcome> {
    let state = repository.state();
    let policy = &state.policy;
    if context.global.json {
        for recipient in &policy.recipients {
            context.json(&json!({
                "type": "recipient", "id": recipient.id.to_hex(), "kind": kind(recipient.kind), "purposes": purposes(recipient),
                "public": public(recipient), "label": recipient.label, "writer": recipient.writer.map(|writer| writer.to_hex()),
            }));
        }
        for signer in &policy.signers {
            context.json(&json!({
                "type": "writer", "id": signer.id.to_hex(), "name": signer.name, "roles": signer.roles.names().collect::<Vec<_>>(),
                "sources": signer.sources,
            }));
        }
        for key in &state.metadata_keys {
            let in_force = *key == policy.metadata;
            context.json(&json!({ "type": "metadata_key", "id": key.id.to_hex(), "in_force": in_force }));
        }
        context.json(&json!({
            "type": "policy", "sequence": policy.sequence, "vault": policy.vault.id.to_hex(), "identity": policy.identity.id.to_hex(),
            "fingerprint": repository.fingerprint(),
        }));
        return Ok(Outcome::Done);
    }
    line!("RECIPIENTS");
    for recipient in &policy.recipients {
        let opens = purposes(recipient).join(",");
        line!(
            "{}  {:10}  {opens}  {}  {}",
            recipient.id.short(),
            kind(recipient.kind),
            render::safe(&recipient.label),
            public(recipient)
        );
    }
    line!("WRITERS");
    for signer in &policy.signers {
        let roles: Vec<_> = signer.roles.names().collect();
        let sources = signer.sources.join(",");
        line!(
            "{}  {}  {}  {}",
            signer.id.short(),
            render::safe(&signer.name),
            roles.join(","),
            render::safe(&sources)
        );
    }
    line!("METADATA KEYS");
    for key in &state.metadata_keys {
        line!("{}{}", key.id, if *key == policy.metadata { "  in force" } else { "" });
    }
    Ok(Outcome::Done)
}

fn kind(kind: RecipientType) -> &'static str {
    match kind {
        RecipientType::Passphrase => "passphrase",
        RecipientType::KeyFile => "key-file",
        RecipientType::X25519 => "x25519",
        RecipientType::AwsKms => "aws-kms",
    }
}

fn purposes(recipient: &Recipient) -> Vec<&'static str> {
    PURPOSES.into_iter().filter(|purpose| recipient.gets(*purpose)).map(Purpose::name).collect()
}

fn public(recipient: &Recipient) -> String {
    match (recipient.kind, PublicKey::try_from(&recipient.public[..])) {
        (RecipientType::X25519, Ok(public)) => key_file::public_text(&public),
        _ => render::safe(&String::from_utf8_lossy(&recipient.public)),
    }
}
