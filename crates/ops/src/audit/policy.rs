//! What a policy changes: who may open the repository, who may write to it, and how.

use strongroom_format::policy::{Policy, Recipient, Signer};

/// In words, against the one before; of the first, all that it says.
pub(super) fn changes(before: Option<&Policy>, after: &Policy) -> Vec<String> {
    let mut changes = Vec::new();
    signers(before, after, &mut changes);
    recipients(before, after, &mut changes);
    let Some(before) = before else {
        changes.push(format!("metadata key {}", after.metadata.id.to_hex()));
        return changes;
    };
    for (what, one, other) in [
        ("metadata key", &before.metadata, &after.metadata),
        ("identity secret", &before.identity, &after.identity),
        ("vault", &before.vault, &after.vault),
    ] {
        if one.id != other.id {
            changes.push(format!("{what} rotated: {} in place of {}", other.id.to_hex(), one.id.to_hex()));
        }
    }
    if before.root != after.root {
        changes.push("root key changed".into());
    }
    let forgotten = after.forgotten.iter().filter(|id| !before.forgotten.contains(id)).count();
    if forgotten > 0 {
        changes.push(format!("{forgotten} snapshots of a revoked writer forgotten"));
    }
    if before.settled != after.settled {
        changes.push(format!("settled up to entry {}", after.settled));
    }
    if (before.trust, before.object_lock, before.deltas, before.base_keys, before.parity)
        != (after.trust, after.object_lock, after.deltas, after.base_keys, after.parity)
    {
        changes.push("storage rules changed".into());
    }
    changes
}

fn signers(before: Option<&Policy>, after: &Policy, changes: &mut Vec<String>) {
    let known: &[Signer] = before.map_or(&[], |policy| &policy.signers);
    for signer in &after.signers {
        match known.iter().find(|known| known.id == signer.id) {
            None => changes.push(format!("signer added: {}", of_signer(signer))),
            Some(known) if known != signer => {
                changes.push(format!("signer changed: {}, was {}", of_signer(signer), of_signer(known)));
            }
            Some(_) => {}
        }
    }
    for gone in known.iter().filter(|known| after.signer(known.id).is_none()) {
        changes.push(format!("signer removed: {}", of_signer(gone)));
    }
}

fn of_signer(signer: &Signer) -> String {
    let roles: Vec<&str> = signer.roles.names().collect();
    let sources = match signer.sources.is_empty() {
        true => String::new(),
        false => format!(" of {}", signer.sources.join(", ")),
    };
    format!("{} {} ({}{sources})", signer.name, signer.id.to_hex(), roles.join(", "))
}

fn recipients(before: Option<&Policy>, after: &Policy, changes: &mut Vec<String>) {
    let known: &[Recipient] = before.map_or(&[], |policy| &policy.recipients);
    for recipient in &after.recipients {
        match known.iter().find(|known| known.id == recipient.id) {
            None => changes.push(format!("recipient added: {}", of_recipient(recipient))),
            Some(known) if known.purposes != recipient.purposes => {
                changes.push(format!("recipient changed: {}", of_recipient(recipient)));
            }
            Some(_) => {}
        }
    }
    for gone in known.iter().filter(|known| !after.recipients.iter().any(|one| one.id == known.id)) {
        changes.push(format!("recipient removed: {}", of_recipient(gone)));
    }
}

fn of_recipient(recipient: &Recipient) -> String {
    let label = match recipient.label.is_empty() {
        true => "without a name",
        false => &recipient.label,
    };
    format!("{label} {}", recipient.id.to_hex())
}
