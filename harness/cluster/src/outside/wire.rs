//! Gives a host its address.

use super::{
    OutsideError, OutsideHost, Wire, WireImages,
    container::{Beside, ended, remove_one, says},
};
use crate::docker::{Docker, last_lines};

const ADDRESS: &str = include_str!("../../../../manifests/platform/outside/address.sh");
const OPEN_VSWITCH: &str = include_str!("../../../../manifests/platform/outside/open-vswitch.sh");

/// How `address.sh` ends when the kernel has no VLAN devices.
const NO_VLAN_DEVICES: i64 = 33;
/// What `open-vswitch.sh` writes once the port is up.
const UP: &str = "the port is up";

pub(super) async fn wire(
    docker: &Docker,
    cluster: &str,
    host: &OutsideHost,
    container: &str,
    images: &WireImages,
) -> Result<Wire, OutsideError> {
    let Some(address) = host.address else {
        return Ok(Wire::Untagged);
    };
    let beside = |role, image, script| Beside {
        cluster,
        host: &host.name,
        container,
        role,
        image,
        script,
        environment: vec![
            format!("ADDRESS={address}"),
            format!("VLAN={}", host.vlan.map_or(0, |vlan| vlan.0)),
        ],
    };
    let failed = |said: &str| OutsideError::Wire {
        host: host.name.clone(),
        why: last_lines(said.trim(), 6),
    };
    let helper = beside("address", &images.tools, ADDRESS)
        .start(docker)
        .await?;
    let (code, said) = ended(docker, &helper).await?;
    remove_one(docker, &helper).await?;
    match (code, host.vlan) {
        (0, None) => return Ok(Wire::Untagged),
        (0, Some(_)) => return Ok(Wire::Kernel),
        (NO_VLAN_DEVICES, Some(vlan)) if images.open_vswitch.is_none() => {
            return Err(OutsideError::NoVlan {
                host: host.name.clone(),
                vlan: vlan.0,
            });
        }
        (NO_VLAN_DEVICES, Some(_)) => {}
        _ => return Err(failed(&said)),
    }
    let image = images.open_vswitch.as_deref().unwrap_or_default();
    let switch = beside("switch", image, OPEN_VSWITCH).start(docker).await?;
    match says(docker, &switch, UP).await? {
        Ok(()) => Ok(Wire::OpenVSwitch),
        Err(said) => Err(failed(&said)),
    }
}
