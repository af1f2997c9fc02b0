//! Credentials that `docker login` has stored.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    /// `user:password`, base64.
    auth: Option<String>,
}

/// From `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`. Credential helpers are not asked.
pub fn stored(registry: &str) -> RegistryAuth {
    let directory = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    directory
        .and_then(|directory| std::fs::read(directory.join("config.json")).ok())
        .and_then(|text| in_config(&text, registry))
        .unwrap_or(RegistryAuth::Anonymous)
}

fn in_config(text: &[u8], registry: &str) -> Option<RegistryAuth> {
    let config: Config = serde_json::from_slice(text).ok()?;
    let names = match registry {
        "docker.io" | "index.docker.io" => &["https://index.docker.io/v1/", "docker.io"][..],
        _ => &[registry],
    };
    let auth = names.iter().find_map(|name| config.auths.get(*name))?;
    let plain = STANDARD.decode(auth.auth.as_ref()?).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_registry() {
        let config = br#"{"auths": {"registry.test:5000": {"auth": "bWU6c2VjcmV0"}, "other": {}}}"#;
        let Some(RegistryAuth::Basic(user, password)) = in_config(config, "registry.test:5000")
        else {
            panic!("not found");
        };
        assert_eq!((user.as_str(), password.as_str()), ("me", "secret"));
        assert!(in_config(config, "other").is_none());
        assert!(in_config(config, "third").is_none());
    }
}
