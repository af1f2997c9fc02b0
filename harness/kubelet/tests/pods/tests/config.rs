//! ConfigMaps, Secrets, environment, volumes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::context::{container, equal, fail};
use super::{Context, Outcome};
use crate::cluster::IMAGE2;

pub async fn config_maps_change(c: Context) -> Outcome {
    c.create::<ConfigMap>(
        json!({"metadata": {"name": "web"}, "data": {"index": "old", "other": "x"}}),
    )
    .await?;
    c.pod(
        "p",
        json!({"volumeMounts": [{"name": "web", "mountPath": "/web"}]}),
        json!({"volumes": [{"name": "web", "configMap": {
            "name": "web", "defaultMode": 0o400, "items": [{"key": "index", "path": "sub/index.html"}]}}]}),
    )
    .await?;
    c.ready("p").await?;
    let (_, out, _) = c
        .exec("p", &["sh", "-c", "cat /web/sub/index.html; ls /web; stat -L -c %a /web/sub/index.html; touch /web/new || echo read-only"], None)
        .await?;
    equal(out.as_str(), "oldsub\n400\nread-only\n")?;
    // waits inside the container until the file changes
    let wait = "until grep -q new /web/sub/index.html; do :; done; cat /web/sub/index.html";
    let waiting = c.session("p", &["sh", "-c", wait], false);
    c.api::<ConfigMap>()
        .patch(
            "web",
            &PatchParams::default(),
            &Patch::Merge(json!({"data": {"index": "new"}})),
        )
        .await?;
    let (_, out, _) = waiting.finish().await?;
    equal(out.as_str(), "new")
}

pub async fn environment(c: Context) -> Outcome {
    c.create::<ConfigMap>(json!({"metadata": {"name": "settings"}, "data": {"MODE": "fast"}}))
        .await?;
    c.create::<Secret>(json!({"metadata": {"name": "db"}, "data": {"pw": "Y2hlZXNl"}}))
        .await?;
    let env = json!([
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(MODE)"},
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "pw"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]);
    c.pod(
        "p",
        json!({
            "command": ["sh", "-c", "echo $B $PW $IP $NODE $MEM $KUBERNETES_SERVICE_HOST $(A)"],
            "env": env, "envFrom": [{"configMapRef": {"name": "settings"}}],
            "resources": {"limits": {"memory": "64Mi"}},
        }),
        json!({}),
    )
    .await?;
    let pod = c.phase("p", "Succeeded").await?;
    let ip = pod.status.and_then(|s| s.pod_ip).unwrap_or_default();
    let node = pod.spec.and_then(|s| s.node_name).unwrap_or_default();
    equal(
        c.logs("p").await?,
        format!("1fast cheese {ip} {node} 64 10.96.0.1 1\n"),
    )
}

pub async fn missing_config_maps_are_waited_for(c: Context) -> Outcome {
    c.pod(
        "volume",
        json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
        json!({"volumes": [{"name": "v", "configMap": {"name": "late"}}]}),
    )
    .await?;
    c.pod(
        "env",
        json!({"envFrom": [{"configMapRef": {"name": "late"}}]}),
        json!({}),
    )
    .await?;
    c.event("Warning volume FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found")
        .await?;
    equal(
        c.waiting("env", "CreateContainerConfigError")
            .await?
            .as_str(),
        "configmap \"late\" not found",
    )?;
    c.create::<ConfigMap>(json!({"metadata": {"name": "late"}, "data": {"k": "v"}}))
        .await?;
    c.ready("volume").await?;
    c.ready("env").await?;
    Ok(())
}

pub async fn volumes_of_every_kind(c: Context) -> Outcome {
    c.create::<Secret>(json!({"metadata": {"name": "db"}, "data": {"pw": "Y2hlZXNl"}}))
        .await?;
    let script = "id -G; cat /all/pw /all/labels; echo; stat -c '%a %g' /empty; touch /empty/f && stat -c %g /empty/f; \
                  df -P /memory | tail -1 | cut -d' ' -f1; echo x > /memory/x; cat /sub/host; \
                  (echo no > /etc/nowhere) 2>/dev/null || echo read-only";
    c.create::<Pod>(json!({
        "metadata": {"name": "p", "labels": {"app": "blue"}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
            "containers": [container("c", json!({
                "command": ["sh", "-c", script],
                "securityContext": {"readOnlyRootFilesystem": true},
                "volumeMounts": [
                    {"name": "all", "mountPath": "/all"}, {"name": "empty", "mountPath": "/empty"},
                    {"name": "memory", "mountPath": "/memory"}, {"name": "host", "mountPath": "/sub", "subPath": "etc"},
                ],
            }))],
            "initContainers": [container("prepare", json!({
                "command": ["sh", "-c", "mkdir -p /host/etc; echo from-host > /host/etc/host"],
                "securityContext": {"runAsUser": 0},
                "volumeMounts": [{"name": "host", "mountPath": "/host"}],
            }))],
            "volumes": [
                {"name": "empty", "emptyDir": {}},
                {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "host", "hostPath": {"path": "/run/test-host-path", "type": "DirectoryOrCreate"}},
                {"name": "all", "projected": {"sources": [
                    {"secret": {"name": "db"}},
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                ]}},
            ],
        },
    }))
    .await?;
    c.phase("p", "Succeeded").await?;
    equal(
        c.logs("p").await?.as_str(),
        "0 2000\ncheeseapp=\"blue\"\n2777 2000\n2000\ntmpfs\nfrom-host\nread-only\n",
    )
}

pub async fn images_as_volumes(c: Context) -> Outcome {
    let mounts = json!([{"name": "disk", "mountPath": "/disk"}]);
    let script =
        "test -x /disk/bin/sh && echo files; (touch /disk/new) 2>/dev/null || echo read-only";
    c.pod(
        "p",
        json!({"command": ["sh", "-c", script], "volumeMounts": mounts}),
        json!({"volumes": [{"name": "disk", "image": {"reference": IMAGE2}}]}),
    )
    .await?;
    c.phase("p", "Succeeded").await?;
    equal(c.logs("p").await?, "files\nread-only\n".to_owned())?;
    let unknown = "registry.example/no-disk:1";
    c.pod(
        "unknown",
        json!({"volumeMounts": mounts}),
        json!({"volumes": [{"name": "disk", "image": {"reference": unknown}}]}),
    )
    .await?;
    equal(
        c.waiting("unknown", "ImagePullBackOff").await?.as_str(),
        "Back-off pulling image \"registry.example/no-disk:1\": ErrImagePull: registry.example/no-disk:1 is not in the test's catalogue",
    )?;
    c.event("Warning unknown Failed: Error: ErrImagePull").await
}

pub async fn claims_bind_with_their_first_pod(c: Context) -> Outcome {
    c.create::<PersistentVolumeClaim>(json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await?;
    c.event(
        "Normal data WaitForFirstConsumer: waiting for first consumer to be created before binding",
    )
    .await?;
    let volumes =
        json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]});
    let mounted = |script: &str| json!({"command": ["sh", "-c", script], "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    c.pod(
        "writer",
        mounted("echo lease > /data/leases"),
        volumes.clone(),
    )
    .await?;
    c.until("data", "bound", |claim: &PersistentVolumeClaim| {
        claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound")
    })
    .await?;
    let writer = c.phase("writer", "Succeeded").await?;
    c.pod("reader", mounted("cat /data/leases"), volumes)
        .await?;
    let reader = c.phase("reader", "Succeeded").await?;
    equal(c.logs("reader").await?.as_str(), "lease\n")?;
    let node = |pod: Pod| {
        pod.spec
            .and_then(|s| s.node_name)
            .ok_or_else(|| fail("no node"))
    };
    equal(node(writer)?, node(reader)?)?;
    c.pod(
        "lost",
        json!({}),
        json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "nothing"}}]}),
    )
    .await?;
    c.event("Warning lost FailedScheduling: 0/3 nodes are available: persistentvolumeclaim \"nothing\" not found.").await
}

pub async fn tokens_of_accounts(c: Context) -> Outcome {
    const LOOK: &str = "cd /var/run/secrets/kubernetes.io/serviceaccount && cat namespace && echo && ls && \
                        stat -L -c '%a %u' token && cut -d. -f2 token";
    c.pod("p", json!({}), json!({})).await?;
    c.pod(
        "own",
        json!({"securityContext": {"runAsUser": 1000}}),
        json!({}),
    )
    .await?;
    c.pod(
        "none",
        json!({}),
        json!({"automountServiceAccountToken": false}),
    )
    .await?;
    for (pod, mode_and_owner) in [("p", "644 0"), ("own", "600 1000")] {
        c.ready(pod).await?;
        let (code, out, error) = c.exec(pod, &["sh", "-c", LOOK], None).await?;
        equal((code, error.as_str()), (0, ""))?;
        let lines: Vec<&str> = out.lines().collect();
        let files = [
            c.namespace.as_str(),
            "ca.crt",
            "namespace",
            "token",
            mode_and_owner,
        ];
        equal(lines.get(..5), Some(&files[..]))?;
        // What it says, without its signature: whose token it is.
        let claims = URL_SAFE_NO_PAD.decode(lines.get(5).copied().unwrap_or_default())?;
        let claims = String::from_utf8(claims)?;
        for part in [
            format!("system:serviceaccount:{}:default", c.namespace),
            format!("\"name\":\"{pod}\""),
        ] {
            if !claims.contains(&part) {
                return Err(fail(format!("no {part} in {claims}")));
            }
        }
    }
    c.ready("none").await?;
    let (code, _, _) = c.exec("none", &["ls", "/var/run/secrets"], None).await?;
    equal(code == 0, false)
}
