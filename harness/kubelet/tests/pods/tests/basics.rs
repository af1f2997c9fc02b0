//! Pods run, end, and say why they do not.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::json;

use super::context::{check, condition, ended, equal, fail, status};
use super::{Context, Outcome};

pub async fn a_pod_runs_and_goes(c: Context) -> Outcome {
    // with no grace at all the object goes before the pod does
    c.pod("p", json!({}), json!({"terminationGracePeriodSeconds": 1}))
        .await?;
    let pod = c.ready("p").await?;
    let s = pod.status.clone().ok_or_else(|| fail("no status"))?;
    equal(s.phase.as_deref(), Some("Running"))?;
    equal(s.host_ip.as_deref(), Some("10.88.0.1"))?;
    check(
        s.pod_ip.is_some_and(|ip| ip.starts_with("10.88.1.")),
        "no pod IP",
    )?;
    for kind in [
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
        "PodScheduled",
    ] {
        equal(condition(&pod, kind), Some("True"))?;
    }
    let container = status(&pod, "c").ok_or_else(|| fail("no container status"))?;
    check(
        container.ready && container.started == Some(true),
        "not started",
    )?;
    let id = container.container_id.clone().unwrap_or_default();
    let id = id
        .strip_prefix("containerd://")
        .ok_or_else(|| fail(id.clone()))?;
    equal(id.len(), 64)?;
    equal(
        container.image_id.as_str(),
        &format!("registry.example/workload@sha256:{}", "0".repeat(64)),
    )?;
    for event in [
        "Normal p Scheduled: Successfully assigned a-pod-runs-and-goes/p to worker",
        "Normal p Pulled: Container image \"registry.example/workload:1\" already present on machine",
        "Normal p Created: Created container: c",
        "Normal p Started: Started container c",
    ] {
        c.event(event).await?;
    }
    let bundle = c.cluster.state.join("containers").join(id);
    check(bundle.is_dir(), "no bundle")?;
    c.delete("p").await?;
    c.gone("p").await?;
    c.event("Normal p Killing: Stopping container c").await?;
    check(!bundle.exists(), "the bundle is still there")
}

/// The budget is for a release build on an idle machine; a debug build among other work gets five times as much.
pub async fn three_at_once_are_fast(c: Context) -> Outcome {
    let begun = Instant::now();
    let one = |name: &'static str| {
        let c = &c;
        async move {
            c.pod(name, json!({}), json!({})).await?;
            c.ready(name).await?;
            Ok::<_, libtest_mimic::Failed>(begun.elapsed())
        }
    };
    let took = try_join_all(["a", "b", "d"].map(one)).await?;
    println!("three pods ready after {took:?}");
    let limit = Duration::from_millis(300) * 5;
    check(took.iter().all(|t| *t < limit), format!("slow: {took:?}"))
}

pub async fn exit_codes(c: Context) -> Outcome {
    c.script("good", "exit 0").await?;
    c.script("bad", "echo why > /dev/termination-log; exit 3")
        .await?;
    c.script("killed", "kill -9 $$; sleep 9").await?;
    let good = c.phase("good", "Succeeded").await?;
    equal(ended(&good, "c"), Some((0, "Completed".to_owned())))?;
    equal(condition(&good, "Ready"), Some("False"))?;
    let bad = c.phase("bad", "Failed").await?;
    equal(ended(&bad, "c"), Some((3, "Error".to_owned())))?;
    let message = status(&bad, "c").and_then(|s| s.state.clone()?.terminated?.message);
    equal(message.as_deref(), Some("why\n"))?;
    // a process that is PID 1 cannot kill itself; it goes on
    c.delete("killed").await?;
    c.gone("killed").await
}

pub async fn fosdem_security(c: Context) -> Outcome {
    let container = json!({
        "command": ["sh", "-c", "id -u; grep -E '^(Cap(Prm|Eff|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status; touch /x || echo denied; unshare -U true || echo refused"],
        "securityContext": {
            "runAsUser": 1000, "privileged": false, "seccompProfile": {"type": "RuntimeDefault"},
            "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
        },
    });
    c.pod("p", container, json!({})).await?;
    c.phase("p", "Succeeded").await?;
    let log = c.logs("p").await?;
    for line in [
        "1000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "denied",
        "refused",
    ] {
        check(
            log.lines().any(|l| l == line),
            format!("no {line:?} in\n{log}"),
        )?;
    }
    Ok(())
}

pub async fn the_pods_own_files(c: Context) -> Outcome {
    let script = "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf; ls -l /.trunkline/agent; ls /sys/fs/cgroup | wc -l";
    let spec = json!({
        "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["turtle-db"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["192.0.2.53"]},
    });
    c.pod("named", json!({"command": ["sh", "-c", script]}), spec)
        .await?;
    let pod = c.phase("named", "Succeeded").await?;
    let ip = pod.status.and_then(|s| s.pod_ip).unwrap_or_default();
    let log = c.logs("named").await?;
    for text in [
        "named\nnamed\n# Kubernetes-managed hosts file.\n",
        &format!("{ip}\tnamed\n"),
        "# Entries added by HostAliases.\n192.0.2.7\tturtle-db\n",
        "nameserver 192.0.2.53\n",
        "/.trunkline/agent\n0\n",
    ] {
        check(log.contains(text), format!("no {text:?} in\n{log}"))?;
    }
    Ok(())
}

pub async fn programs_that_are_not_there(c: Context) -> Outcome {
    c.pod(
        "p",
        json!({"command": ["/no/such/program"]}),
        json!({"restartPolicy": "Always"}),
    )
    .await?;
    let pod = c
        .until("p", "restarted", |p| {
            status(p, "c")
                .is_some_and(|s| s.last_state.clone().is_some_and(|l| l.terminated.is_some()))
        })
        .await?;
    let last = status(&pod, "c")
        .and_then(|s| s.last_state.clone()?.terminated)
        .ok_or_else(|| fail("no last state"))?;
    equal(
        (last.exit_code, last.reason.as_deref()),
        (128, Some("StartError")),
    )?;
    let message = last.message.unwrap_or_default();
    let expected = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/no/such/program\": stat /no/such/program: no such file or directory: unknown";
    equal(message.as_str(), expected)?;
    c.event(&format!("Warning p Failed: Error: {expected}"))
        .await?;
    c.waiting("p", "CrashLoopBackOff").await.map(|_| ())
}

pub async fn images_that_are_not_there(c: Context) -> Outcome {
    c.pod("p", json!({"image": "registry.example/none:1"}), json!({}))
        .await?;
    let message = c.waiting("p", "ImagePullBackOff").await?;
    equal(
        message.as_str(),
        "Back-off pulling image \"registry.example/none:1\": ErrImagePull: registry.example/none:1 is not in the test's catalogue",
    )?;
    for event in [
        "Normal p Pulling: Pulling image \"registry.example/none:1\"",
        "Warning p Failed: Failed to pull image \"registry.example/none:1\": registry.example/none:1 is not in the test's catalogue",
        "Warning p Failed: Error: ErrImagePull",
        "Normal p BackOff: Back-off pulling image \"registry.example/none:1\"",
        "Warning p Failed: Error: ImagePullBackOff",
    ] {
        c.event(event).await?;
    }
    c.pod(
        "never",
        json!({"image": "registry.example/none:1", "imagePullPolicy": "Never"}),
        json!({}),
    )
    .await?;
    let message = c.waiting("never", "ErrImageNeverPull").await?;
    equal(
        message.as_str(),
        "Container image \"registry.example/none:1\" is not present with pull policy of Never",
    )?;
    c.pod("invalid", json!({"image": "Not:An:Image"}), json!({}))
        .await?;
    c.waiting("invalid", "InvalidImageName").await.map(|_| ())
}

pub async fn root_is_refused(c: Context) -> Outcome {
    c.pod(
        "p",
        json!({"securityContext": {"runAsNonRoot": true}}),
        json!({}),
    )
    .await?;
    let message = c.waiting("p", "CreateContainerConfigError").await?;
    check(
        message.starts_with(
            "container has runAsNonRoot and image will run as root (pod: \"p_root-is-refused(",
        ),
        message.clone(),
    )?;
    c.event(&format!("Warning p Failed: Error: {message}"))
        .await
}

pub async fn networks_that_fail(c: Context) -> Outcome {
    let text = "plugin type=\"multus\" name=\"multus-cni-network\" failed (add): no such network";
    c.create::<k8s_openapi::api::core::v1::Pod>(json!({
        "metadata": {"name": "p", "annotations": {"test/network-error": text}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [super::context::container("c", json!({}))]},
    }))
    .await?;
    c.event("Warning p FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"")
        .await?;
    c.event(&format!("\": {text}")).await?;
    let pod = c
        .until("p", "without a network", |p| {
            condition(p, "PodReadyToStartContainers") == Some("False")
        })
        .await?;
    equal(pod.status.as_ref().and_then(|s| s.pod_ip.clone()), None)?;
    c.waiting("p", "ContainerCreating").await?;
    c.delete("p").await?;
    c.gone("p").await
}
