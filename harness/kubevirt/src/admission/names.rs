//! Rules of Kubernetes for names, in its words.

const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with `name` as a DNS label.
pub(super) fn label(name: &str) -> Vec<String> {
    rules(name, 63, is_label(name), LABEL_RULE)
}

/// What is wrong with `name` as a DNS subdomain.
pub(super) fn subdomain(name: &str) -> Vec<String> {
    rules(name, 253, name.split('.').all(is_label), SUBDOMAIN_RULE)
}

fn rules(name: &str, longest: usize, formed: bool, rule: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > longest {
        errors.push(format!("must be no more than {longest} characters"));
    }
    if !formed {
        errors.push(rule.to_owned());
    }
    errors
}

fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edge = |byte: Option<u8>| byte.is_some_and(inner);
    edge(name.bytes().next())
        && edge(name.bytes().last())
        && name.bytes().all(|byte| inner(byte) || byte == b'-')
}

/// Whether `name` can be a port's.
pub(super) fn is_port_name(name: &str) -> bool {
    name.len() <= 15
        && is_label(name)
        && !name.contains("--")
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Whether `name` matches `pattern`, where `*` stands for anything.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len()).any(|at| name.is_char_boundary(at) && matches(rest, &name[at..]))
        }),
    }
}

/// An address on PCI such as `0000:01:00.0`.
pub(super) fn is_pci_address(text: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let Some((rest, function)) = text.split_once('.') else {
        return false;
    };
    let parts: Vec<&str> = rest.split(':').collect();
    matches!(parts[..], [domain, bus, slot]
        if hex(domain, 4) && hex(bus, 2) && hex(slot, 2) && slot.as_bytes()[0] <= b'1')
        && function.len() == 1
        && (b'0'..=b'7').contains(&function.as_bytes()[0])
}

/// What is wrong with `text` as a MAC address, as Go's parser sees it.
pub(super) fn mac_error(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let separated = |separator: char, digits: usize, groups: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        groups.contains(&parts.len())
            && parts.iter().all(|part| {
                part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
    };
    let bytes = [6, 8, 20];
    let pairs = [3, 4, 10];
    if !separated(':', 2, &bytes) && !separated('-', 2, &bytes) && !separated('.', 4, &pairs) {
        return Some(format!("malformed MAC address ({text})"));
    }
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    (digits > 12).then(|| format!("too long MAC address ({text})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_judged_as_go_does() {
        for good in [
            "",
            "02:00:00:00:00:01",
            "02-00-00-00-00-01",
            "0200.0000.0001",
        ] {
            assert_eq!(mac_error(good), None, "{good}");
        }
        assert_eq!(
            mac_error("de:ad:00:00:be").unwrap(),
            "malformed MAC address (de:ad:00:00:be)"
        );
        assert_eq!(
            mac_error("02:00:00:00:00:00:00:01").unwrap(),
            "too long MAC address (02:00:00:00:00:00:00:01)"
        );
    }

    #[test]
    fn patterns_names_and_pci_addresses() {
        assert!(matches("pc-q35*", "pc-q35-10.0"));
        assert!(!matches("q35*", "pc-i440fx"));
        assert!(is_port_name("http") && !is_port_name("80") && !is_port_name("a--b"));
        assert!(is_pci_address("0000:1f:00.7") && !is_pci_address("0000:00:2f.0"));
        assert_eq!(label("Web").len(), 1);
    }
}
