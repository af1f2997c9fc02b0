//! Images from a registry of our own, and from recipes.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;
use support::{Layer, Registry, digest, gzip};
use tar::EntryType;
use tempfile::TempDir;
use trunkline_userland::contain::Identity;
use trunkline_userland::{Cache, Catalogue, Image, ImageError, ImageSource, Images};

struct Bench {
    cache: TempDir,
    registry: Registry,
}

async fn bench() -> Bench {
    let cache = tempfile::tempdir().unwrap();
    Bench {
        cache,
        registry: Registry::start().await,
    }
}

impl Bench {
    fn images(&self, source: ImageSource) -> Images {
        let cache = Cache::at(self.cache.path());
        Images::new(cache, Catalogue::embedded().unwrap(), source)
    }

    async fn pull(&self, name: &str) -> Result<Image, ImageError> {
        let reference = self.registry.reference(name);
        self.images(ImageSource::Pull)
            .resolve(&reference, &|_| {})
            .await
    }

    /// The message of a failed pull; nothing may be left that looks like an image.
    async fn failure(&self, name: &str) -> String {
        let message = self.pull(name).await.unwrap_err().to_string();
        let pulled = self.cache.path().join("images/pulled");
        let left = fs::read_dir(pulled).map_or(0, Iterator::count);
        assert_eq!(left, 0, "left behind after: {message}");
        message
    }
}

/// Unpacking changes its root and owners, for which an ordinary user needs a namespace.
fn cannot_unpack() -> Option<String> {
    match Identity::current() {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

macro_rules! needs_unpacking {
    () => {
        if let Some(reason) = cannot_unpack() {
            println!("skipped: {reason}");
            return;
        }
    };
}

fn root(image: &Image) -> PathBuf {
    assert_eq!(image.layers.len(), 1);
    image.layers[0].clone()
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| format!("({path}: {error})"))
}

#[tokio::test]
async fn layers_are_applied_in_order() {
    needs_unpacking!();
    let bench = bench().await;
    let below = Layer::new()
        .directory("etc", 0o755)
        .file("etc/kept", "kept")
        .file("etc/replaced", "old")
        .file("etc/deleted", "x")
        .directory("opaque", 0o755)
        .file("opaque/below", "x")
        .directory("opaque/both", 0o755)
        .file("opaque/both/below", "x")
        .file("becomes-directory", "x")
        .directory("becomes-file", 0o755)
        .file("becomes-file/inside", "x")
        .entry("bin/tool", "tool", 0o4755, 0)
        .entry("home/owned", "x", 0o600, 1000)
        .link(EntryType::Symlink, "lib", "usr/lib")
        .directory("usr/lib", 0o755)
        .done();
    let above = Layer::new()
        .file("etc/replaced", "new")
        .file("etc/.wh.deleted", "")
        .file("opaque/early", "early")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/both/above", "above")
        .directory("becomes-directory", 0o700)
        .file("becomes-file", "file")
        .link(EntryType::Link, "etc/hard", "etc/kept")
        .file("lib/through-link", "through")
        .file(".wh.never-there", "")
        .done();
    let config = json!({
        "Entrypoint": ["/bin/tool"], "Cmd": ["serve"], "Env": ["A=b"], "User": "1000",
        "WorkingDir": "/home", "StopSignal": "SIGQUIT", "Volumes": {"/data": {}},
    });
    let expected = bench.registry.image("1", &[below, above], &config, "amd64");

    let image = bench.pull("app:1").await.unwrap();
    assert_eq!(image.digest, expected);
    assert_eq!(image.config.entrypoint, ["/bin/tool"]);
    assert_eq!(image.config.cmd, ["serve"]);
    assert_eq!(image.config.env, ["A=b"]);
    assert_eq!(image.config.user, "1000");
    assert_eq!(image.config.working_dir, "/home");
    assert_eq!(image.config.stop_signal.as_deref(), Some("SIGQUIT"));
    assert_eq!(image.config.volumes, ["/data"]);

    let root = root(&image);
    assert_eq!(read(&root, "etc/kept"), "kept");
    assert_eq!(read(&root, "etc/replaced"), "new");
    assert!(!root.join("etc/deleted").exists());
    assert!(!root.join("opaque/below").exists());
    assert!(!root.join("opaque/both/below").exists());
    assert_eq!(read(&root, "opaque/early"), "early");
    assert_eq!(read(&root, "opaque/both/above"), "above");
    assert!(root.join("becomes-directory").is_dir());
    assert_eq!(read(&root, "becomes-file"), "file");
    assert_eq!(read(&root, "usr/lib/through-link"), "through");
    assert_eq!(read(&root, "etc/hard"), "kept");

    let metadata = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
    assert_eq!(metadata("etc/hard").ino(), metadata("etc/kept").ino());
    assert_eq!(metadata("bin/tool").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(metadata("home/owned").permissions().mode() & 0o7777, 0o600);
    assert_eq!(metadata("etc/kept").mtime(), 1_700_000_000);
    let root_uid = metadata("etc/kept").uid();
    let expected = match Identity::current().unwrap() {
        Identity::Root => 1000,
        Identity::Mapped(map) => map.subuids.start + 999,
    };
    assert_eq!(metadata("home/owned").uid() - root_uid, expected - root_uid);
    let whiteouts = fs::read_dir(root.join("etc")).unwrap();
    assert!(
        whiteouts
            .flatten()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with(".wh."))
    );
}

#[tokio::test]
async fn what_was_pulled_is_not_pulled_again() {
    needs_unpacking!();
    let bench = bench().await;
    let layer = Layer::new().file("f", "x").done();
    bench
        .registry
        .image("1", std::slice::from_ref(&layer), &json!({}), "amd64");
    bench
        .registry
        .image("latest", &[layer], &json!({}), "amd64");
    let first = bench.pull("app:1").await.unwrap();
    let requests = bench
        .registry
        .with(|content| (content.manifest_requests, content.blob_requests));
    assert_eq!(bench.pull("app:1").await.unwrap(), first);
    let again = bench
        .registry
        .with(|content| (content.manifest_requests, content.blob_requests));
    assert_eq!(again, requests, "a tag that is there is not asked for");

    // A moving tag is, but its layers are there.
    bench.pull("app:latest").await.unwrap();
    bench.pull("app").await.unwrap();
    let moving = bench
        .registry
        .with(|content| (content.manifest_requests, content.blob_requests));
    assert_eq!(moving.0, requests.0 + 2);
    assert_eq!(moving.1, requests.1);
}

#[tokio::test]
async fn the_variant_for_this_machine_is_chosen() {
    needs_unpacking!();
    let bench = bench().await;
    let here = support::archives::here();
    let ours = bench.registry.image(
        "a",
        &[Layer::new().file("arch", "ours").done()],
        &json!({}),
        here,
    );
    let other = bench.registry.image(
        "b",
        &[Layer::new().file("arch", "other").done()],
        &json!({}),
        "s390x",
    );
    let other = (other, "s390x");
    bench
        .registry
        .list("both", &[other.clone(), (ours.clone(), here)]);
    bench.registry.list("other", &[other]);

    let image = bench.pull("app:both").await.unwrap();
    assert_eq!(read(&root(&image), "arch"), "ours");
    assert_eq!(image.digest, ours);
    let error = bench.pull("app:other").await.unwrap_err().to_string();
    assert!(
        error.contains("has no variant for linux/") && error.ends_with("it has linux/s390x"),
        "{error}"
    );
}

#[tokio::test]
async fn a_transfer_that_breaks_off_is_resumed() {
    needs_unpacking!();
    let bench = bench().await;
    let noise: String = (0u32..40_000)
        .map(|i| char::from(33 + (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
        .collect();
    let layer = Layer::new().file("noise", &noise).done();
    let blob = gzip(&layer);
    bench.registry.image("1", &[layer], &json!({}), "amd64");
    bench.registry.cut_once(&digest(&blob), 2_000);
    let image = bench.pull("app:1").await.unwrap();
    assert_eq!(read(&root(&image), "noise"), noise);
    let ranges = bench.registry.with(|content| content.ranges.clone());
    assert_eq!(ranges, ["bytes=2000-"]);
}

#[tokio::test]
async fn a_truncated_layer_is_refused() {
    let bench = bench().await;
    let layer = Layer::new().file("f", "content").done();
    let blob = gzip(&layer);
    bench.registry.image("1", &[layer], &json!({}), "amd64");
    bench
        .registry
        .corrupt(&digest(&blob), blob[..blob.len() / 2].to_vec());
    let message = bench.failure("app:1").await;
    assert!(message.contains("broke off 3 times"), "{message}");
}

#[tokio::test]
async fn a_layer_with_another_digest_is_refused() {
    let bench = bench().await;
    let layer = Layer::new().file("f", "content").done();
    let blob = gzip(&layer);
    bench.registry.image("1", &[layer], &json!({}), "amd64");
    let mut other = blob.clone();
    *other.last_mut().unwrap() ^= 1;
    bench.registry.corrupt(&digest(&blob), other.clone());
    let message = bench.failure("app:1").await;
    assert!(
        message.contains("is damaged: layer sha256:") && message.contains(&digest(&other)),
        "{message}"
    );
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    needs_unpacking!();
    let bench = bench().await;
    let layer = bench
        .registry
        .blob(gzip(&Layer::new().file("f", "one").done()));
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest(b"other")]}});
    let config = bench.registry.blob(config.to_string().into_bytes());
    bench.registry.manifest("1", &json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer],
    }));
    let message = bench.failure("app:1").await;
    assert!(message.contains("a layer unpacks to sha256:"), "{message}");
}

#[tokio::test]
async fn an_archive_cannot_leave_its_root() {
    needs_unpacking!();
    let bench = bench().await;
    let outside = bench.cache.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();

    // Through a symbolic link: it leads to a path of the image, not of the host.
    let layer = Layer::new()
        .link(EntryType::Symlink, "way-out", target)
        .file("way-out/planted", "x")
        .link(EntryType::Symlink, "up", "../../../../../../../..")
        .file("up/planted", "x")
        .done();
    bench.registry.image("link", &[layer], &json!({}), "amd64");
    let image = bench.pull("app:link").await;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!Path::new("/planted").exists());
    if let Ok(image) = image {
        assert!(root(&image).join("planted").exists());
    }

    // By name.
    let layer = Layer::new().file("../../planted", "x").done();
    bench.registry.image("name", &[layer], &json!({}), "amd64");
    let message = bench.pull("app:name").await.unwrap_err().to_string();
    assert!(message.contains("outside its root"), "{message}");

    // By a hard link to something of the host.
    let secret = outside.join("secret");
    fs::write(&secret, "secret").unwrap();
    let layer = Layer::new()
        .link(EntryType::Link, "stolen", secret.to_str().unwrap())
        .done();
    bench.registry.image("hard", &[layer], &json!({}), "amd64");
    let message = bench.pull("app:hard").await.unwrap_err().to_string();
    assert!(message.contains("cannot unpack stolen"), "{message}");
    assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1);
}

#[tokio::test]
async fn capabilities_of_files_are_kept() {
    needs_unpacking!();
    let bench = bench().await;
    // VFS_CAP_REVISION_2, effective, cap_net_raw.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let layer = Layer::new()
        .attribute("security.capability", &capability)
        .entry("ping", "x", 0o755, 0)
        .done();
    bench.registry.image("1", &[layer], &json!({}), "amd64");
    let image = bench.pull("app:1").await.unwrap();
    let kept = xattr::get(root(&image).join("ping"), "security.capability").unwrap();
    assert!(kept.is_some_and(|kept| kept[4..8] == capability[4..8]));
}

#[tokio::test]
async fn a_missing_tag_says_so() {
    let bench = bench().await;
    let message = bench.failure("app:nosuch").await;
    assert!(message.contains("app:nosuch does not exist"), "{message}");
}

#[tokio::test]
async fn a_closed_registry_says_how_to_log_in() {
    let bench = bench().await;
    bench.registry.with(|content| content.token_needed = true);
    let message = bench.failure("app:1").await;
    assert!(
        message.contains("wants credentials") && message.contains("docker login 127.0.0.1"),
        "{message}"
    );
}

#[tokio::test]
async fn a_token_is_asked_for_and_shown() {
    needs_unpacking!();
    let bench = bench().await;
    let layer = Layer::new().file("f", "x").done();
    bench.registry.image("1", &[layer], &json!({}), "amd64");
    bench.registry.with(|content| content.token = Some("open"));
    let image = bench.pull("app:1").await.unwrap();
    assert_eq!(read(&root(&image), "f"), "x");
    assert!(bench.registry.with(|content| content.token_requests) > 0);
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let bench = bench().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let reference = format!("{closed}/app:1");
    let error = bench
        .images(ImageSource::Pull)
        .resolve(&reference, &|_| {})
        .await
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains(&format!("{closed} does not answer")),
        "{message}"
    );
    assert!(message.contains("refused"), "{message}");
}

#[tokio::test]
async fn an_unknown_image_names_both_ways_out() {
    let bench = bench().await;
    let reference = "quay.io/somebody/something:1";
    let error = bench
        .images(ImageSource::Build)
        .resolve(reference, &|_| {})
        .await
        .unwrap_err();
    let message = error.to_string();
    for part in [reference, "fixtures/images.yaml", "--images pull"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn an_image_without_a_root_file_system_is_built_at_once() {
    let bench = bench().await;
    let image = bench
        .images(ImageSource::Build)
        .resolve("registry.k8s.io/pause:3.10", &|_| {})
        .await
        .unwrap();
    assert_eq!(image.config.entrypoint, ["/pause", "pause"]);
    let program = root(&image).join("pause");
    assert!(fs::metadata(&program).unwrap().permissions().mode() & 0o111 != 0);
    let again = bench
        .images(ImageSource::Build)
        .resolve("registry.k8s.io/pause:3.9", &|_| {})
        .await
        .unwrap();
    assert_eq!(again.digest, image.digest);

    let message = bench
        .images(ImageSource::Build)
        .resolve("busybox", &|_| {})
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("trunkline rootfs build"), "{message}");
}

#[tokio::test]
async fn an_image_can_be_seen_through_another_mount() {
    let bench = bench().await;
    let image = bench
        .images(ImageSource::Build)
        .resolve("registry.k8s.io/pause:3.10", &|_| {})
        .await
        .unwrap();
    let inside = image.rebase(&Cache::at(bench.cache.path()), &Cache::at("/cache"));
    assert!(
        inside.layers[0].starts_with("/cache/images/built/"),
        "{inside:?}"
    );
}
