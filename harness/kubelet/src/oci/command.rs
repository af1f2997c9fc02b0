//! What a container runs.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Container;
use trunkline_userland::Image;

use super::ConfigError;
use super::env::expand;

/// `command` replaces the image's entry point and, alone, its arguments too; `args` only the arguments.
pub(crate) fn command(
    container: &Container,
    image: &Image,
    vars: &HashMap<&str, &str>,
) -> Result<Vec<String>, ConfigError> {
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words
            .iter()
            .flatten()
            .map(|word| expand(word, vars))
            .collect()
    };
    let command = expanded(&container.command);
    let args = expanded(&container.args);
    let words: Vec<String> = match (command.is_empty(), args.is_empty()) {
        (false, _) => command.into_iter().chain(args).collect(),
        (true, false) => image
            .config
            .entrypoint
            .iter()
            .cloned()
            .chain(args)
            .collect(),
        (true, true) => [&image.config.entrypoint[..], &image.config.cmd[..]].concat(),
    };
    if words.is_empty() {
        return Err(ConfigError("no command specified".to_owned()));
    }
    Ok(words)
}

pub(crate) fn working_dir(container: &Container, image: &Image) -> String {
    [
        container.working_dir.as_deref(),
        Some(image.config.working_dir.as_str()),
    ]
    .into_iter()
    .flatten()
    .find(|dir| !dir.is_empty())
    .unwrap_or("/")
    .to_owned()
}

pub(crate) fn termination_message_path(container: &Container) -> &str {
    match container.termination_message_path.as_deref() {
        None | Some("") => "/dev/termination-log",
        Some(path) => path,
    }
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image's variables, and those that every process expects, unless the container sets them.
pub(super) fn add_defaults(
    env: &mut Vec<(String, String)>,
    image: &Image,
    home: &str,
    hostname: &str,
    tty: bool,
) {
    let mut defaults: Vec<(String, String)> = image
        .config
        .env
        .iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let mut fallback = |name: &str, value: &str| {
        if !defaults.iter().any(|(n, _)| n == name) {
            defaults.push((name.to_owned(), value.to_owned()));
        }
    };
    fallback("PATH", DEFAULT_PATH);
    fallback("HOSTNAME", hostname);
    fallback("HOME", home);
    if tty {
        fallback("TERM", "xterm");
    }
    defaults.retain(|(name, _)| !env.iter().any(|(n, _)| n == name));
    defaults.append(env);
    *env = defaults;
}
