//! Builds what virtual machines are made of, and starts some.
#![allow(clippy::unwrap_used)]

mod machines_support;

use std::path::Path;
use std::process::Command;

use machines_support::{Start, disk, kernel, memory_mib, raw, start};
use trunkline_fabric::NetNs;
use trunkline_userland::contain::Identity;
use trunkline_userland::machine::{MachineImage, Shape, Workshop};
use trunkline_userland::{Cache, Catalogue, ImageSource, Images, RootFs, RootKind, rootfs};

fn missing() -> Option<String> {
    let has = |program: &str| {
        Command::new(program)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !has("mmdebstrap") {
        return Some("mmdebstrap is not installed".to_owned());
    }
    if !Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists() {
        return Some("debian-archive-keyring is not installed".to_owned());
    }
    Identity::current().err().map(|error| error.to_string())
}

macro_rules! needs_mmdebstrap {
    () => {
        if let Some(reason) = missing() {
            println!("skipped: {reason}");
            return;
        }
    };
}

const FEDORA: &str = "quay.io/containerdisks/fedora:38";

const SHAPE: Shape = Shape {
    memory_mib: 256,
    vcpus: 1,
};

/// The user's own cache: what is there is used, what is not there is made once.
async fn workshop() -> (Workshop, RootFs) {
    let cache = Cache::locate().unwrap();
    let images = Images::new(
        cache.clone(),
        Catalogue::embedded().unwrap(),
        ImageSource::Build,
    );
    let launcher = rootfs::ensure(&cache, RootKind::Launcher, &|_| {})
        .await
        .unwrap();
    (Workshop::new(cache, images), launcher)
}

#[tokio::test]
async fn a_template_is_woken_several_times_at_once() {
    needs_mmdebstrap!();
    let (workshop, launcher) = workshop().await;
    let image = workshop.provide(FEDORA, &|_| {}).await.unwrap();
    let MachineImage::Guest(guest) = &image else {
        panic!("{image:?}");
    };
    let template = workshop.template(&image, SHAPE, &|_| {}).await.unwrap();
    let template = template.unwrap();
    let again = workshop.template(&image, SHAPE, &|_| {}).await.unwrap();
    assert_eq!(again.as_ref(), Some(&template));

    let data = tempfile::NamedTempFile::new().unwrap();
    data.as_file().set_len(1 << 20).unwrap();
    let netns = NetNs::create().await.unwrap();
    let machines = (0..3).map(|number| {
        let (netns, template, launcher) = (netns.clone(), template.clone(), launcher.clone());
        let (guest, data) = (guest.clone(), data.path().to_owned());
        tokio::spawn(async move {
            let tap = netns.tap(&format!("tap{number}")).await.unwrap();
            let second = netns.tap(&format!("second{number}")).await.unwrap();
            let mut machine = start(Start {
                launcher: &launcher.path,
                boot: kernel(&guest, &["trunkline.template"]),
                disks: vec![
                    disk("root", raw(&guest.root, true)),
                    disk("data", raw(&data, true)),
                ],
                taps: vec![tap, second],
                template: Some(&template),
                memory_mib: SHAPE.memory_mib,
            })
            .await;
            machine.go(2, 1).await;
            let up = machine.line().await;
            assert!(up.contains("up"), "{up}");
            machine.say("\n").await;
            machine.until("login: ").await;
            println!("\nwoken {:.2}", machine.started.elapsed().as_secs_f32());
            let mut cards = machine.agent.interfaces().await.unwrap();
            cards.retain(|card| card.name != "lo");
            // Found in any order, and named in that of their slots.
            let mut cards: Vec<_> = cards
                .into_iter()
                .map(|card| (card.name, card.hardware_address.unwrap_or_default()))
                .collect();
            cards.sort();
            let expected = [("eth0", "02:00:00:00:00:00"), ("eth1", "02:00:00:00:00:01")];
            assert_eq!(
                cards,
                expected.map(|(name, mac)| (name.to_owned(), mac.to_owned()))
            );
            machine
        })
    });
    let mut running = Vec::new();
    for machine in machines.collect::<Vec<_>>() {
        running.push(machine.await.unwrap());
    }
    for machine in &running {
        let memory = memory_mib(machine.place.path());
        println!("\nmemory {memory}");
        assert!((1..=110).contains(&memory), "a machine takes {memory} MiB");
    }
}

#[tokio::test]
async fn a_guest_boots_plainly() {
    needs_mmdebstrap!();
    let (workshop, launcher) = workshop().await;
    let guest = workshop.guest(&|_| {}).await.unwrap();
    let data = tempfile::NamedTempFile::new().unwrap();
    data.as_file().set_len(1 << 20).unwrap();
    let netns = NetNs::create().await.unwrap();
    let mut machine = start(Start {
        launcher: &launcher.path,
        boot: kernel(&guest, &[]),
        disks: vec![
            disk("root", raw(&guest.root, true)),
            disk("data", raw(data.path(), false)),
        ],
        taps: vec![netns.tap("tap0").await.unwrap()],
        template: None,
        // A size for which there is no template.
        memory_mib: 300,
    })
    .await;
    machine.until("login: ").await;
    println!(
        "\nplain boot {:.2}",
        machine.started.elapsed().as_secs_f32()
    );
    let cards = machine.agent.interfaces().await.unwrap();
    let card = cards.iter().find(|card| card.name == "eth0").unwrap();
    assert_eq!(card.hardware_address.as_deref(), Some("02:00:00:00:00:00"));
    let os = machine.agent.os().await.unwrap();
    assert_eq!((os.id.as_str(), os.machine.as_str()), ("debian", "x86_64"));
}

#[tokio::test]
async fn a_template_that_was_cut_short_is_made_again() {
    needs_mmdebstrap!();
    let (workshop, _) = workshop().await;
    let image = workshop.provide(FEDORA, &|_| {}).await.unwrap();
    let shape = Shape {
        memory_mib: 160,
        vcpus: 1,
    };
    let made = workshop
        .template(&image, shape, &|_| {})
        .await
        .unwrap()
        .unwrap();
    let state = std::fs::read(&made.state).unwrap();
    std::fs::write(&made.state, &state[..state.len() / 2]).unwrap();
    let again = workshop
        .template(&image, shape, &|_| {})
        .await
        .unwrap()
        .unwrap();
    assert_eq!(made, again);
    assert!(std::fs::metadata(&again.state).unwrap().len() > state.len() as u64 / 2);
    // Nobody asks for this size again.
    std::fs::remove_dir_all(again.state.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn what_is_no_machine_is_refused_by_name() {
    let cache = tempfile::tempdir().unwrap();
    let images = Images::new(
        Cache::at(cache.path()),
        Catalogue::embedded().unwrap(),
        ImageSource::Build,
    );
    let workshop = Workshop::new(Cache::at(cache.path()), images);
    for reference in ["quay.io/somebody/disk:1", "registry.k8s.io/pause:3.10"] {
        let error = workshop.provide(reference, &|_| {}).await.unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(reference) && message.contains("--images pull"),
            "{message}"
        );
    }
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
}
