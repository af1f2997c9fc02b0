//! Devices of the lab that privileged containers see, as far as they exist.

use std::path::Path;

use super::spec::Mount;

const PRIVILEGED: [&str; 3] = ["/dev/net/tun", "/dev/kvm", "/dev/fuse"];

pub(super) fn privileged() -> Vec<Mount> {
    PRIVILEGED
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .map(|path| Mount {
            destination: path.into(),
            kind: "bind",
            source: path.into(),
            options: ["bind", "rw", "nosuid"].map(str::to_owned).to_vec(),
        })
        .collect()
}
