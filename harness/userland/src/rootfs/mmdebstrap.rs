//! How mmdebstrap is called, and what its output means.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RootFsError;
use super::recipe::Recipe;

/// Where packages come from.
#[derive(Clone, Debug)]
pub struct Source {
    pub mirror: String,
    pub keyring: PathBuf,
    /// How long it may be silent before a request counts as lost.
    pub timeout: Duration,
}

const MIRROR: &str = "http://deb.debian.org/debian";
const TIMEOUT: Duration = Duration::from_secs(10);
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Source {
    /// `$TRUNKLINE_DEBIAN_MIRROR`, else Debian's own; `$TRUNKLINE_DEBIAN_TIMEOUT` in seconds, else 10.
    pub fn configured() -> Result<Self, RootFsError> {
        let mirror = std::env::var("TRUNKLINE_DEBIAN_MIRROR")
            .ok()
            .filter(|mirror| !mirror.is_empty())
            .unwrap_or_else(|| MIRROR.to_owned());
        if !mirror.starts_with("http://") && !mirror.starts_with("https://") {
            return Err(RootFsError::BadMirror(mirror));
        }
        let timeout = match std::env::var("TRUNKLINE_DEBIAN_TIMEOUT") {
            Ok(text) if !text.is_empty() => match text.parse() {
                Ok(seconds @ 1..) => Duration::from_secs(seconds),
                _ => return Err(RootFsError::BadTimeout(text)),
            },
            _ => TIMEOUT,
        };
        Ok(Self {
            mirror,
            keyring: PathBuf::from(KEYRING),
            timeout,
        })
    }

    /// Its host, for messages.
    fn host(&self) -> &str {
        self.mirror
            .split("//")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .unwrap_or(&self.mirror)
    }

    /// The error of a source that was asked and said nothing for so long.
    pub fn silent(&self, after: Duration) -> RootFsError {
        RootFsError::SourceSilent {
            host: self.host().to_owned(),
            detail: format!(
                "not a byte within {} s; TRUNKLINE_DEBIAN_TIMEOUT is how many seconds a request may take, now {}",
                after.as_secs(),
                self.timeout.as_secs()
            ),
        }
    }
}

/// The command. Packages are only unpacked: nothing in these trees is started by an init, and
/// unpacking takes a fifth of the time. They are kept in `debs`, mounted over the directory that
/// apt downloads to, so that a build that was interrupted finds what it had.
pub fn command(
    recipe: &Recipe,
    source: &Source,
    root: &Path,
    debs: &Path,
    list: &Path,
) -> Vec<OsString> {
    let timeout = source.timeout.as_secs();
    let archives = "\"$1\"/var/cache/apt/archives";
    let options = [
        "--verbose".to_owned(),
        "--mode=root".to_owned(),
        "--variant=extract".to_owned(),
        "--format=directory".to_owned(),
        // The key is named below; /proc and /sys are not needed for unpacking.
        "--skip=cleanup/apt/cache,check/signed-by,chroot/mount".to_owned(),
        format!("--include={}", recipe.packages.join(",")),
        "--aptopt=Acquire::Languages \"none\"".to_owned(),
        "--aptopt=Acquire::Retries \"2\"".to_owned(),
        format!("--aptopt=Acquire::http::Timeout \"{timeout}\""),
        format!("--aptopt=Acquire::https::Timeout \"{timeout}\""),
        "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
        // Its own user does not exist in a user namespace.
        "--aptopt=APT::Sandbox::User \"root\"".to_owned(),
        format!(
            "--setup-hook=mkdir -p {archives}/partial && mount --bind {} {archives}",
            quoted(debs)
        ),
        format!(
            "--extract-hook=printf '%s\\n' $MMDEBSTRAP_ESSENTIAL > {} && umount {archives}",
            quoted(list)
        ),
    ];
    let line = format!(
        "deb [signed-by={}] {} {} {}",
        source.keyring.display(),
        source.mirror,
        recipe.release,
        recipe.components.join(" ")
    );
    let mut argv = vec![OsString::from("mmdebstrap")];
    argv.extend(options.map(OsString::from));
    argv.extend([OsString::from(""), root.into(), OsString::from(line)]);
    argv
}

/// For a shell line.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Follows the output and knows how far it is.
#[derive(Debug, Default)]
pub struct Follow {
    /// Packages that will be downloaded, and how many were.
    packages: Option<(u32, u32)>,
    downloading: bool,
    /// Whether the source has answered anything.
    answered: bool,
}

/// How the phases share the whole, as measured.
const DOWNLOAD: std::ops::Range<f32> = 0.1..0.6;

impl Follow {
    /// Whether a line says that the first thing the source was asked for did not come. apt asks two
    /// more times, each as long; that helps against a slip, but not against silence.
    pub fn is_unanswered(&mut self, line: &str) -> bool {
        self.answered |= line.starts_with("Get:") || line.starts_with("Hit:");
        !self.answered && line.starts_with("Ign:")
    }

    /// The phase and the fraction that a line begins, if it begins one.
    pub fn line(&mut self, line: &str) -> Option<(String, f32)> {
        if line.starts_with("I: running apt-get update") {
            return Some(("reading the package lists".to_owned(), 0.0));
        }
        if line.starts_with("I: downloading packages") {
            self.downloading = true;
            return Some(("choosing packages".to_owned(), DOWNLOAD.start));
        }
        if line.starts_with("I: extracting archives") {
            self.downloading = false;
            return Some(("unpacking".to_owned(), DOWNLOAD.end));
        }
        if let Some(count) = line
            .split(" newly installed")
            .next()
            .filter(|_| line.contains(" newly installed"))
        {
            let total = count.rsplit(' ').next()?.parse().ok()?;
            self.packages = Some((0, total));
            return None;
        }
        if self.downloading && line.starts_with("Get:") {
            let (done, total) = self.packages.as_mut()?;
            *done += 1;
            let package = line.split(' ').nth(4).unwrap_or_default();
            let share = f32::from(u16::try_from(*done).ok()?)
                / f32::from(u16::try_from(*total).ok()?.max(1));
            return Some((
                format!("downloading {package} ({done} of {total})"),
                DOWNLOAD.start + (DOWNLOAD.end - DOWNLOAD.start) * share.min(1.0),
            ));
        }
        None
    }
}

/// What went wrong, from what was said last.
pub fn diagnose(
    kind: &'static str,
    recipe: &Recipe,
    source: &Source,
    cache: &Path,
    lines: &[String],
    log: &Path,
) -> RootFsError {
    let find = |needles: &[&str]| {
        lines
            .iter()
            .find(|line| needles.iter().any(|needle| line.contains(needle)))
            .map(|line| {
                line.trim_start_matches(['E', 'W', 'I', ':', ' '])
                    .trim()
                    .to_owned()
            })
    };
    if find(&[
        "No space left on device",
        "don't have enough free space",
        "You don't have enough",
    ])
    .is_some()
    {
        return RootFsError::DiskFull(cache.to_path_buf());
    }
    if let Some(detail) = find(&[
        "NO_PUBKEY",
        "is not signed",
        "Missing key",
        "verification failed",
        "could not be verified",
        "couldn't be verified",
    ]) {
        return RootFsError::KeyringTooOld {
            keyring: source.keyring.clone(),
            release: recipe.release.clone(),
            mirror: source.mirror.clone(),
            detail,
        };
    }
    if let Some(detail) = find(&[
        "Could not resolve",
        "Temporary failure resolving",
        "Something wicked happened resolving",
        "Could not connect",
        "Cannot initiate the connection",
        "Unable to connect",
        "Connection timed out",
        "connection timed out",
        "Connection failed",
        "Could not handshake",
        "Connection refused",
        "Error reading from server",
        "Undetermined Error",
    ]) {
        let host = source.host().to_owned();
        return RootFsError::SourceSilent { host, detail };
    }
    if let Some(detail) = find(&[
        "404  Not Found",
        "does not have a Release file",
        "Unable to locate package",
        "Hash Sum mismatch",
        "File has unexpected size",
    ]) {
        return RootFsError::SourceIncomplete {
            mirror: source.mirror.clone(),
            detail,
        };
    }
    let detail = find(&["E: "])
        .or_else(|| lines.last().cloned())
        .unwrap_or_else(|| "mmdebstrap said nothing".to_owned());
    RootFsError::Failed {
        kind,
        detail,
        log: log.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::rootfs::RootKind;

    fn diagnosed(line: &str) -> RootFsError {
        let (recipe, _) = RootKind::Lab.recipe().unwrap();
        let source = Source {
            mirror: "http://mirror.test/debian".to_owned(),
            keyring: PathBuf::from(KEYRING),
            timeout: TIMEOUT,
        };
        let lines = ["I: running apt-get update...".to_owned(), line.to_owned()];
        diagnose(
            "lab",
            &recipe,
            &source,
            Path::new("/c"),
            &lines,
            Path::new("/c/log"),
        )
    }

    #[rstest]
    #[case(
        "Err:1 http://mirror.test trixie InRelease  Temporary failure resolving 'mirror.test'",
        "mirror.test does not answer"
    )]
    #[case(
        "  Could not connect to mirror.test:80 (192.0.2.1), connection timed out",
        "TRUNKLINE_DEBIAN_MIRROR"
    )]
    #[case(
        "W: GPG error: http://mirror.test trixie InRelease: NO_PUBKEY 6ED0E7B82643E131",
        "debian-archive-keyring"
    )]
    #[case(
        "E: The repository 'http://mirror.test trixie Release' does not have a Release file.",
        "lacks something"
    )]
    #[case("tar: ./usr: Cannot write: No space left on device", "is full")]
    #[case(
        "E: something else",
        "something else; everything that was said is in /c/log"
    )]
    fn what_apt_says_becomes_what_to_do(#[case] line: &str, #[case] expected: &str) {
        let message = diagnosed(line).to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn only_the_first_answer_is_waited_for_once() {
        let ignored = "Ign:1 http://mirror.test/debian trixie InRelease";
        let answer = "Get:1 http://mirror.test/debian trixie InRelease [140 kB]";
        let mut follow = Follow::default();
        assert!(!follow.is_unanswered("I: running apt-get update..."));
        assert!(follow.is_unanswered(ignored));
        assert!(!follow.is_unanswered(answer));
        assert!(!follow.is_unanswered(ignored));
    }

    #[test]
    fn progress_grows() {
        let mut follow = Follow::default();
        let lines = [
            "I: running apt-get update...",
            "Get:1 http://deb.debian.org/debian trixie InRelease [140 kB]",
            "I: downloading packages with apt...",
            "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.",
            "Get:1 http://deb.debian.org/debian trixie/main amd64 gcc-14-base amd64 14.2.0-19 [49.4 kB]",
            "Get:2 http://deb.debian.org/debian trixie/main amd64 libgcc-s1 amd64 14.2.0-19 [72.8 kB]",
            "I: extracting archives...",
        ];
        let steps: Vec<_> = lines.iter().filter_map(|line| follow.line(line)).collect();
        let phases: Vec<_> = steps.iter().map(|(phase, _)| phase.as_str()).collect();
        assert_eq!(
            phases,
            [
                "reading the package lists",
                "choosing packages",
                "downloading gcc-14-base (1 of 2)",
                "downloading libgcc-s1 (2 of 2)",
                "unpacking"
            ]
        );
        assert!(steps.is_sorted_by(|a, b| a.1 <= b.1), "{steps:?}");
    }
}
