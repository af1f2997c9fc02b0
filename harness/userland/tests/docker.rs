//! Images of the catalogue in a real container engine: loaded from an archive, and run.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use trunkline_userland::{Cache, Catalogue, ImageSource, Images, RootKind, rootfs};

/// A catalogue with names that nobody else has, so that the engine's own images stay as they are.
fn catalogue(name: &str) -> Catalogue {
    let text = format!(
        "
images:
- name: small
  references: [{name}-small]
  build:
    programs: {{/agnhost: http-server}}
    config: {{entrypoint: [/agnhost], cmd: [pause], user: '65535:65535'}}
- name: agnhost
  references: [{name}-agnhost]
  build:
    root: workload
    programs: {{/agnhost: http-server}}
    config:
      entrypoint: [/agnhost]
      cmd: [pause]
      env: [PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin]
"
    );
    Catalogue::parse("test", &text).unwrap()
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn missing() -> Option<String> {
    match Command::new("docker").arg("info").output() {
        Err(error) => Some(format!("docker cannot be started: {error}")),
        Ok(output) if !output.status.success() => Some(format!(
            "docker does not answer: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Ok(_) => None,
    }
}

macro_rules! needs_docker {
    () => {
        if let Some(reason) = missing() {
            println!("skipped: {reason}");
            return;
        }
    };
}

/// An image that the engine has until this is dropped.
struct Loaded {
    reference: String,
    _directory: TempDir,
}

impl Loaded {
    fn from(archive: &Path, reference: String, directory: TempDir) -> Self {
        let told = stdout(&docker(&["load", "--input", archive.to_str().unwrap()]));
        assert!(
            told.contains(&format!("Loaded image: {reference}")),
            "{told}"
        );
        Self {
            reference,
            _directory: directory,
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        docker(&["image", "rm", "--force", &self.reference]);
    }
}

/// Builds, writes and loads an image of the test's catalogue.
async fn load(cache: Cache, which: &str) -> Loaded {
    let name = format!("trunkline.test/{}", std::process::id());
    let images = Images::new(cache, catalogue(&name), ImageSource::Build);
    let reference = format!("{name}-{which}:1");
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("image.tar");
    let bundle = images.bundle(&reference, &|_| {}).await.unwrap();
    bundle.save(&archive).unwrap();
    Loaded::from(&archive, reference, directory)
}

#[tokio::test]
async fn a_static_program_alone_is_an_image() {
    needs_docker!();
    let cache = tempfile::tempdir().unwrap();
    let loaded = load(Cache::at(cache.path()), "small").await;
    let run = [
        "run",
        "--rm",
        "--network=none",
        &loaded.reference,
        "version",
    ];
    assert_eq!(stdout(&docker(&run)), "2.53\n");
    let format = "{{.Size}} {{.Config.User}} {{.Config.Cmd}} {{.Architecture}}";
    let inspected = stdout(&docker(&[
        "image",
        "inspect",
        "--format",
        format,
        &loaded.reference,
    ]));
    let (size, rest) = inspected.trim().split_once(' ').unwrap();
    assert!(size.parse::<u64>().unwrap() < 16_000_000, "{size} bytes");
    assert!(rest.starts_with("65535:65535 [pause] "), "{rest}");
}

#[tokio::test]
async fn the_http_server_serves() {
    needs_docker!();
    let cache = Cache::locate().unwrap();
    if rootfs::find(&cache, RootKind::Workload).unwrap().is_none() {
        println!(
            "skipped: the root file system workload is not there; run `trunkline rootfs build`"
        );
        return;
    }
    let loaded = load(cache, "agnhost").await;
    let run = [
        "run",
        "--rm",
        "--detach",
        "--network=none",
        "--hostname=blue-server",
    ];
    let command = [loaded.reference.as_str(), "netexec", "--http-port=9000"];
    let container = stdout(&docker(&[run.as_slice(), command.as_slice()].concat()));
    let container = container.trim();
    // curl itself waits for the server to listen.
    let ask = "curl --silent --show-error --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:9000/hostname";
    let answered = docker(&["exec", container, "sh", "-c", ask]);
    docker(&["rm", "--force", container]);
    assert_eq!(stdout(&answered), "blue-server");

    // What root owns is root's, and what everybody may write to is everybody's.
    let look = "stat -c %u:%g:%a /tmp /usr/bin/curl && id -un";
    let run = [
        "run",
        "--rm",
        "--network=none",
        "--entrypoint=sh",
        &loaded.reference,
        "-c",
        look,
    ];
    assert_eq!(stdout(&docker(&run)), "0:0:1777\n0:0:755\nroot\n");
}
