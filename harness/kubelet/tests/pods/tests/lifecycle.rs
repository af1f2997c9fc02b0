//! Order, restarts, probes, ends.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kubeapi::LogOptions;
use serde_json::json;

use super::context::{check, condition, container, ended, equal, fail, is_ready, status};
use super::{Context, Outcome};

pub async fn init_containers_go_first(c: Context) -> Outcome {
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    let step = |name: &str, script: &str| {
        container(
            name,
            json!({"command": ["sh", "-c", script], "volumeMounts": mounts}),
        )
    };
    c.create::<Pod>(json!({
        "metadata": {"name": "p"},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [step("first", "echo 1 > /shared/f"), step("second", "echo 2 >> /shared/f")],
            "containers": [step("c", "cat /shared/f")],
            "volumes": [{"name": "shared", "emptyDir": {}}],
        },
    }))
    .await?;
    let pod = c.phase("p", "Succeeded").await?;
    equal(c.logs("p").await?.as_str(), "1\n2\n")?;
    equal(ended(&pod, "first"), Some((0, "Completed".to_owned())))?;
    check(
        status(&pod, "first").is_some_and(|s| s.ready),
        "init containers are ready when done",
    )?;

    c.create::<Pod>(json!({
        "metadata": {"name": "broken"},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [container("first", json!({"command": ["false"]}))],
            "containers": [container("c", json!({}))],
        },
    }))
    .await?;
    let pod = c.phase("broken", "Failed").await?;
    let reason = status(&pod, "c").and_then(|s| s.state.clone()?.waiting?.reason);
    equal(reason.as_deref(), Some("PodInitializing"))
}

pub async fn sidecars_come_up_first_and_go_last(c: Context) -> Outcome {
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    let sidecar = "trap 'exit 0' TERM; echo up > /shared/side; while :; do sleep 1 & wait $!; done";
    c.create::<Pod>(json!({
        "metadata": {"name": "p"},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [container("side", json!({
                "restartPolicy": "Always", "volumeMounts": mounts, "command": ["sh", "-c", sidecar],
                "startupProbe": {"exec": {"command": ["test", "-s", "/shared/side"]}, "periodSeconds": 1},
            }))],
            "containers": [container("c", json!({"command": ["cat", "/shared/side"], "volumeMounts": mounts}))],
            "volumes": [{"name": "shared", "emptyDir": {}}],
        },
    }))
    .await?;
    let pod = c
        .until("p", "completely over", |p: &Pod| {
            ended(p, "side").is_some() && ended(p, "c").is_some()
        })
        .await?;
    equal(
        pod.status.as_ref().and_then(|s| s.phase.as_deref()),
        Some("Succeeded"),
    )?;
    let options = LogOptions {
        container: "c".to_owned(),
        ..LogOptions::default()
    };
    equal(c.log_options("p", options).await?.as_str(), "up\n")
}

pub async fn crashes_back_off(c: Context) -> Outcome {
    c.pod(
        "p",
        json!({"command": ["sh", "-c", "echo run; exit 1"]}),
        json!({"restartPolicy": "Always"}),
    )
    .await?;
    let message = c.waiting("p", "CrashLoopBackOff").await?;
    check(
        message.starts_with("back-off 10s restarting failed container=c pod=p_crashes-back-off("),
        message,
    )?;
    let pod = c.api::<Pod>().get("p").await?;
    let container = status(&pod, "c").ok_or_else(|| fail("no status"))?;
    equal(container.restart_count, 1)?;
    let last = container
        .last_state
        .clone()
        .and_then(|s| s.terminated)
        .map(|t| t.exit_code);
    equal(last, Some(1))?;
    equal(
        pod.status.as_ref().and_then(|s| s.phase.as_deref()),
        Some("Running"),
    )?;
    c.event("Warning p BackOff: Back-off restarting failed container c in pod p_crashes-back-off(")
        .await?;
    let previous = LogOptions {
        container: "c".to_owned(),
        previous: true,
        ..LogOptions::default()
    };
    equal(c.log_options("p", previous).await?.as_str(), "run\n")?;
    let restarted = c
        .until("p", "restarted again", |p| {
            status(p, "c").is_some_and(|s| s.restart_count == 2)
        })
        .await?;
    let first_end = container
        .last_state
        .clone()
        .and_then(|s| s.terminated?.finished_at);
    let second_start = status(&restarted, "c").and_then(|s| {
        let state = s.state.clone()?;
        match (state.running, state.terminated) {
            (Some(running), _) => running.started_at,
            (_, Some(ended)) => ended.started_at,
            _ => s.last_state.clone()?.terminated?.started_at,
        }
    });
    match (first_end, second_start) {
        (Some(end), Some(start)) => {
            let pause = start.0.duration_since(end.0).as_secs();
            check(
                (9..=11).contains(&pause),
                format!("restarted after {pause} s"),
            )
        }
        other => Err(fail(format!("{other:?}"))),
    }
}

pub async fn grace_and_kill(c: Context) -> Outcome {
    let grace = |seconds: u32| json!({"terminationGracePeriodSeconds": seconds});
    let polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 1 & wait $!; done";
    c.pod(
        "polite",
        json!({"command": ["sh", "-c", polite]}),
        grace(30),
    )
    .await?;
    c.pod(
        "deaf",
        json!({"command": ["sh", "-c", "trap '' TERM; echo up; sleep 100"]}),
        grace(2),
    )
    .await?;
    for name in ["polite", "deaf"] {
        c.ready(name).await?;
        // running is not yet listening
        let follow = LogOptions {
            container: "c".to_owned(),
            follow: true,
            limit_bytes: Some(3),
            ..LogOptions::default()
        };
        equal(c.log_options(name, follow).await?.as_str(), "up\n")?;
    }
    let begun = Instant::now();
    c.delete("polite").await?;
    c.gone("polite").await?;
    let took = begun.elapsed();
    check(
        took < Duration::from_secs(2),
        format!("the polite one took {took:?}"),
    )?;
    let begun = Instant::now();
    c.delete("deaf").await?;
    c.gone("deaf").await?;
    let took = begun.elapsed();
    check(
        (Duration::from_secs(2)..Duration::from_secs(4)).contains(&took),
        format!("the deaf one took {took:?}"),
    )
}

pub async fn hooks(c: Context) -> Outcome {
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    c.pod(
        "p",
        json!({
            "volumeMounts": mounts,
            "lifecycle": {
                "postStart": {"exec": {"command": ["sh", "-c", "echo started > /shared/log"]}},
                "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /shared/log"]}},
            },
        }),
        json!({
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "shared", "hostPath": {"path": "/run/test-hooks", "type": "DirectoryOrCreate"}}],
        }),
    )
    .await?;
    c.ready("p").await?;
    c.delete("p").await?;
    c.gone("p").await?;
    equal(
        std::fs::read_to_string("/run/test-hooks/log")?.as_str(),
        "started\nstopping\n",
    )?;
    c.pod(
        "broken",
        json!({"lifecycle": {"postStart": {"exec": {"command": ["false"]}}}}),
        json!({}),
    )
    .await?;
    c.event("Warning broken FailedPostStartHook: PostStartHook failed")
        .await?;
    c.phase("broken", "Failed").await.map(|_| ())
}

pub async fn readiness_over_http(c: Context) -> Outcome {
    let server = json!({"volumes": [{"name": "server", "hostPath": {"path": "/http-server", "type": "File"}}]});
    let probed = |probe: serde_json::Value| {
        json!({
            "command": ["/http-server", "netexec", "--http-port", "8080"],
            "ports": [{"name": "web", "containerPort": 8080}],
            "volumeMounts": [{"name": "server", "mountPath": "/http-server"}],
            "readinessProbe": probe,
        })
    };
    let good = json!({"httpGet": {"path": "/healthz", "port": "web"}});
    c.pod("good", probed(good), server.clone()).await?;
    let begun = Instant::now();
    c.ready("good").await?;
    check(
        begun.elapsed() < Duration::from_secs(3),
        "a server that is up is ready at once",
    )?;

    c.pod(
        "tcp",
        probed(json!({"tcpSocket": {"port": 8080}})),
        server.clone(),
    )
    .await?;
    c.ready("tcp").await?;

    let missing = json!({"httpGet": {"path": "/echo?code=404", "port": 8080}, "periodSeconds": 1});
    c.pod("missing", probed(missing), server.clone()).await?;
    c.event(
        "Warning missing Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404",
    )
    .await?;
    let refused = json!({"httpGet": {"path": "/", "port": 9}, "periodSeconds": 1});
    c.pod("refused", probed(refused), server).await?;
    c.event("Warning refused Unhealthy: Readiness probe failed: Get \"http://10.88.1.")
        .await?;
    c.event(":9: connect: connection refused").await?;
    let pod = c.phase("missing", "Running").await?;
    check(!is_ready(&pod), "not ready")?;
    equal(condition(&pod, "ContainersReady"), Some("False"))
}

pub async fn liveness_restarts(c: Context) -> Outcome {
    c.pod(
        "p",
        json!({
            "command": ["sh", "-c", "touch /alive; sleep 1000"],
            "livenessProbe": {"exec": {"command": ["test", "-e", "/alive"]}, "periodSeconds": 1, "failureThreshold": 1},
        }),
        json!({"restartPolicy": "Always"}),
    )
    .await?;
    c.ready("p").await?;
    // the container may have started without having got to its first command
    c.exec("p", &["sh", "-c", "until rm /alive; do :; done"], None)
        .await?;
    let pod = c
        .until("p", "restarted", |p| {
            status(p, "c").is_some_and(|s| s.restart_count == 1)
        })
        .await?;
    let code = status(&pod, "c")
        .and_then(|s| s.last_state.clone()?.terminated)
        .map(|t| t.exit_code);
    equal(code, Some(137))?;
    c.event("Normal p Killing: Container c failed liveness probe, will be restarted")
        .await
}

pub async fn deadlines(c: Context) -> Outcome {
    c.pod("p", json!({}), json!({"activeDeadlineSeconds": 1}))
        .await?;
    let pod = c.phase("p", "Failed").await?;
    equal(
        pod.status.and_then(|s| s.reason).as_deref(),
        Some("DeadlineExceeded"),
    )?;
    c.until("p", "stopped", |p: &Pod| ended(p, "c").is_some())
        .await
        .map(|_| ())
}
