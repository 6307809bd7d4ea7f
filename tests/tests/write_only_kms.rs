//! A host that writes and cannot read, by the conditions of a role's policy on a KMS key: what somebody who stole it can do.

mod write_only;

use write_only::{Way, forging, keys, poison, reading, roles, store};

#[test]
fn a_host_writes_and_lists_and_reads_nothing() {
    reading::a_host_writes_and_lists_and_reads_nothing(Way::Kms);
}

#[test]
fn nothing_is_overwritten_or_deleted() {
    store::nothing_is_overwritten_or_deleted(Way::Kms);
}

#[test]
fn stored_data_stays_sealed() {
    reading::stored_data_stays_sealed(Way::Kms);
}

#[test]
fn forged_entries_count_for_nobody() {
    forging::forged_entries_count_for_nobody(Way::Kms);
}

#[test]
fn a_fake_checkpoint_is_passed_over() {
    forging::a_fake_checkpoint_is_passed_over(Way::Kms);
}

#[test]
fn a_poisoned_index_deceives_no_writer() {
    poison::a_poisoned_index_deceives_no_writer(Way::Kms);
}

#[test]
fn swapped_recipients_let_nobody_in() {
    keys::swapped_recipients_let_nobody_in(Way::Kms);
}

#[test]
fn roles_have_the_rights_they_need() {
    roles::roles_have_the_rights_they_need(Way::Kms);
}

#[test]
fn a_gap_in_the_journal_undoes_nothing() {
    forging::a_gap_in_the_journal_undoes_nothing(Way::Kms);
}

#[test]
fn prune_needs_no_data_key() {
    roles::prune_needs_no_data_key(Way::Kms);
}

#[test]
fn a_data_key_is_retired() {
    keys::a_data_key_is_retired(Way::Kms);
}
