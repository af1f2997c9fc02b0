//! Whole configurations from pods, and the pieces with many cases.
#![allow(clippy::needless_pass_by_value)] // literals read best by value

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use rstest::rstest;
use serde_json::json;
use trunkline_userland::{Image, ImageConfig};

use super::*;
use crate::quantity::Milli;

fn image() -> Image {
    Image {
        reference: "agnhost".to_owned(),
        digest: "sha256:0".to_owned(),
        layers: vec![PathBuf::from("/cache/layer")],
        config: ImageConfig {
            entrypoint: vec!["/agnhost".to_owned()],
            cmd: vec!["pause".to_owned()],
            env: vec!["PATH=/bin".to_owned(), "LANG=C".to_owned()],
            ..ImageConfig::default()
        },
    }
}

fn pod(container: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "podclient", "namespace": "tenantblue", "uid": "0-1", "labels": {"app": "blue"}},
        "spec": {"containers": [container]},
    }))
    .unwrap()
}

fn facts() -> Facts {
    Facts {
        node_name: "lab-worker".to_owned(),
        host_ip: "172.18.0.3".to_owned(),
        pod_ips: vec!["10.244.1.5".to_owned(), "fd00::5".to_owned()],
        allocatable_cpu: Milli(2_000),
        allocatable_memory: Milli::parse("1Gi").unwrap(),
    }
}

fn all_capabilities() -> Capabilities {
    ["CHOWN", "KILL", "NET_RAW", "NET_ADMIN", "SYS_ADMIN"]
        .map(|c| format!("CAP_{c}"))
        .into_iter()
        .collect()
}

fn spec_of(pod: &Pod, image: &Image) -> Result<Spec, ConfigError> {
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let env = container_env(pod, container, &EnvSources::default(), &facts())?;
    let databases = Databases {
        passwd: "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n".to_owned(),
        group: "root:x:0:\nlog:x:4:web\n".to_owned(),
    };
    configure(Inputs {
        pod,
        container,
        image,
        env,
        hostname: "podclient",
        namespaces: &SharedNamespaces {
            network: "/run/netns/a".into(),
            ipc: "/proc/1/fd/3".into(),
            uts: "/proc/1/fd/4".into(),
        },
        mounts: vec![file_mount(Path::new("/run/hosts"), "/etc/hosts", false)],
        databases: &databases,
        rootfs: Path::new("/run/rootfs"),
        available: &all_capabilities(),
        tty_group: true,
    })
}

#[test]
fn the_fosdem_pod() {
    let pod = pod(json!({
        "name": "http-server",
        "image": "k8s.gcr.io/e2e-test-images/agnhost:2.36",
        "args": ["netexec", "--http-port", "9000"],
        "securityContext": {
            "runAsUser": 1000, "privileged": false, "seccompProfile": {"type": "RuntimeDefault"},
            "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
        },
    }));
    let mut spec = spec_of(&pod, &image()).unwrap();
    let seccomp = spec
        .linux
        .seccomp
        .take()
        .expect("RuntimeDefault is a real profile");
    insta::assert_json_snapshot!("fosdem_pod", spec);
    insta::assert_json_snapshot!("runtime_default", seccomp);
}

#[test]
fn a_privileged_pod_gets_what_there_is() {
    let pod = pod(json!({
        "name": "c", "image": "i", "tty": true,
        "securityContext": {"privileged": true, "seccompProfile": {"type": "RuntimeDefault"}},
    }));
    let spec = spec_of(&pod, &image()).unwrap();
    assert_eq!(spec.process.capabilities.bounding.len(), 5);
    assert!(spec.linux.seccomp.is_none());
    assert!(spec.linux.masked_paths.is_empty());
    assert!(spec.process.terminal);
    assert!(spec.process.env.contains(&"TERM=xterm".to_owned()));
}

#[rstest]
#[case(json!({}), "", 0, 0, "HOME=/root")]
#[case(json!({}), "web", 33, 34, "HOME=/srv")]
#[case(json!({}), "33:log", 33, 4, "HOME=/srv")]
#[case(json!({}), "7:8", 7, 8, "HOME=/")]
#[case(json!({"runAsUser": 1000}), "web", 1000, 0, "HOME=/")]
#[case(json!({"runAsUser": 33, "runAsGroup": 9}), "", 33, 9, "HOME=/srv")]
fn users(
    #[case] security: serde_json::Value,
    #[case] image_user: &str,
    #[case] uid: u32,
    #[case] gid: u32,
    #[case] home: &str,
) {
    let mut image = image();
    image.config.user = image_user.to_owned();
    let pod = pod(json!({"name": "c", "securityContext": security}));
    let process = spec_of(&pod, &image).unwrap().process;
    assert_eq!((process.user.uid, process.user.gid), (uid, gid));
    assert!(process.env.contains(&home.to_owned()), "{:?}", process.env);
}

#[rstest]
#[case(json!({"runAsUser": 0}), "", "container's runAsUser breaks non-root policy")]
#[case(json!({}), "", "container has runAsNonRoot and image will run as root")]
#[case(json!({}), "0", "container has runAsNonRoot and image will run as root")]
#[case(json!({}), "web", "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root")]
fn non_root_is_verified(
    #[case] mut security: serde_json::Value,
    #[case] image_user: &str,
    #[case] start: &str,
) {
    let mut image = image();
    image.config.user = image_user.to_owned();
    security["runAsNonRoot"] = json!(true);
    let pod = pod(json!({"name": "c", "securityContext": security}));
    let error = spec_of(&pod, &image).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(r#"{start} (pod: "podclient_tenantblue(0-1)", container: c)"#)
    );
}

#[test]
fn supplemental_groups_add_up() {
    let mut pod = pod(json!({"name": "c", "securityContext": {"runAsUser": 33}}));
    pod.spec.as_mut().unwrap().security_context =
        serde_json::from_value(json!({"supplementalGroups": [7, 4], "fsGroup": 2000})).unwrap();
    let process = spec_of(&pod, &image()).unwrap().process;
    assert_eq!(process.user.additional_gids, [4, 7, 2000]);
}

#[rstest]
#[case(json!({"drop": ["ALL"], "add": ["NET_RAW"]}), &["CAP_NET_RAW"])]
#[case(json!({"add": ["NET_ADMIN", "SYS_TIME"]}), &["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_NET_RAW"])]
#[case(json!({"add": ["ALL"], "drop": ["CAP_KILL"]}), &["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"])]
fn capabilities_stay_within_what_we_have(
    #[case] wanted: serde_json::Value,
    #[case] expected: &[&str],
) {
    let pod = pod(json!({"name": "c", "securityContext": {"capabilities": wanted}}));
    let process = spec_of(&pod, &image()).unwrap().process;
    assert_eq!(process.capabilities.effective, expected);
}

#[rstest]
#[case(json!({}), &["/agnhost", "pause"])]
#[case(json!({"args": ["netexec"]}), &["/agnhost", "netexec"])]
#[case(json!({"command": ["sh"]}), &["sh"])]
#[case(json!({"command": ["echo", "$(A)"], "args": ["$$(A)", "$(B)"], "env": [{"name": "A", "value": "1"}]}), &["echo", "1", "$(A)", "$(B)"])]
fn commands(#[case] mut container: serde_json::Value, #[case] expected: &[&str]) {
    container["name"] = json!("c");
    let process = spec_of(&pod(container), &image()).unwrap().process;
    assert_eq!(process.args, expected);
}

#[test]
fn environment_from_everywhere() {
    let pod = pod(json!({
        "name": "c",
        "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}},
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "none", "optional": true}}],
        "env": [
            {"name": "FIRST", "value": "1"},
            {"name": "SECOND", "value": "$(FIRST)2 $(P_mode) $(DB_SERVICE_HOST) $(NONE)"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
            {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "pw"}}},
            {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "db", "key": "gone", "optional": true}}},
        ],
    }));
    let settings: ConfigMap = serde_json::from_value(json!({"data": {"mode": "fast"}})).unwrap();
    let db: Secret = serde_json::from_value(json!({"data": {"pw": "Y2hlZXNl"}})).unwrap();
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "db"}, "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 5432, "name": "pg"}]}
    }))
    .unwrap();
    let sources = EnvSources {
        config_maps: [("settings".to_owned(), Some(settings))].into(),
        secrets: [("db".to_owned(), Some(db)), ("none".to_owned(), None)].into(),
        services: vec![service],
    };
    let env = container_env(
        &pod,
        &pod.spec.as_ref().unwrap().containers[0],
        &sources,
        &facts(),
    )
    .unwrap();
    let lines: Vec<_> = env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    insta::assert_json_snapshot!("environment", lines);
}

#[rstest]
#[case(json!({"configMapKeyRef": {"name": "no", "key": "k"}}), r#"configmap "no" not found"#)]
#[case(json!({"configMapKeyRef": {"name": "settings", "key": "k"}}), "couldn't find key k in ConfigMap tenantblue/settings")]
#[case(json!({"secretKeyRef": {"name": "no", "key": "k"}}), r#"secret "no" not found"#)]
#[case(json!({"fieldRef": {"fieldPath": "spec.color"}}), "unsupported fieldPath: spec.color")]
fn missing_sources_are_named(#[case] source: serde_json::Value, #[case] message: &str) {
    let pod = pod(json!({"name": "c", "env": [{"name": "A", "valueFrom": source}]}));
    let sources = EnvSources {
        config_maps: [("settings".to_owned(), Some(ConfigMap::default()))].into(),
        ..EnvSources::default()
    };
    let error = container_env(
        &pod,
        &pod.spec.as_ref().unwrap().containers[0],
        &sources,
        &facts(),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), message);
}
