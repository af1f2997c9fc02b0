//! Where images come from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where images come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageSource {
    /// From the catalogue's own recipes, without any network.
    #[default]
    Build,
    /// From their registries.
    Pull,
    /// From the archives of a directory.
    Directory(PathBuf),
}

#[derive(Debug, Error)]
pub enum ImageSourceError {
    #[error(
        "`{0}` is neither build, pull nor a directory; give one of the words, or a directory of image archives"
    )]
    Unknown(String),
    #[error("cannot tell where {} lies: {source}", .path.display())]
    Place {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl FromStr for ImageSource {
    type Err = ImageSourceError;

    /// `build`, `pull`, or the path of a directory (`./build` for one with such a name).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "build" => Ok(Self::Build),
            "pull" => Ok(Self::Pull),
            _ => {
                let path = PathBuf::from(text);
                if !path.is_dir() {
                    return Err(ImageSourceError::Unknown(text.to_owned()));
                }
                // Whoever uses it may stand elsewhere.
                std::path::absolute(&path)
                    .map(Self::Directory)
                    .map_err(|source| ImageSourceError::Place { path, source })
            }
        }
    }
}

/// As it can be typed.
impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build => f.write_str("build"),
            Self::Pull => f.write_str("pull"),
            Self::Directory(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_directories_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().to_str().unwrap();
        assert_eq!("build".parse::<ImageSource>().unwrap(), ImageSource::Build);
        assert_eq!("pull".parse::<ImageSource>().unwrap(), ImageSource::Pull);
        let parsed = text.parse::<ImageSource>().unwrap();
        assert_eq!(
            parsed,
            ImageSource::Directory(directory.path().to_path_buf())
        );
        assert_eq!(parsed.to_string(), text);
        let message = format!("{text}/nosuch")
            .parse::<ImageSource>()
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("neither build, pull nor a directory"),
            "{message}"
        );
        let relative = ".".parse::<ImageSource>().unwrap();
        assert!(matches!(relative, ImageSource::Directory(path) if path.is_absolute()));
    }
}
