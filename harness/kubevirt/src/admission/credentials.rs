//! Whether keys and passwords from Secrets have one source and one way into the guest.

use serde_json::Value;

use super::causes::{Causes, Path};
use crate::types::VirtualMachineInstanceSpec;

pub(super) fn validate(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    let no_cloud = spec
        .volumes
        .iter()
        .any(|volume| volume.cloud_init_no_cloud.is_some());
    let drive = spec
        .volumes
        .iter()
        .any(|volume| volume.cloud_init_config_drive.is_some());
    let credentials = spec
        .other
        .get("accessCredentials")
        .and_then(Value::as_array);
    for (index, credential) in credentials.into_iter().flatten().enumerate() {
        let path = field.index(index);
        if let Some(key) = credential.get("sshPublicKey") {
            let path_key = path.child("sshPublicKey");
            let method = &key["propagationMethod"];
            let way = path_key.child("propagationMethod");
            for (name, volume, there) in [
                ("noCloud", "noCloud", no_cloud),
                ("configDrive", "configDrive", drive),
            ] {
                if method.get(name).is_some() && !there {
                    causes.invalid(
                        &way,
                        format!(
                            "{path} requires a {volume} volume to exist when the {name} propagationMethod is in use."
                        ),
                    );
                }
            }
            let users = method.get("qemuGuestAgent").map(|agent| &agent["users"]);
            if users.is_some_and(|users| users.as_array().is_none_or(Vec::is_empty)) {
                causes.invalid(
                    &way.child("qemuGuestAgent.users"),
                    format!("{path} requires at least one user to be present in the users list"),
                );
            }
            one_each(
                causes,
                &path,
                &path_key,
                key,
                &["noCloud", "configDrive", "qemuGuestAgent"],
            );
        }
        if let Some(password) = credential.get("userPassword") {
            one_each(
                causes,
                &path,
                &path.child("userPassword"),
                password,
                &["qemuGuestAgent"],
            );
        }
        let kinds = ["sshPublicKey", "userPassword"];
        if kinds
            .iter()
            .filter(|kind| credential.get(**kind).is_some())
            .count()
            != 1
        {
            causes.invalid(
                &path,
                format!("{path} must have exactly one access credential type set"),
            );
        }
    }
}

fn one_each(causes: &mut Causes, path: &Path, inner: &Path, credential: &Value, methods: &[&str]) {
    if credential["source"].get("secret").is_none() {
        causes.invalid(
            &inner.child("source"),
            format!("{path} must have exactly one source set"),
        );
    }
    let method = &credential["propagationMethod"];
    if methods
        .iter()
        .filter(|name| method.get(**name).is_some())
        .count()
        != 1
    {
        causes.invalid(
            &inner.child("propagationMethod"),
            format!("{path} must have exactly one propagationMethod set"),
        );
    }
}
