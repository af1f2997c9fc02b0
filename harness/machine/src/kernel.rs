//! The kernel and its modules.

use std::{collections::BTreeSet, fs, path::Path};

use nix::sys::utsname::uname;

use crate::names_in;

/// A part of the kernel that may be a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelModule {
    /// Built in or loaded.
    Present,
    /// The kernel can load it.
    Loadable,
    Missing,
    /// The kernel came without the lists that would tell.
    Unlisted,
}

/// The kernel's own lists of what it has.
#[derive(Debug, Clone, Default)]
pub struct Modules {
    file_systems: String,
    loaded: BTreeSet<String>,
    listed: Vec<String>,
}

impl Modules {
    pub fn read() -> Self {
        let release = kernel_release();
        let list = |file: &str| {
            let path = Path::new("/lib/modules").join(&release).join(file);
            fs::read_to_string(path).unwrap_or_default()
        };
        Self {
            file_systems: fs::read_to_string("/proc/filesystems").unwrap_or_default(),
            loaded: names_in("/sys/module"),
            listed: vec![list("modules.builtin"), list("modules.dep")],
        }
    }

    /// A file system, which the kernel also lists by itself.
    pub fn file_system(&self, name: &str) -> KernelModule {
        let known = |line: &str| line.split_whitespace().last() == Some(name);
        if self.file_systems.lines().any(known) {
            KernelModule::Present
        } else {
            self.find(name)
        }
    }

    pub fn find(&self, name: &str) -> KernelModule {
        // Compressed modules have one more suffix.
        let file = format!("/{name}.ko");
        let built_in = self.listed.first().is_some_and(|list| list.contains(&file));
        if self.loaded.contains(name) || built_in {
            KernelModule::Present
        } else if self.listed.iter().any(|list| list.contains(&file)) {
            KernelModule::Loadable
        } else if self.listed.iter().all(String::is_empty) {
            KernelModule::Unlisted
        } else {
            KernelModule::Missing
        }
    }
}

pub fn kernel_release() -> String {
    uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Major and minor.
pub fn kernel_version() -> (u32, u32) {
    let release = kernel_release();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(built_in: &str, listed: &str) -> Modules {
        Modules {
            file_systems: "nodev\tproc\n\text4\nnodev\toverlay\n".to_owned(),
            loaded: ["tun".to_owned()].into(),
            listed: vec![built_in.to_owned(), listed.to_owned()],
        }
    }

    #[test]
    fn a_module_is_loaded_built_in_loadable_or_missing() {
        let modules = modules(
            "kernel/net/bridge/bridge.ko\n",
            "kernel/drivers/net/geneve.ko.zst: kernel/net/ipv4/udp_tunnel.ko.zst\n",
        );
        let states = ["tun", "bridge", "geneve", "vrf"].map(|name| modules.find(name));
        assert_eq!(
            states,
            [
                KernelModule::Present,
                KernelModule::Present,
                KernelModule::Loadable,
                KernelModule::Missing
            ]
        );
        assert_eq!(modules.file_system("overlay"), KernelModule::Present);
        assert_eq!(modules.file_system("btrfs"), KernelModule::Missing);
    }

    #[test]
    fn without_lists_nothing_is_known() {
        assert_eq!(modules("", "").find("vrf"), KernelModule::Unlisted);
    }
}
