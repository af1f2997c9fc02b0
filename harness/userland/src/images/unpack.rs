//! Layers into one directory, through the helper that does it inside a chroot.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::ImageError;
use super::content::Content;
use super::store::Unpacked;
use crate::cache::Cache;
use crate::contain::{Contained, Identity, Stop};
use crate::programs;

/// Applies layers, bottom first, each with the digest of its uncompressed form, and
/// gives the result its name.
pub async fn image(
    cache: &Cache,
    place: &Path,
    reference: &str,
    layers: Vec<(Content, String)>,
    unpacked: &Unpacked,
) -> Result<(), ImageError> {
    let work = Work {
        helper: programs::install(cache)?.unpack,
        place: place.to_path_buf(),
        reference: reference.to_owned(),
        layers,
        unpacked: unpacked.clone(),
        stop: Stop::default(),
    };
    let _cancel = work.stop.on_drop();
    let (done, result) = oneshot::channel();
    // A thread of its own, because the kernel ends what it starts together with it.
    thread::spawn(move || drop(done.send(work.run())));
    result.await.unwrap_or_else(|_| {
        Err(ImageError::Unpack {
            reference: reference.to_owned(),
            detail: "the thread that did it is gone".to_owned(),
        })
    })
}

struct Work {
    helper: PathBuf,
    place: PathBuf,
    reference: String,
    layers: Vec<(Content, String)>,
    unpacked: Unpacked,
    stop: Stop,
}

impl Work {
    fn run(&self) -> Result<(), ImageError> {
        let identity = Identity::current()?;
        let unfinished = self.place.with_extension("unpacking");
        self.remove(&identity, &unfinished)?;
        let root = unfinished.join("root");
        fs::create_dir_all(&root).map_err(ImageError::io("create", &root))?;
        let filled = self
            .layers
            .iter()
            .try_for_each(|(content, diff_id)| self.apply(&identity, &root, content, diff_id));
        if let Err(error) = filled {
            // The error is what matters; the next attempt removes what this leaves.
            let _left = self.remove(&identity, &unfinished);
            return Err(error);
        }
        self.unpacked.write(&unfinished)?;
        self.remove(&identity, &self.place)?;
        fs::rename(&unfinished, &self.place).map_err(ImageError::io("rename", &unfinished))
    }

    fn apply(
        &self,
        identity: &Identity,
        root: &Path,
        content: &Content,
        diff_id: &str,
    ) -> Result<(), ImageError> {
        let argv: Vec<OsString> = vec![self.helper.clone().into(), root.into()];
        let mut helper = Contained::start(identity, &argv, &[], &self.stop)?;
        let mut tar = content
            .decompressed()
            .map_err(ImageError::io("read", content.place()))?;
        let copied = match helper.stdin.take() {
            Some(stdin) => copy(&mut tar, stdin),
            None => Err(io::Error::other("the helper has no input")),
        };
        let mut said = String::new();
        if let Some(mut stderr) = helper.stderr.take() {
            stderr
                .read_to_string(&mut said)
                .map_err(ImageError::io("read the output of", &self.helper))?;
        }
        let status = helper
            .wait()
            .map_err(ImageError::io("wait for", &self.helper))?;
        if !status.success() {
            if said.contains("No space left on device") {
                return Err(ImageError::DiskFull(root.to_path_buf()));
            }
            return Err(self.unpack_error(said.trim().to_owned()));
        }
        let actual = copied.map_err(|error| {
            self.unpack_error(format!("a layer cannot be decompressed: {error}"))
        })?;
        if actual != diff_id {
            return Err(ImageError::Damaged {
                reference: self.reference.clone(),
                detail: format!(
                    "a layer unpacks to {actual}, and its configuration says {diff_id}"
                ),
            });
        }
        Ok(())
    }

    fn unpack_error(&self, detail: String) -> ImageError {
        ImageError::Unpack {
            reference: self.reference.clone(),
            detail,
        }
    }

    /// As root of the namespace: not every file is ours.
    fn remove(&self, identity: &Identity, path: &Path) -> Result<(), ImageError> {
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let argv = ["rm".into(), "-rf".into(), "--".into(), path.into()];
        let (status, output) = crate::contain::run(identity, &argv, &self.stop)?;
        if status.success() {
            return Ok(());
        }
        Err(ImageError::io("remove", path)(io::Error::other(output)))
    }
}

/// Copies everything and returns its digest. A helper that ends early has said why itself.
fn copy(from: &mut dyn Read, mut to: impl Write) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = match from.read(&mut buffer)? {
            0 => break,
            read => read,
        };
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
    Ok(format!("sha256:{}", hex::encode(hash.finalize())))
}
