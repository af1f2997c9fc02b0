//! Files that the configuration brings.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::journal::Journal;
use super::value::{flag, text, text_of};
use crate::account::Accounts;

const MODULE: &str = "cc_write_files";

/// One entry of `write_files`, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    pub path: PathBuf,
    pub content: Vec<u8>,
    pub owner: String,
    pub mode: u32,
    pub append: bool,
    pub defer: bool,
}

/// The entries that can be used. What is wrong with the others is a warning each, or, where
/// cloud-init gives up, the error.
pub fn parse(entries: &[&Value], journal: &mut Journal) -> Result<Vec<NewFile>, String> {
    let mut files = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        let Some(path) = text_of(entry, "path").filter(|path| !path.is_empty()) else {
            journal.warn(
                MODULE,
                format!("No path provided to write for entry {number} in module write_files"),
            );
            continue;
        };
        if entry
            .get("source")
            .and_then(|source| source.get("uri"))
            .is_some()
        {
            journal.warn(
                MODULE,
                format!("Failed to retrieve contents from source of {path}: this guest fetches no files; falling back to data from \"contents\" key"),
            );
            if entry.get("content").is_none() {
                continue;
            }
        }
        let content = entry.get("content").and_then(text).unwrap_or_default();
        let encoding = text_of(entry, "encoding").unwrap_or_default();
        files.push(NewFile {
            content: decode(&content, &encoding, journal)
                .map_err(|error| format!("cannot decode the content of {path}: {error}"))?,
            path: absolute(&path),
            owner: text_of(entry, "owner").unwrap_or_else(|| "root:root".to_owned()),
            mode: permissions(entry.get("permissions"), journal),
            append: flag(entry, "append", false),
            defer: flag(entry, "defer", false),
        });
    }
    Ok(files)
}

fn absolute(path: &str) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                absolute.pop();
            }
            Component::Normal(name) => absolute.push(name),
            _ => {}
        }
    }
    absolute
}

fn decode(content: &str, encoding: &str, journal: &mut Journal) -> Result<Vec<u8>, String> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "text/plain" => Ok(content.as_bytes().to_vec()),
        "b64" | "base64" => base64(content),
        "gz+base64" | "gzip+base64" | "gz+b64" | "gzip+b64" => gunzip(&base64(content)?),
        "gz" | "gzip" => gunzip(content.as_bytes()),
        unknown => {
            journal.warn(
                MODULE,
                format!("Unknown encoding type {unknown}, assuming text/plain"),
            );
            Ok(content.as_bytes().to_vec())
        }
    }
}

fn base64(content: &str) -> Result<Vec<u8>, String> {
    let compact: String = content.split_whitespace().collect();
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config)
        .decode(compact)
        .map_err(|error| error.to_string())
}

fn gunzip(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(data)
        .read_to_end(&mut plain)
        .map_err(|error| error.to_string())?;
    Ok(plain)
}

fn permissions(value: Option<&Value>, journal: &mut Journal) -> u32 {
    const DEFAULT: u32 = 0o644;
    let decoded = match value {
        None | Some(Value::Null) => return DEFAULT,
        Some(Value::Number(number)) => number.as_u64().and_then(|mode| u32::try_from(mode).ok()),
        Some(Value::String(text)) => {
            let digits = text.trim().trim_start_matches("0o");
            u32::from_str_radix(digits, 8).ok()
        }
        Some(_) => None,
    };
    decoded.filter(|mode| *mode <= 0o7777).unwrap_or_else(|| {
        journal.warn(
            MODULE,
            format!(
                "Undecodable permissions {}, returning default 644",
                value.unwrap_or(&Value::Null)
            ),
        );
        DEFAULT
    })
}

/// Writes one of them.
pub fn write(file: &NewFile, accounts: &Accounts) -> Result<(), String> {
    let named = |error: io::Error| format!("cannot write {}: {error}", file.path.display());
    if let Some(directory) = file.path.parent() {
        fs::create_dir_all(directory).map_err(named)?;
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .append(file.append)
        .truncate(!file.append)
        .open(&file.path)
        .and_then(|mut open| open.write_all(&file.content))
        .map_err(named)?;
    let (user, group) = owner(&file.owner, accounts)?;
    std::os::unix::fs::chown(&file.path, user, group).map_err(named)?;
    // After the change of owner, which clears some of the bits.
    fs::set_permissions(&file.path, fs::Permissions::from_mode(file.mode)).map_err(named)
}

fn owner(owner: &str, accounts: &Accounts) -> Result<(Option<u32>, Option<u32>), String> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
    let user_id = match user.trim() {
        "" | "-1" | "None" => None,
        name => Some(
            accounts
                .user(name)
                .map(|user| user.uid)
                .or_else(|| name.parse().ok())
                .ok_or_else(|| {
                    format!("Unknown user or group: 'getpwnam(): name not found: {name}'")
                })?,
        ),
    };
    let group_id = match group.trim() {
        "" | "-1" | "None" => None,
        name => Some(
            accounts
                .group_id(name)
                .or_else(|| name.parse().ok())
                .ok_or_else(|| {
                    format!("Unknown user or group: 'getgrnam(): name not found: {name}'")
                })?,
        ),
    };
    Ok((user_id, group_id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(entries: &Value) -> (Result<Vec<NewFile>, String>, Vec<String>) {
        let mut journal = Journal::default();
        let entries: Vec<&Value> = entries.as_array().unwrap().iter().collect();
        let files = parse(&entries, &mut journal);
        let warnings = journal.warnings.into_iter().map(|warning| warning.text);
        (files, warnings.collect())
    }

    #[test]
    fn files_in_every_encoding() {
        let gz = "H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==";
        let (files, warnings) = parsed(&json!([
            {"path": "/etc/a", "content": "hello"},
            {"path": "etc/../b", "content": "aGVs\nbG8", "encoding": "b64", "permissions": "0755", "append": true},
            {"path": "/c", "content": gz, "encoding": "gz+b64", "permissions": 384, "owner": "fedora"},
            {"path": "/d", "defer": "yes", "permissions": "0o600"},
            {"path": "/e", "content": "hello", "encoding": "rot13", "permissions": "rwx"},
        ]));
        let files = files.unwrap();
        let modes: Vec<u32> = files.iter().map(|file| file.mode).collect();
        assert_eq!(modes, [0o644, 0o755, 0o600, 0o600, 0o644]);
        assert_eq!(files[0].owner, "root:root");
        assert_eq!(files[1].path, Path::new("/b"));
        assert!(files[1].append && files[3].defer);
        for (number, content) in [
            (0, "hello"),
            (1, "hello"),
            (2, "hello"),
            (3, ""),
            (4, "hello"),
        ] {
            assert_eq!(files[number].content, content.as_bytes(), "{number}");
        }
        assert_eq!(
            warnings,
            [
                "Unknown encoding type rot13, assuming text/plain",
                "Undecodable permissions \"rwx\", returning default 644"
            ]
        );
    }

    #[test]
    fn files_that_cannot_be() {
        let (files, warnings) = parsed(&json!([
            {"content": "x"}, 7, {"path": "/a", "source": {"uri": "http://x/"}}
        ]));
        assert_eq!(files.unwrap(), []);
        assert_eq!(warnings.len(), 3);
        let (files, _) = parsed(&json!([{"path": "/a", "encoding": "b64", "content": "%%%"}]));
        assert!(files.unwrap_err().contains("/a"));
        let (files, _) = parsed(&json!([{"path": "/a", "encoding": "gzip", "content": "no"}]));
        assert!(files.unwrap_err().contains("/a"));
    }

    #[test]
    fn owners() {
        let accounts = Accounts::parse("root:x:0:0::/root:/bin/sh\n", "adm:x:4:\n", "");
        assert_eq!(owner("root:adm", &accounts), Ok((Some(0), Some(4))));
        assert_eq!(owner("1000", &accounts), Ok((Some(1000), None)));
        assert!(
            owner("nobody:adm", &accounts)
                .unwrap_err()
                .contains("nobody")
        );
        assert!(owner("root:none", &accounts).unwrap_err().contains("none"));
    }
}
