//! Probes of the guest, made from its pod.

use k8s_openapi::api::core::v1::{ExecAction, Probe};
use kube::ResourceExt;

use crate::types::{self, VirtualMachineInstance};

/// What KubeVirt gives libvirt to start, in seconds.
const STARTUP: i32 = 10;

/// As the pod's container gets it. What is asked of the guest goes through `virt-probe`.
pub(super) fn of(probe: &types::Probe, vmi: &VirtualMachineInstance) -> Probe {
    let or = |value: i32, default: i32| if value == 0 { default } else { value };
    let mut timeout = or(probe.timeout_seconds, 1);
    let machine = format!("{}_{}", vmi.namespace().unwrap_or_default(), vmi.name_any());
    let mut exec = None;
    let mut ask = |arguments: &[&str], command: &[String]| {
        let seconds = timeout.to_string();
        let head = [
            "virt-probe",
            "--domainName",
            &machine,
            "--timeoutSeconds",
            &seconds,
        ];
        let words = head.iter().chain(arguments).map(|word| (*word).to_owned());
        exec = Some(ExecAction {
            command: Some(words.chain(command.iter().cloned()).collect()),
        });
        // for what goes around the question itself
        timeout += 1;
    };
    let command = probe.exec.as_ref().and_then(|exec| exec.command.as_deref());
    if probe.guest_agent_ping.is_some() {
        ask(&["--guestAgentPing"], &[]);
    } else if let Some([program, arguments @ ..]) = command {
        ask(&["--command", program, "--"], arguments);
    }
    Probe {
        exec,
        http_get: probe.http_get.clone(),
        tcp_socket: probe.tcp_socket.clone(),
        initial_delay_seconds: Some(probe.initial_delay_seconds + STARTUP),
        timeout_seconds: Some(timeout),
        period_seconds: Some(or(probe.period_seconds, 10)),
        success_threshold: Some(or(probe.success_threshold, 1)),
        failure_threshold: Some(or(probe.failure_threshold, 3)),
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::of;

    fn probe(probe: Value) -> Value {
        let vmi = json!({"metadata": {"name": "vm", "namespace": "ns"}, "spec": {"domain": {}}});
        let (probe, vmi) = (serde_json::from_value(probe), serde_json::from_value(vmi));
        json!(of(&probe.unwrap(), &vmi.unwrap()))
    }

    #[test]
    fn ports_are_probed_by_the_kubelet() {
        let of_pod =
            probe(json!({"tcpSocket": {"port": 80}, "initialDelaySeconds": 5, "periodSeconds": 2}));
        assert_eq!(of_pod["tcpSocket"]["port"], 80);
        assert_eq!(of_pod["initialDelaySeconds"], 15);
        assert_eq!(of_pod["timeoutSeconds"], 1);
        assert_eq!(of_pod["failureThreshold"], 3);
    }

    #[test]
    fn the_guest_is_asked_by_virt_probe() {
        let of_pod = probe(json!({"exec": {"command": ["cat", "/ready"]}, "timeoutSeconds": 4}));
        assert_eq!(
            of_pod["exec"]["command"],
            json!([
                "virt-probe",
                "--domainName",
                "ns_vm",
                "--timeoutSeconds",
                "4",
                "--command",
                "cat",
                "--",
                "/ready"
            ])
        );
        assert_eq!(of_pod["timeoutSeconds"], 5);
        let of_pod = probe(json!({"guestAgentPing": {}}));
        assert_eq!(of_pod["exec"]["command"][5], "--guestAgentPing");
    }
}
