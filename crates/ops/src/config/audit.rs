//! What is demanded of the audit trail.

use serde::Deserialize;

/// What is demanded of the audit trail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditRules {
    /// Nothing is read that cannot be noted before.
    pub required: bool,
}
