//! The roots of a walk, merged into one tree of names.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// A name on the way to a root, or a root.
#[derive(Debug, Default, Clone)]
pub(super) struct RootNode {
    /// Whether a root ends here.
    pub(super) is_root: bool,
    /// Whether a symbolic link here stands for its target: on the way to a root, and at one given as `link/`.
    pub(super) follows: bool,
    /// What lies below, by name.
    pub(super) children: BTreeMap<Vec<u8>, RootNode>,
}

impl RootNode {
    /// The tree of `roots`, relative ones taken from `current`. Two names of one root are one root.
    ///
    /// `..` takes back the name before it, as in a text: like a shell's `cd`, and unlike the kernel, it does not
    /// see where a symbolic link led.
    pub(super) fn new(roots: &[impl AsRef<Path>], current: &Path) -> Self {
        let mut top = Self { follows: true, ..Self::default() };
        for root in roots {
            let root = root.as_ref();
            let mut names = Vec::new();
            for component in current.join(root).components() {
                match component {
                    Component::Normal(name) => names.push(name.as_bytes().to_vec()),
                    Component::ParentDir => drop(names.pop()),
                    Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                }
            }
            let mut node = &mut top;
            for name in names {
                node.follows = true;
                node = node.children.entry(name).or_default();
            }
            let bytes = root.as_os_str().as_bytes();
            node.is_root = true;
            node.follows |= bytes.ends_with(b"/") || bytes.ends_with(b"/.");
        }
        top
    }

    /// The paths, relative to here, of all roots here and below, in order.
    pub(super) fn roots(&self) -> Vec<Vec<u8>> {
        let mut found = if self.is_root { vec![Vec::new()] } else { Vec::new() };
        for (name, child) in &self.children {
            for below in child.roots() {
                let joined = if below.is_empty() { name.clone() } else { [&name[..], &below].join(&b'/') };
                found.push(joined);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(roots: &[&str]) -> Vec<String> {
        let tree = RootNode::new(roots, Path::new("/home/ann"));
        tree.roots().into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn roots_become_absolute_and_unique() {
        assert_eq!(merged(&["x", "./x/", "/home/ann/y/../x", "../bob"]), ["home/ann/x", "home/bob"]);
        assert_eq!(merged(&["."]), ["home/ann"]);
        assert_eq!(merged(&["/", "/../.."]), [""]);
        assert_eq!(merged(&["/b", "/a.b", "/a/c", "/a"]), ["a", "a/c", "a.b", "b"]);
    }

    #[test]
    fn only_the_way_to_a_root_is_followed() {
        let tree = RootNode::new(&["/a/b", "/c/", "/d"], Path::new("/"));
        let follows = |name: &[u8]| tree.children[name].follows;
        assert_eq!([follows(b"a"), follows(b"c"), follows(b"d")], [true, true, false]);
        assert!(!tree.children[&b"a"[..]].children[&b"b"[..]].follows);
    }
}
