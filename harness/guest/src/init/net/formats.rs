//! `network-config` in versions 1 and 2, also below a key `network`.

mod v1;
mod v2;

use std::net::IpAddr;

use serde_json::Value;

use super::config::Network;
use crate::cloud::value::{text, texts, yaml};

/// The network, and what in the text has no effect.
pub fn parse(text: &str) -> Result<(Network, Vec<String>), String> {
    let whole = yaml(text)?;
    let config = whole.get("network").unwrap_or(&whole);
    let version = config.get("version").and_then(|version| match version {
        Value::String(version) => version.parse().ok(),
        version => version.as_u64(),
    });
    let mut warnings = Vec::new();
    let network = match version {
        Some(1) => v1::parse(config, &mut warnings),
        Some(2) => v2::parse(config, &mut warnings),
        Some(other) => return Err(format!("version {other} is not one of 1 and 2")),
        None if config
            .get("config")
            .is_some_and(|config| config == "disabled") =>
        {
            Network::default()
        }
        None => return Err("it has no version; write version: 2".to_owned()),
    };
    Ok((network, warnings))
}

/// Addresses; anything else is a warning.
fn addresses(value: Option<&Value>, what: &str, warnings: &mut Vec<String>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for text in texts(value) {
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            match word.parse() {
                Ok(address) => found.push(address),
                Err(_) => warnings.push(format!("{what}: {word} is not an address")),
            }
        }
    }
    found
}

fn number(value: Option<&Value>) -> Option<u32> {
    value.and_then(text)?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
