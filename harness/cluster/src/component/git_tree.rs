//! The id that git gives a directory, computed from its files: a checksum of content, whatever the archive around it.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

/// A file as git sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blob {
    File { executable: bool, bytes: Vec<u8> },
    Link { target: String },
}

#[derive(Default)]
struct Tree {
    blobs: BTreeMap<String, (&'static str, [u8; 20])>,
    trees: BTreeMap<String, Tree>,
}

/// The tree id of these files; paths are relative and use `/`.
pub(super) fn id(files: &BTreeMap<String, Blob>) -> String {
    let mut root = Tree::default();
    for (path, blob) in files {
        let mut tree = &mut root;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                tree = tree.trees.entry(part.to_owned()).or_default();
            } else {
                tree.blobs.insert(part.to_owned(), entry(blob));
            }
        }
    }
    hex::encode(root.id())
}

fn entry(blob: &Blob) -> (&'static str, [u8; 20]) {
    match blob {
        Blob::File { executable, bytes } => (
            if *executable { "100755" } else { "100644" },
            object("blob", bytes),
        ),
        Blob::Link { target } => ("120000", object("blob", target.as_bytes())),
    }
}

fn object(kind: &str, bytes: &[u8]) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().into()
}

impl Tree {
    fn id(&self) -> [u8; 20] {
        // git sorts a directory as if its name ended in a slash.
        let mut entries: Vec<(String, &str, &str, [u8; 20])> = Vec::new();
        for (name, (mode, id)) in &self.blobs {
            entries.push((name.clone(), *mode, name, *id));
        }
        for (name, tree) in &self.trees {
            entries.push((format!("{name}/"), "40000", name, tree.id()));
        }
        entries.sort();
        let mut bytes = Vec::new();
        for (_, mode, name, id) in entries {
            bytes.extend(format!("{mode} {name}\0").as_bytes());
            bytes.extend(id);
        }
        object("tree", &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Blob {
        Blob::File {
            executable: false,
            bytes: text.into(),
        }
    }

    // What `git write-tree` said of these files.
    #[test]
    fn the_ids_are_gits() {
        let files = BTreeMap::from([
            ("a.txt".to_owned(), file("one\n")),
            (
                "a/b.sh".to_owned(),
                Blob::File {
                    executable: true,
                    bytes: b"two\n".to_vec(),
                },
            ),
            (
                "a/link".to_owned(),
                Blob::Link {
                    target: "b.sh".into(),
                },
            ),
            ("a0".to_owned(), file("")),
        ]);
        assert_eq!(id(&files), GIT_SAYS);
    }

    const GIT_SAYS: &str = "38e2a2243b4f5afaf1220cd2f5333198da6417e9";
}
