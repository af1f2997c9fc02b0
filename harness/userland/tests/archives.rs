//! Images out of archives, and into them.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use serde_json::{Value, json};
use support::archives::Tar;
use support::archives::{INDEX, here, oci, oci_image, oci_index, runtime, zstd};
use support::{Layer, Registry, digest, gzip};
use tar::EntryType;
use tempfile::TempDir;
use trunkline_userland::archive::{self, Archives};
use trunkline_userland::contain::Identity;
use trunkline_userland::{Cache, Catalogue, Image, ImageSource, Images, programs};

const CONTAINERD: &str = "io.containerd.image.name";
const OCI: &str = "org.opencontainers.image.ref.name";

/// A directory of archives and a cache.
struct Bench {
    directory: TempDir,
    cache: TempDir,
}

fn bench() -> Bench {
    Bench {
        directory: tempfile::tempdir().unwrap(),
        cache: tempfile::tempdir().unwrap(),
    }
}

impl Bench {
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn read(&self) -> Archives {
        archive::read_dir(self.directory.path()).unwrap()
    }

    fn failure(&self) -> String {
        archive::read_dir(self.directory.path())
            .unwrap_err()
            .to_string()
    }

    fn images(&self, source: ImageSource) -> Images {
        let cache = Cache::at(self.cache.path());
        Images::new(cache, Catalogue::embedded().unwrap(), source)
    }

    fn directory_images(&self) -> Images {
        self.images(ImageSource::Directory(self.directory.path().to_path_buf()))
    }
}

macro_rules! needs_unpacking {
    () => {
        if let Err(reason) = Identity::current() {
            println!("skipped: {reason}");
            return;
        }
    };
}

/// As docker saves it.
fn docker(name: &str, layers: &[Vec<u8>]) -> Tar {
    support::archives::docker(name, layers, &runtime())
}

fn layers(text: &str) -> Vec<Vec<u8>> {
    vec![
        Layer::new()
            .file("below", "below")
            .file("text", "old")
            .done(),
        Layer::new().file("text", text).done(),
    ]
}

fn text(image: &Image) -> String {
    fs::read_to_string(image.layers[0].join("text")).unwrap()
}

#[rstest]
#[case::docker_20("app.tar", docker("example.test/app:1", &layers("x")).done())]
#[case::docker_gzip("app.tar.gz", gzip(&docker("example.test/app:1", &layers("x")).done()))]
#[case::buildx("app.tar", oci(CONTAINERD, "example.test/app:1", &layers("x")).done())]
#[case::podman("app.tgz", gzip(&oci(OCI, "example.test/app:1", &layers("x")).done()))]
#[case::zstd("app.tar.zst", zstd(&oci(OCI, "example.test/app:1", &layers("x")).done()))]
#[tokio::test]
async fn every_kind_is_read(#[case] file: &str, #[case] archive: Vec<u8>) {
    needs_unpacking!();
    let bench = bench();
    let path = bench.write(file, archive);
    let archives = bench.read();
    let found = archives.find("example.test/app:1").unwrap();
    assert_eq!(found.file(), path);
    found.verify().unwrap();
    assert!(archives.find("example.test/app:2").is_none());
    assert!(
        archives
            .find(&format!("example.test/app@{}", found.digest()))
            .is_some()
    );
    assert!(
        archives
            .find(&format!("example.test/other@{}", found.digest()))
            .is_none()
    );

    let image = bench
        .directory_images()
        .resolve("example.test/app:1", &|_| {})
        .await
        .unwrap();
    assert_eq!(text(&image), "x");
    assert_eq!(
        fs::read_to_string(image.layers[0].join("below")).unwrap(),
        "below"
    );
    assert_eq!(image.config.entrypoint, ["/app"]);
    assert_eq!(image.config.env, ["A=b"]);
    assert_eq!(image.digest, found.digest());
}

#[rstest]
#[case("busybox:latest", "busybox")]
#[case("busybox:latest", "docker.io/library/busybox")]
#[case("docker.io/library/busybox:1.37", "busybox:1.37")]
#[case("somebody/app:1", "docker.io/somebody/app:1")]
#[case("localhost/app:latest", "localhost/app")]
fn names_are_the_same_short_and_whole(#[case] own: &str, #[case] asked: &str) {
    let bench = bench();
    bench.write("a.tar", docker(own, &layers("x")).done());
    assert!(bench.read().find(asked).is_some());
}

#[test]
fn a_tag_alone_is_no_name() {
    let bench = bench();
    bench.write("a.tar", oci(OCI, "latest", &layers("x")).done());
    let archives = bench.read();
    assert_eq!(archives.images().len(), 1);
    assert_eq!(archives.names(), Vec::<&str>::new());
}

#[test]
fn the_variant_for_this_machine_is_chosen() {
    let bench = bench();
    let mut tar = Tar::default();
    let foreign = oci_image(&mut tar, &layers("other"), "s390x");
    let ours = oci_image(&mut tar, &layers("ours"), here());
    let attestation = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
        "digest": digest(b"gone"), "platform": {"os": "unknown", "architecture": "unknown"}});
    let index = |entries: Value| {
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string()
    };
    let both = index(json!([foreign, ours, attestation]));
    let only_foreign = index(json!([foreign]));
    let named = |text: &str, digest: String, name: &str| json!({"mediaType": INDEX, "size": text.len(), "digest": digest, "annotations": {CONTAINERD: name}});
    let entries = [
        named(&both, tar.blob(both.clone()), "example.test/both:1"),
        named(
            &only_foreign,
            tar.blob(only_foreign.clone()),
            "example.test/foreign:1",
        ),
    ];
    oci_index(&mut tar, &entries);
    let path = bench.write("a.tar", tar.done());
    let archives = bench.read();
    let found = archives.find("example.test/both:1").unwrap();
    assert_eq!(found.digest(), ours["digest"].as_str().unwrap());
    let message = archives
        .require("example.test/foreign:1")
        .unwrap_err()
        .to_string();
    let path = path.display();
    assert_eq!(
        message,
        format!(
            "image example.test/foreign:1 in {path} has no variant for linux/{}; it has linux/s390x",
            here()
        )
    );
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_is() {
    let bench = bench();
    bench.write("a.tar", docker("example.test/app:1", &layers("x")).done());
    bench.write("b.tar", docker("busybox:1", &layers("y")).done());
    bench.write("README.md", "not an archive");
    let images = bench.directory_images();
    let message = images
        .resolve("example.test/app:2", &|_| {})
        .await
        .unwrap_err()
        .to_string();
    let directory = bench.directory.path().display().to_string();
    for part in [
        "image example.test/app:2 is not in",
        &directory,
        "which has docker.io/library/busybox:1, example.test/app:1;",
        "docker save example.test/app:2",
        "trunkline images build example.test/app:2",
        "--images pull",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }

    // Who reads that and puts it there is not told the same again.
    bench.write("c.tar", docker("example.test/app:2", &layers("z")).done());
    if Identity::current().is_ok() {
        let image = images.resolve("example.test/app:2", &|_| {}).await.unwrap();
        assert_eq!(text(&image), "z");
    }
}

#[tokio::test]
async fn an_image_is_found_under_the_name_it_would_be_pulled_by() {
    needs_unpacking!();
    let bench = bench();
    let name = "registry.k8s.io/e2e-test-images/agnhost:2.36";
    bench.write("a.tar", docker(name, &layers("x")).done());
    let retired = "k8s.gcr.io/e2e-test-images/agnhost:2.36";
    let image = bench
        .directory_images()
        .resolve(retired, &|_| {})
        .await
        .unwrap();
    assert_eq!(image.reference, retired);
}

#[test]
fn an_empty_directory_says_so() {
    let bench = bench();
    let message = bench.read().require("busybox").unwrap_err().to_string();
    assert!(message.contains("which has no image at all"), "{message}");
}

/// A wrong digest names the file, what was expected and what came.
#[rstest]
#[case::docker(docker("example.test/app:1", &layers("x")))]
#[case::oci(oci(CONTAINERD, "example.test/app:1", &layers("x")))]
#[tokio::test]
async fn a_layer_with_another_digest_is_refused(#[case] mut tar: Tar) {
    let bench = bench();
    let layer = &layers("x")[1];
    let expected = if tar.has("layer1/layer.tar") {
        ("layer1/layer.tar".to_owned(), digest(layer))
    } else {
        let digest = digest(&gzip(layer));
        (format!("blobs/{}", digest.replace(':', "/")), digest)
    };
    tar.damage(&expected.0);
    let path = bench.write("a.tar", tar.done());
    let verified = bench.read().find("example.test/app:1").unwrap().verify();
    let message = verified.unwrap_err().to_string();
    assert!(
        message.starts_with(&format!("{} is damaged", path.display())),
        "{message}"
    );
    assert!(
        message.contains(&format!(
            "should have digest {} and has sha256:",
            expected.1
        )),
        "{message}"
    );
    let resolved = bench
        .directory_images()
        .resolve("example.test/app:1", &|_| {})
        .await;
    assert_eq!(resolved.unwrap_err().to_string(), message);
    let written = bench
        .read()
        .find("example.test/app:1")
        .unwrap()
        .write(Vec::new());
    assert_eq!(written.unwrap_err().to_string(), message);
}

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let bench = bench();
    let mut tar = Tar::default();
    let entry = oci_image(&mut tar, &layers("x"), here());
    let manifest = entry["digest"].as_str().unwrap().to_owned();
    oci_index(&mut tar, &[entry]);
    let place = format!("blobs/{}", manifest.replace(':', "/"));
    tar.damage(&place);
    let path = bench.write("a.tar", tar.done());
    let message = bench.failure();
    assert!(
        message.starts_with(&format!(
            "{} is damaged: a manifest should have digest {manifest}",
            path.display()
        )),
        "{message}"
    );
}

#[test]
fn a_configuration_with_another_digest_is_refused() {
    let bench = bench();
    let mut tar = docker("example.test/app:1", &layers("x"));
    let config = support::archives::configuration(&layers("x"), &runtime(), here());
    let name = format!("{}.json", digest(&config).trim_start_matches("sha256:"));
    tar.damage(&name);
    bench.write("a.tar", tar.done());
    let message = bench.failure();
    assert!(
        message.contains("the configuration should have digest sha256:"),
        "{message}"
    );
}

#[test]
fn two_images_of_one_name_are_refused() {
    let bench = bench();
    bench.write("a.tar", docker("busybox:1", &layers("x")).done());
    // The same twice is no contradiction.
    bench.write(
        "b.tar.gz",
        gzip(&docker("docker.io/library/busybox:1", &layers("x")).done()),
    );
    assert!(bench.read().find("busybox:1").is_some());
    bench.write("c.tar", docker("busybox:1", &layers("y")).done());
    let message = bench.failure();
    for part in [
        "a.tar and ",
        "c.tar both hold an image docker.io/library/busybox:1",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[rstest]
#[case::no_image({ let mut tar = Tar::default(); tar.add("hello", "x"); tar.done() }, "holds no image")]
#[case::cut({ let tar = docker("a:1", &layers("x")).done(); tar[..700].to_vec() }, "cannot be read to its end")]
#[case::no_tar(b"hello".to_vec(), "cannot be read to its end")]
#[case::cut_gzip({ let tar = gzip(&docker("a:1", &layers("x")).done()); tar[..60].to_vec() }, "cannot be read to its end")]
#[case::layer_missing({ let mut tar = docker("a:1", &layers("x")); tar.remove("layer1/layer.tar"); tar.done() }, "a layer (layer1/layer.tar) is missing")]
fn what_is_no_archive_is_named(#[case] content: Vec<u8>, #[case] expected: &str) {
    let bench = bench();
    let ending = if content.starts_with(&[0x1f, 0x8b]) {
        "tar.gz"
    } else {
        "tar"
    };
    let path = bench.write(&format!("a.{ending}"), content);
    let message = bench.failure();
    assert!(
        message.starts_with(&path.display().to_string()),
        "{message}"
    );
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let message = archive::read_dir(Path::new("/no/such/directory"))
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("cannot read /no/such/directory"),
        "{message}"
    );
}

/// What is written can be read, by both kinds of readers, and is the same every time.
#[test]
fn an_archived_image_is_written_alone() {
    let bench = bench();
    let mut tar = docker("example.test/app:1", &layers("x"));
    tar.add("unrelated", "x");
    bench.write("a.tar.gz", gzip(&tar.done()));
    let archives = bench.read();
    let image = archives.find("example.test/app:1").unwrap();
    let mut first = Vec::new();
    image.write(&mut first).unwrap();
    let mut second = Vec::new();
    image.write(&mut second).unwrap();
    assert!(first == second);

    let again = tempfile::tempdir().unwrap();
    fs::write(again.path().join("b.tar"), &first).unwrap();
    let archives = archive::read_dir(again.path()).unwrap();
    let copy = archives.find("example.test/app:1").unwrap();
    copy.verify().unwrap();
    assert_eq!(copy.digest(), image.digest());
    let names = entries(&first);
    assert_eq!(names[..3], ["oci-layout", "index.json", "manifest.json"]);
    assert!(!names.contains(&"unrelated".to_owned()));

    // The docker half alone leads to the same image.
    let manifest: Value = serde_json::from_slice(&file(&first, "manifest.json")).unwrap();
    assert_eq!(manifest[0]["RepoTags"], json!(["example.test/app:1"]));
    let config = manifest[0]["Config"].as_str().unwrap();
    assert_eq!(
        digest(&file(&first, config)),
        format!("sha256:{}", &config["blobs/sha256/".len()..])
    );
    for (layer, expected) in manifest[0]["Layers"]
        .as_array()
        .unwrap()
        .iter()
        .zip(layers("x"))
    {
        assert_eq!(file(&first, layer.as_str().unwrap()), expected);
    }
}

/// The static image: no root file system is needed, and nothing of when or where gets in.
#[tokio::test]
async fn an_image_of_the_catalogue_is_the_same_everywhere() {
    needs_unpacking!();
    let mut written = Vec::new();
    for _ in 0..2 {
        let bench = bench();
        let images = bench.images(ImageSource::Build);
        let bundle = images
            .bundle("registry.k8s.io/pause:3.10", &|_| {})
            .await
            .unwrap();
        let path = bench.directory.path().join("pause.tar");
        bundle.save(&path).unwrap();
        written.push(fs::read(&path).unwrap());

        // And it can be used where nothing is built.
        let image = bench
            .directory_images()
            .resolve("registry.k8s.io/pause:3.10", &|_| {})
            .await
            .unwrap();
        assert_eq!(image.config.entrypoint, ["/pause", "pause"]);
        assert_eq!(image.config.user, "65535:65535");
        assert_eq!(image.digest, bundle.digest());
        assert!(image.layers[0].join("pause").is_file());
        let left: Vec<_> = fs::read_dir(bench.directory.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(left, ["pause.tar"]);
    }
    assert!(written[0] == written[1]);
    let manifest: Value = serde_json::from_slice(&file(&written[0], "manifest.json")).unwrap();
    assert_eq!(
        manifest[0]["RepoTags"],
        json!(["registry.k8s.io/pause:3.10"])
    );
    assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 1);
}

/// Two trees that were made differently give the same bytes, with everything a container can see.
#[test]
fn a_tree_is_packed_as_it_is() {
    let cache = tempfile::tempdir().unwrap();
    let helper = programs::install(&Cache::at(cache.path())).unwrap().unpack;
    let pack = |make: fn(&Path)| {
        let tree = tempfile::tempdir().unwrap();
        make(tree.path());
        let packed = Command::new(&helper)
            .arg("--pack")
            .arg(tree.path())
            .output()
            .unwrap();
        assert!(packed.status.success(), "{packed:?}");
        packed
    };
    let first = pack(|tree| {
        fs::create_dir(tree.join("bin")).unwrap();
        fs::write(tree.join("bin/tool"), "tool").unwrap();
        fs::set_permissions(tree.join("bin/tool"), Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(tree.join("bin/tool"), tree.join("other")).unwrap();
        symlink("bin/tool", tree.join("link")).unwrap();
        nix::unistd::mkfifo(&tree.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        drop(UnixListener::bind(tree.join("socket")).unwrap());
    });
    let second = pack(|tree| {
        nix::unistd::mkfifo(&tree.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("bin/tool", tree.join("link")).unwrap();
        fs::write(tree.join("other"), "tool").unwrap();
        fs::set_permissions(tree.join("other"), Permissions::from_mode(0o4755)).unwrap();
        fs::create_dir(tree.join("bin")).unwrap();
        fs::hard_link(tree.join("other"), tree.join("bin/tool")).unwrap();
    });
    assert!(first.stdout == second.stdout);

    let mut layer = Vec::new();
    flate2::read::GzDecoder::new(first.stdout.as_slice())
        .read_to_end(&mut layer)
        .unwrap();
    assert_eq!(
        String::from_utf8(first.stderr).unwrap().trim(),
        digest(&layer)
    );
    let mut archive = tar::Archive::new(layer.as_slice());
    let entries: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 315_532_800);
            let link = entry
                .link_name()
                .unwrap()
                .map(|target| target.display().to_string());
            (
                entry.path().unwrap().display().to_string(),
                header.entry_type(),
                header.mode().unwrap(),
                link,
            )
        })
        .collect();
    let target = Some("bin/tool".to_owned());
    let link_mode = entries[2].2;
    assert_eq!(
        entries,
        [
            ("bin".to_owned(), EntryType::Directory, entries[0].2, None),
            ("bin/tool".to_owned(), EntryType::Regular, 0o4755, None),
            (
                "link".to_owned(),
                EntryType::Symlink,
                link_mode,
                target.clone()
            ),
            ("other".to_owned(), EntryType::Link, 0o4755, target),
            ("pipe".to_owned(), EntryType::Fifo, entries[4].2, None),
        ]
    );
}

/// What a pull leaves in the cache can be handed on as it came.
#[tokio::test]
async fn a_pulled_image_travels_with_its_digest() {
    needs_unpacking!();
    let bench = bench();
    let registry = Registry::start().await;
    let expected = registry.image("1", &layers("x"), &json!({"Cmd": ["a"]}), here());
    let reference = registry.reference("app:1");
    let images = bench.images(ImageSource::Pull);
    assert!(images.pulled(&reference).is_none());
    let bundle = images.bundle(&reference, &|_| {}).await.unwrap();
    assert_eq!(bundle.digest(), expected);
    bundle
        .save(&bench.directory.path().join("app.tar"))
        .unwrap();
    let archives = bench.read();
    let found = archives.find(&reference).unwrap();
    found.verify().unwrap();
    assert_eq!(found.digest(), expected);

    // It is there once it was pulled, without asking anybody, which is what `imagePullPolicy: Never` wants.
    assert!(images.pulled(&reference).is_none(), "not unpacked yet");
    images.resolve(&reference, &|_| {}).await.unwrap();
    registry.with(|content| content.token_needed = true);
    let present = images.pulled(&reference).unwrap();
    assert_eq!(present.digest, expected);
    assert!(images.pulled(&registry.reference("app:2")).is_none());
}

#[test]
fn the_catalogue_is_listed() {
    let bench = bench();
    let images = bench.images(ImageSource::Build);
    let listed = images.list();
    let pause = listed.iter().find(|image| image.name == "pause").unwrap();
    assert_eq!(pause.reference, "registry.k8s.io/pause:3.10");
    assert_eq!(pause.built_from.as_deref(), Some("http-server"));
    assert_eq!(pause.pulled_from, "registry.k8s.io/pause");
    assert_eq!(pause.state, trunkline_userland::images::State::Absent);
    let agnhost = listed.iter().find(|image| image.name == "agnhost").unwrap();
    assert_eq!(
        agnhost.reference,
        "registry.k8s.io/e2e-test-images/agnhost:2.53"
    );
    assert_eq!(
        agnhost.built_from.as_deref(),
        Some("the root file system workload, http-server")
    );
}

fn entries(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

fn file(tar: &[u8], name: &str) -> Vec<u8> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap() == Path::new(name) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            return content;
        }
    }
    panic!("{name} is not there");
}
