//! The guest's operating system.

use trunkline_kubevirt::types::GuestOsInfo;
use trunkline_qemu::OsInfo;

pub fn os_info(os: &OsInfo) -> GuestOsInfo {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    GuestOsInfo {
        name: known(&os.name),
        kernel_release: known(&os.kernel_release),
        version: known(&os.version),
        pretty_name: known(&os.pretty_name),
        version_id: known(&os.version_id),
        kernel_version: known(&os.kernel_version),
        machine: known(&os.machine),
        id: known(&os.id),
    }
}
