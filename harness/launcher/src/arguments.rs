//! The command line, as KubeVirt's virt-controller writes it.

use std::path::{Path, PathBuf};

use trunkline_launcher::SOCKET;

/// What of it matters here. The rest is for KubeVirt's own launcher.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    pub socket: PathBuf,
}

const SHARE: &str = "--kubevirt-share-dir";

impl Arguments {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.peekable();
        let mut share = None;
        while let Some(argument) = arguments.next() {
            if let Some(value) = argument.strip_prefix("--kubevirt-share-dir=") {
                share = Some(value.to_owned());
            } else if argument == SHARE {
                share = arguments.next();
            } else if !argument.starts_with("--") {
                return Err(format!("{argument:?} is not an option"));
            } else {
                // Its value, unless it is a switch.
                arguments.next_if(|next| !next.starts_with("--"));
            }
        }
        share
            .map(|share| Self {
                socket: Path::new(&share).join(SOCKET),
            })
            .ok_or_else(|| {
                format!("{SHARE} is missing: name the directory shared with virt-handler")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_recorded_command_line_is_understood() {
        let line = "--qemu-timeout 253s --name tiny --uid 2a02665d --namespace default \
            --kubevirt-share-dir /var/run/kubevirt --ephemeral-disk-dir /var/run/kubevirt-ephemeral-disks \
            --grace-period-seconds 20 --hook-sidecars 0 --hypervisor kvm --run-as-nonroot --allow-emulation";
        let socket = parse(line).unwrap().socket;
        assert_eq!(
            socket.to_str(),
            Some("/var/run/kubevirt/sockets/launcher-sock")
        );
        assert_eq!(
            parse("--kubevirt-share-dir=/x").unwrap().socket.to_str(),
            Some("/x/sockets/launcher-sock")
        );
    }

    #[test]
    fn without_a_place_to_listen_there_is_nothing_to_do() {
        assert!(
            parse("--name tiny")
                .unwrap_err()
                .contains("--kubevirt-share-dir")
        );
        assert!(
            parse("--run-as-nonroot --name a b")
                .unwrap_err()
                .contains("\"b\"")
        );
    }
}
