//! Gets the files that components are installed from: out of the cache, out of an air gap's directory, or off the net.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Component as PathPart, Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Checksum, Source,
    git_tree::{self, Blob},
};

/// Where sources are looked for, in this order.
#[derive(Clone, Debug)]
pub struct Sources {
    cache: PathBuf,
    /// The directory given with `--images`: files by their names. When it is given, nothing is downloaded.
    directory: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "{name} is not in {}, and with --images nothing is downloaded; put it there, it comes from {url}", .directory.display()
    )]
    NotInDirectory {
        name: String,
        directory: PathBuf,
        url: String,
    },
    #[error(
        "cannot download {url}; a machine without a network takes it from the directory given with --images"
    )]
    Download {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error(
        "{what} is not what it should be: expected {expected}, got {actual}; it was altered on the way, or the release was replaced"
    )]
    Checksum {
        what: String,
        expected: String,
        actual: String,
    },
    #[error("{what} is no archive that can be read: {why}")]
    Archive { what: String, why: String },
    #[error("cannot {what} {}", .path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Sources {
    pub fn new(cache: &Path, directory: Option<&Path>) -> Self {
        Self {
            cache: cache.join("platform"),
            directory: directory.map(Path::to_owned),
        }
    }

    /// The text of a source, checked, with its replacements made.
    pub async fn text(&self, source: &Source) -> Result<String, SourceError> {
        let path = self.path(source).await?;
        let mut text = std::fs::read_to_string(&path).map_err(|error| SourceError::File {
            what: "read",
            path,
            source: error,
        })?;
        for (from, to) in &source.replace {
            text = text.replace(from, to);
        }
        Ok(text)
    }

    /// The file or the unpacked directory, checked.
    pub async fn path(&self, source: &Source) -> Result<PathBuf, SourceError> {
        let place = self.place(source);
        if let Checksum::GitTree(_) = source.checksum {
            // Unpacked under its checked id only once it was whole.
            if !place.is_dir() {
                let bytes = self.get(source).await?;
                unpack(source, &bytes, &place)?;
            }
            return Ok(place.join(source.directory.as_deref().unwrap_or("")));
        }
        if let Ok(bytes) = std::fs::read(&place)
            && check(source, &bytes, first_seen(&place).as_deref()).is_ok()
        {
            return Ok(place);
        }
        let bytes = self.get(source).await?;
        check(source, &bytes, first_seen(&place).as_deref())?;
        write_whole(&place, &bytes)?;
        if matches!(source.checksum, Checksum::FirstDownload(_)) {
            write_whole(&beside(&place), sha256(&bytes).as_bytes())?;
        }
        Ok(place)
    }

    fn place(&self, source: &Source) -> PathBuf {
        match &source.checksum {
            Checksum::Sha256(sum) => self.cache.join(sum).join(&source.name),
            Checksum::GitTree(id) => self.cache.join(id),
            Checksum::FirstDownload(_) => {
                let url = sha256(source.url.as_bytes());
                self.cache.join(&url[..16]).join(&source.name)
            }
        }
    }

    async fn get(&self, source: &Source) -> Result<Vec<u8>, SourceError> {
        if let Some(directory) = &self.directory {
            return std::fs::read(directory.join(&source.name)).map_err(|_| {
                SourceError::NotInDirectory {
                    name: source.name.clone(),
                    directory: directory.clone(),
                    url: source.url.clone(),
                }
            });
        }
        let failed = |error| SourceError::Download {
            url: source.url.clone(),
            source: error,
        };
        // Someone may have chosen a provider already, and then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = reqwest::get(&source.url)
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?;
        Ok(answer.bytes().await.map_err(failed)?.to_vec())
    }
}

fn beside(place: &Path) -> PathBuf {
    suffixed(place, ".sha256")
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn first_seen(place: &Path) -> Option<String> {
    std::fs::read_to_string(beside(place)).ok()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn check(source: &Source, bytes: &[u8], first_seen: Option<&str>) -> Result<(), SourceError> {
    let expected = match &source.checksum {
        Checksum::Sha256(sum) => sum.as_str(),
        Checksum::FirstDownload(_) => match first_seen {
            Some(sum) => sum,
            None => return Ok(()),
        },
        Checksum::GitTree(_) => return Ok(()),
    };
    let actual = sha256(bytes);
    if actual == expected {
        return Ok(());
    }
    Err(SourceError::Checksum {
        what: source.name.clone(),
        expected: format!("sha256:{expected}"),
        actual: format!("sha256:{actual}"),
    })
}

/// The directories that are taken out of an archive, with the ids that they must have.
fn wanted(source: &Source) -> Vec<(&str, &str)> {
    let beside = source
        .beside
        .iter()
        .map(|(directory, id)| (directory.as_str(), id.as_str()));
    let main = match &source.checksum {
        Checksum::GitTree(id) => Some((source.directory.as_deref().unwrap_or(""), id.as_str())),
        Checksum::Sha256(_) | Checksum::FirstDownload(_) => None,
    };
    main.into_iter().chain(beside).collect()
}

/// Takes the wanted directories out of a `.tar.gz`, checks them, and puts them in their place at once.
fn unpack(source: &Source, bytes: &[u8], place: &Path) -> Result<(), SourceError> {
    let wanted = wanted(source);
    let mut trees: Vec<BTreeMap<String, Blob>> = vec![BTreeMap::new(); wanted.len()];
    read_archive(bytes, |path, blob| {
        for ((directory, _), files) in wanted.iter().zip(&mut trees) {
            if let Ok(inner) = path.strip_prefix(directory)
                && let Some(name) = plain(inner)
            {
                files.insert(name, blob.clone());
            }
        }
    })
    .map_err(|error| SourceError::Archive {
        what: source.name.clone(),
        why: error.to_string(),
    })?;
    for ((directory, expected), files) in wanted.iter().zip(&trees) {
        let actual = git_tree::id(files);
        if actual != *expected {
            return Err(SourceError::Checksum {
                what: format!("{directory} in {}", source.name),
                expected: format!("git tree {expected}"),
                actual: format!("git tree {actual}"),
            });
        }
    }
    let in_the_way = |error| SourceError::File {
        what: "write",
        path: place.to_owned(),
        source: error,
    };
    let fresh = suffixed(place, &format!(".new-{}", std::process::id()));
    for ((directory, _), files) in wanted.iter().zip(&trees) {
        write_tree(&fresh.join(directory), files).map_err(in_the_way)?;
    }
    match std::fs::rename(&fresh, place) {
        Ok(()) => Ok(()),
        // Another process was faster with the same content.
        Err(_) if place.is_dir() => std::fs::remove_dir_all(&fresh).map_err(in_the_way),
        Err(error) => Err(in_the_way(error)),
    }
}

/// A relative path without detours, as text.
fn plain(path: &Path) -> Option<String> {
    let normal = path
        .components()
        .all(|part| matches!(part, PathPart::Normal(_)));
    path.to_str()
        .filter(|name| normal && !name.is_empty())
        .map(str::to_owned)
}

/// Gives every file and link, without the archive's first directory, which is the name and version of the whole.
fn read_archive(bytes: &[u8], mut each: impl FnMut(&Path, &Blob)) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path: PathBuf = entry.path()?.components().skip(1).collect();
        let blob = match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let executable = entry.header().mode()? & 0o111 != 0;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                Blob::File { executable, bytes }
            }
            tar::EntryType::Symlink => Blob::Link {
                target: entry
                    .link_name()?
                    .map(|target| target.to_string_lossy().into_owned())
                    .unwrap_or_default(),
            },
            _ => continue,
        };
        each(&path, &blob);
    }
    Ok(())
}

fn write_tree(directory: &Path, files: &BTreeMap<String, Blob>) -> std::io::Result<()> {
    for (name, blob) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(directory))?;
        match blob {
            Blob::File { bytes, .. } => std::fs::write(&path, bytes)?,
            Blob::Link { target } => std::os::unix::fs::symlink(target, &path)?,
        }
    }
    Ok(())
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    let failed = |source| SourceError::File {
        what: "write",
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    let fresh = suffixed(path, &format!(".new-{}", std::process::id()));
    std::fs::write(&fresh, bytes).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(checksum: Checksum) -> Source {
        Source {
            name: "it.yaml".into(),
            url: "http://127.0.0.1:9/it.yaml".into(),
            checksum,
            directory: None,
            beside: BTreeMap::new(),
            replace: BTreeMap::from([("moving".into(), "v1".into())]),
        }
    }

    #[tokio::test]
    async fn a_file_of_the_directory_is_checked_and_kept() {
        let cache = tempfile::tempdir().unwrap();
        let gap = tempfile::tempdir().unwrap();
        std::fs::write(gap.path().join("it.yaml"), "image: moving\n").unwrap();
        let sources = Sources::new(cache.path(), Some(gap.path()));
        let good = source(Checksum::Sha256(sha256(b"image: moving\n")));
        assert_eq!(sources.text(&good).await.unwrap(), "image: v1\n");
        // From the cache from now on, also without the directory.
        let alone = Sources::new(cache.path(), None);
        assert_eq!(alone.text(&good).await.unwrap(), "image: v1\n");
        let wrong = source(Checksum::Sha256("00".repeat(32)));
        let refusal = sources.text(&wrong).await.unwrap_err().to_string();
        assert!(
            refusal.starts_with("it.yaml is not what it should be: expected sha256:00"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn the_first_download_is_what_counts_from_then_on() {
        let cache = tempfile::tempdir().unwrap();
        let gap = tempfile::tempdir().unwrap();
        let file = gap.path().join("it.yaml");
        std::fs::write(&file, "first\n").unwrap();
        let sources = Sources::new(cache.path(), Some(gap.path()));
        let unpinned = source(Checksum::FirstDownload("nobody says".into()));
        let kept = sources.path(&unpinned).await.unwrap();
        std::fs::write(&file, "second\n").unwrap();
        assert_eq!(sources.text(&unpinned).await.unwrap(), "first\n");
        // The file is gone, the sum is not.
        std::fs::remove_file(kept).unwrap();
        let refusal = sources.text(&unpinned).await.unwrap_err();
        assert!(matches!(refusal, SourceError::Checksum { .. }), "{refusal}");
    }

    #[tokio::test]
    async fn what_is_nowhere_says_where_it_comes_from() {
        let cache = tempfile::tempdir().unwrap();
        let gap = tempfile::tempdir().unwrap();
        let it = source(Checksum::Sha256("00".repeat(32)));
        let refusal = Sources::new(cache.path(), Some(gap.path()))
            .text(&it)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains("it comes from http://127.0.0.1:9/it.yaml"),
            "{refusal}"
        );
        let refusal = Sources::new(cache.path(), None)
            .text(&it)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refusal.starts_with("cannot download http://127.0.0.1:9/it.yaml"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn an_archive_is_held_against_gits_id() {
        let cache = tempfile::tempdir().unwrap();
        let gap = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (path, text) in [
            ("p-1/chart/a.txt", "one\n"),
            ("p-1/more/b.txt", "two\n"),
            ("p-1/other", "x"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "p-1/chart/link", "../more/b.txt")
            .unwrap();
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        std::fs::write(gap.path().join("it.yaml"), bytes).unwrap();
        let sources = Sources::new(cache.path(), Some(gap.path()));
        let file = |text: &str| Blob::File {
            executable: false,
            bytes: text.into(),
        };
        let link = Blob::Link {
            target: "../more/b.txt".into(),
        };
        let files = BTreeMap::from([
            ("a.txt".to_owned(), file("one\n")),
            ("link".to_owned(), link),
        ]);
        let more = BTreeMap::from([("b.txt".to_owned(), file("two\n"))]);
        let mut chart = source(Checksum::GitTree(git_tree::id(&files)));
        chart.directory = Some("chart".into());
        chart.beside = BTreeMap::from([("more".to_owned(), git_tree::id(&more))]);
        let path = sources.path(&chart).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(path.join("a.txt")).unwrap(),
            "one\n"
        );
        assert_eq!(
            std::fs::read_to_string(path.join("link")).unwrap(),
            "two\n",
            "what links lead to is there"
        );
        assert!(!path.join("../other").exists());
        let fresh = tempfile::tempdir().unwrap();
        chart.beside = BTreeMap::from([("more".to_owned(), "0".repeat(40))]);
        let refusal = Sources::new(fresh.path(), Some(gap.path()))
            .path(&chart)
            .await
            .unwrap_err();
        assert!(refusal.to_string().contains("more in it.yaml"), "{refusal}");
        chart.checksum = Checksum::GitTree("0".repeat(40));
        let refusal = sources.path(&chart).await.unwrap_err();
        assert!(matches!(refusal, SourceError::Checksum { .. }), "{refusal}");
    }
}
