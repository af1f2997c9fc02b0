//! Files that change all at once: they lie in a directory of their own that `..data` points to, and what a
//! container sees are links through it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::payload::Payload;

const DATA: &str = "..data";

/// Makes `dir` hold exactly the payload. True if anything was changed.
pub(super) fn write(dir: &Path, payload: &Payload) -> io::Result<bool> {
    let current = dir.join(DATA);
    if current.exists() && matches(&current, payload)? {
        return Ok(false);
    }
    let old = fs::read_link(&current).ok();
    let name = format!(
        "..{}",
        jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S.%9f")
    );
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        let path = fresh.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.data)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        if let Some(uid) = file.owner {
            std::os::unix::fs::chown(&path, Some(uid), None)?;
        }
    }
    let next = dir.join("..data_tmp");
    let _ = fs::remove_file(&next);
    symlink(&name, &next)?;
    fs::rename(&next, &current)?;
    link_names(dir, payload)?;
    if let Some(old) = old {
        fs::remove_dir_all(dir.join(old))?;
    }
    Ok(true)
}

fn matches(current: &Path, payload: &Payload) -> io::Result<bool> {
    let root = current.canonicalize()?;
    let mut present = BTreeSet::new();
    files_below(&root, &root, &mut present)?;
    if !present.iter().eq(payload.keys()) {
        return Ok(false);
    }
    for (path, file) in payload {
        if fs::read(root.join(path))? != file.data {
            return Ok(false);
        }
    }
    Ok(true)
}

fn files_below(root: &Path, dir: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(root, &path, found)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.insert(relative.to_owned());
        }
    }
    Ok(())
}

fn link_names(dir: &Path, payload: &Payload) -> io::Result<()> {
    let wanted: BTreeSet<_> = payload
        .keys()
        .filter_map(|path| path.components().next())
        .map(|c| c.as_os_str().to_owned())
        .collect();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let ours = name.to_string_lossy().starts_with("..");
        if !ours && !wanted.contains(&name) {
            fs::remove_file(dir.join(name))?;
        }
    }
    for name in wanted {
        let link = dir.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&name), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::payload::{File, Payload};

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, text)| {
                let file = File {
                    data: text.as_bytes().to_vec(),
                    mode: 0o640,
                    owner: None,
                };
                ((*path).into(), file)
            })
            .collect()
    }

    #[test]
    fn replaces_everything_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        assert!(super::write(dir.path(), &payload(&[("a", "1"), ("d/b", "2")])).unwrap());
        assert_eq!(read("a").as_deref(), Some("1"));
        assert_eq!(read("d/b").as_deref(), Some("2"));
        let mode = fs::metadata(dir.path().join("a"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640);

        assert!(!super::write(dir.path(), &payload(&[("a", "1"), ("d/b", "2")])).unwrap());
        assert!(super::write(dir.path(), &payload(&[("a", "new"), ("c", "3")])).unwrap());
        assert_eq!(read("a").as_deref(), Some("new"));
        assert_eq!(read("c").as_deref(), Some("3"));
        assert_eq!(read("d/b"), None);
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left.len(), 4, "{left:?}");
    }
}
