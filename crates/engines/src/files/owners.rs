//! Whose a restored file becomes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use strongroom_format::tree_entry::Metadata;

/// Looks owners up by name, once each.
#[derive(Debug, Default)]
pub(super) struct Owners {
    numeric: bool,
    users: Mutex<HashMap<String, Option<u32>>>,
    groups: Mutex<HashMap<String, Option<u32>>>,
}

impl Owners {
    pub(super) fn new(numeric: bool) -> Self {
        Self { numeric, ..Self::default() }
    }

    /// User and group: the one that bears the name on this host, else the number.
    pub(super) fn resolve(&self, metadata: &Metadata) -> (u32, u32) {
        let user = metadata.user.as_deref().and_then(|name| {
            self.look_up(&self.users, name, |name| uzers::get_user_by_name(name).map(|user| user.uid()))
        });
        let group = metadata.group.as_deref().and_then(|name| {
            self.look_up(&self.groups, name, |name| uzers::get_group_by_name(name).map(|group| group.gid()))
        });
        (user.unwrap_or(metadata.uid), group.unwrap_or(metadata.gid))
    }

    fn look_up(
        &self,
        known: &Mutex<HashMap<String, Option<u32>>>,
        name: &str,
        ask: impl Fn(&str) -> Option<u32>,
    ) -> Option<u32> {
        // The name service's interface is in C, where a name ends at a NUL.
        if self.numeric || name.contains('\0') {
            return None;
        }
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.get(name) {
            return *number;
        }
        let number = ask(name);
        known.insert(name.to_owned(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_win_over_numbers_where_they_exist() {
        let metadata = |user: &str, group: &str| Metadata {
            uid: 4001,
            gid: 4002,
            user: Some(user.into()),
            group: Some(group.into()),
            ..Metadata::default()
        };
        let owners = Owners::new(false);
        assert_eq!(owners.resolve(&metadata("root", "no-such-group")), (0, 4002));
        assert_eq!(owners.resolve(&metadata("no\0such", "root")), (4001, 0));
        assert_eq!(Owners::new(true).resolve(&metadata("root", "root")), (4001, 4002));
        assert_eq!(owners.resolve(&Metadata { user: None, group: None, ..metadata("", "") }), (4001, 4002));
    }
}
