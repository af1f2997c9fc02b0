//! Packages that the configuration asks for, and those that the image has.

use serde_json::Value;

use super::value::text;

/// Fedora's names for packages that Debian calls otherwise.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("bind-utils", "bind9-dnsutils"),
    ("iproute", "iproute2"),
    ("iputils", "iputils-ping"),
    ("nc", "netcat-openbsd"),
    ("ncat", "netcat-openbsd"),
    ("nmap-ncat", "netcat-openbsd"),
    ("openssh-clients", "openssh-client"),
    ("postgresql", "postgresql-client"),
    ("procps-ng", "procps"),
    ("shadow-utils", "passwd"),
    ("vim-minimal", "vim-tiny"),
    ("which", "debianutils"),
];

/// The names in `packages`, which may carry a version or be grouped by package manager.
pub fn wanted(packages: &[&Value]) -> Vec<String> {
    let mut names = Vec::new();
    for entry in packages {
        match entry {
            Value::Array(parts) => names.extend(parts.first().and_then(text)),
            Value::Object(managers) => {
                for value in managers.values() {
                    let inner: Vec<&Value> = value.as_array().into_iter().flatten().collect();
                    names.extend(wanted(&inner));
                }
            }
            other => names.extend(text(other)),
        }
    }
    names
}

/// Every name a package in dpkg's status answers to.
pub fn present(status: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for stanza in status.split("\n\n") {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        // Unpacked is enough: nothing is configured in an image that was put together at rest.
        let there = field("Status").is_none_or(|status| status.starts_with("install "));
        if let (true, Some(package)) = (there, field("Package")) {
            names.push(package);
            for provided in field("Provides").unwrap_or_default().split(',') {
                names.extend(provided.split_whitespace().next());
            }
        }
    }
    names
}

/// Those of `wanted` that the image does not have.
pub fn missing<'a>(wanted: &'a [String], present: &[&str]) -> Vec<&'a str> {
    let has = |name: &str| {
        let exact = present.contains(&name);
        exact
            || present
                .iter()
                .any(|package| without_version(package) == name)
    };
    wanted
        .iter()
        .map(String::as_str)
        .filter(|name| {
            let other = OTHER_NAMES
                .iter()
                .find(|(fedora, _)| fedora == name)
                .is_some_and(|(_, debian)| has(debian));
            !other && !has(name)
        })
        .collect()
}

/// `postgresql-client-17` is asked for without its number, `nginx-light` without its size.
fn without_version(package: &str) -> &str {
    match package.rsplit_once('-') {
        Some((name, last))
            if last.bytes().all(|byte| byte.is_ascii_digit())
                || last == "light"
                || last == "tiny" =>
        {
            name
        }
        _ => package,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STATUS: &str = "Package: nginx-light\nStatus: install ok unpacked\nProvides: httpd, nginx (= 1.26)\n\nPackage: iproute2\nStatus: install ok installed\n\nPackage: gone\nStatus: deinstall ok config-files\n\nPackage: postgresql-client-17\nStatus: install ok unpacked\n";

    #[test]
    fn packages_of_the_image() {
        assert_eq!(
            present(STATUS),
            [
                "nginx-light",
                "httpd",
                "nginx",
                "iproute2",
                "postgresql-client-17"
            ]
        );
    }

    #[test]
    fn packages_present_and_absent() {
        let values = [
            json!("nginx"),
            json!(["iproute2", "6.1"]),
            json!({"apt": ["httpd"], "dnf": ["iproute"]}),
            json!("postgresql"),
            json!("gone"),
            json!("htop"),
        ];
        let values: Vec<&Value> = values.iter().collect();
        let names = wanted(&values);
        assert_eq!(
            names,
            [
                "nginx",
                "iproute2",
                "httpd",
                "iproute",
                "postgresql",
                "gone",
                "htop"
            ]
        );
        assert_eq!(missing(&names, &present(STATUS)), ["gone", "htop"]);
    }
}
