//! How big a machine is, and what that allows.

use trunkline_kubevirt::types::{Cpu, Quantity, VirtualMachineInstance};
use trunkline_userland::machine::Shape;

#[derive(Debug, thiserror::Error)]
#[error("{0} is not an amount of memory; write it as 256Mi or 1Gi")]
pub struct ShapeError(String);

/// Memory and processors.
pub fn shape(vmi: &VirtualMachineInstance) -> Result<Shape, ShapeError> {
    let domain = &vmi.spec.domain;
    let guest = domain
        .memory
        .as_ref()
        .and_then(|memory| memory.guest.as_ref());
    let resources = &domain.resources;
    let memory = guest
        .or_else(|| resources.requests.get("memory"))
        .or_else(|| resources.limits.get("memory"));
    let bytes = memory
        .and_then(Quantity::whole)
        .ok_or_else(|| ShapeError(memory.map_or("nothing".to_owned(), ToString::to_string)))?;
    let mib = bytes >> 20;
    let memory_mib = u32::try_from(mib)
        .ok()
        .filter(|mib| *mib > 0)
        .ok_or_else(|| ShapeError(format!("{bytes} bytes")))?;
    let vcpus = domain.cpu.as_ref().map_or(1, Cpu::vcpus);
    Ok(Shape {
        memory_mib,
        vcpus: vcpus.max(1),
    })
}

/// Whether everything but the first disk can be plugged into a machine that was woken from a template.
pub fn fits_template(disks: usize, cards: usize) -> bool {
    disks > 0 && disks - 1 + cards <= usize::from(trunkline_qemu::SLOTS)
}

/// Whether this machine has that much memory at all.
pub fn fits_memory(shape: Shape) -> bool {
    let total = rustix::system::sysinfo();
    let bytes = total.totalram.saturating_mul(u64::from(total.mem_unit));
    u64::from(shape.memory_mib) << 20 <= bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trunkline_kubevirt::types::VirtualMachineInstance;
    use trunkline_userland::machine::Shape;

    use super::{fits_memory, fits_template, shape};

    fn vmi(domain: &serde_json::Value) -> VirtualMachineInstance {
        serde_json::from_value(json!({"metadata": {}, "spec": {"domain": domain}})).unwrap()
    }

    #[test]
    fn a_shape_is_memory_and_processors() {
        let asked = vmi(&json!({
            "memory": {"guest": "256Mi"}, "cpu": {"cores": 2, "sockets": 2, "threads": 1}, "devices": {}
        }));
        let shape = shape(&asked).unwrap();
        assert_eq!((shape.memory_mib, shape.vcpus), (256, 4));
        let requested = super::shape(&vmi(
            &json!({"resources": {"requests": {"memory": "1G"}}, "devices": {}}),
        ));
        let requested = requested.unwrap();
        assert_eq!((requested.memory_mib, requested.vcpus), (953, 1));
        for wrong in [
            json!({"devices": {}}),
            json!({"memory": {"guest": "lots"}, "devices": {}}),
        ] {
            assert!(super::shape(&vmi(&wrong)).is_err());
        }
    }

    #[test]
    fn memory_is_finite() {
        let shape = |memory_mib| Shape {
            memory_mib,
            vcpus: 1,
        };
        assert!(fits_memory(shape(16)));
        assert!(!fits_memory(shape(u32::MAX)));
    }

    #[test]
    fn a_template_has_room_for_so_much() {
        let slots = usize::from(trunkline_qemu::SLOTS);
        assert!(fits_template(2, slots - 1));
        assert!(!fits_template(2, slots));
        assert!(!fits_template(0, 0));
    }
}
