//! Where everything is kept.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// The directory that holds root file systems, programs and images.
///
/// `$TRUNKLINE_CACHE`, else `$XDG_CACHE_HOME/trunkline`, else `~/.cache/trunkline`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache(PathBuf);

#[derive(Debug, Error)]
pub enum CacheError {
    #[error(
        "no place for the cache: neither TRUNKLINE_CACHE, XDG_CACHE_HOME nor HOME is set; set one of them"
    )]
    NoHome,
    #[error("{variable} is `{}`, which is not an absolute path; give an absolute one", .path.display())]
    Relative {
        variable: &'static str,
        path: PathBuf,
    },
    #[error("cannot create the cache directory {}", .path.display())]
    Create {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Cache {
    /// Finds and creates the user's cache directory.
    pub fn locate() -> Result<Self, CacheError> {
        let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
        let (variable, path) = if let Some(path) = set("TRUNKLINE_CACHE") {
            ("TRUNKLINE_CACHE", PathBuf::from(path))
        } else if let Some(path) = set("XDG_CACHE_HOME") {
            ("XDG_CACHE_HOME", PathBuf::from(path).join("trunkline"))
        } else if let Some(path) = set("HOME") {
            ("HOME", PathBuf::from(path).join(".cache/trunkline"))
        } else {
            return Err(CacheError::NoHome);
        };
        if path.is_relative() {
            return Err(CacheError::Relative { variable, path });
        }
        std::fs::create_dir_all(&path).map_err(|source| CacheError::Create {
            path: path.clone(),
            source,
        })?;
        Ok(Self(path))
    }

    /// The cache at a known place, such as `/cache` inside the lab. Creates nothing.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The same file seen through another mount of this cache. A path outside stays as it is.
    pub fn rebase(&self, path: &Path, onto: &Cache) -> PathBuf {
        match path.strip_prefix(&self.0) {
            Ok(inside) => onto.0.join(inside),
            Err(_) => path.to_path_buf(),
        }
    }
}
