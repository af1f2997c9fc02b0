//! Why an archive gives no image.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error(
        "image {reference} is not in {}, which has {}; put an archive of it there (`docker save {reference} -o {}/NAME.tar`, or `trunkline images build {reference} --out {}` where the catalogue has a recipe), or let it be built with --images build or pulled with --images pull",
        .directory.display(), listed(.names), .directory.display(), .directory.display()
    )]
    Missing {
        reference: String,
        directory: PathBuf,
        names: Vec<String>,
    },
    #[error(
        "image {reference} in {} has no variant for {wanted}; it has {offered}", .file.display()
    )]
    Platform {
        file: PathBuf,
        reference: String,
        wanted: String,
        offered: String,
    },
    #[error(
        "{} is damaged: {what} should have digest {expected} and has {actual}; save the image again", .file.display()
    )]
    Digest {
        file: PathBuf,
        what: String,
        expected: String,
        actual: String,
    },
    #[error("{} is damaged: {detail}; save the image again", .file.display())]
    Damaged { file: PathBuf, detail: String },
    #[error(
        "{} holds no image: it has neither index.json (OCI layout) nor manifest.json (docker archive)", .0.display()
    )]
    NotAnImage(PathBuf),
    #[error(
        "{} and {} both hold an image {reference}, and not the same; remove one of them", .first.display(), .second.display()
    )]
    Ambiguous {
        reference: String,
        first: PathBuf,
        second: PathBuf,
    },
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl ArchiveError {
    pub(super) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no image at all".to_owned(),
        names => names.join(", "),
    }
}
