//! The part of a URL that a probe uses.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// `scheme://host:port/path?query`. A fragment is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// Without brackets around an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Starts with `/`.
    pub target: String,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some((other, _)) => {
                return Err(format!(
                    "`{other}://` is not supported; use http:// or https://"
                ));
            }
            None => (Scheme::Http, text),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        if let Some(odd) = rest.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!(
                "`{text}` contains {odd:?}; write it percent-encoded"
            ));
        }
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(split);
        if authority.contains('@') {
            return Err(format!(
                "`{text}` contains credentials; put them into an Authorization header"
            ));
        }
        let (host, port) = authority_of(authority, scheme)
            .ok_or_else(|| format!("`{authority}` in `{text}` is not a host and port"))?;
        Ok(Self {
            scheme,
            host,
            port,
            target: match target.chars().next() {
                Some('/') => target.to_owned(),
                _ => format!("/{target}"),
            },
        })
    }

    /// Where a `Location` header leads.
    pub fn join(&self, location: &str) -> Result<Self, String> {
        if location.contains("://") {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}{rest}", self.prefix()));
        }
        let target = if location.starts_with('/') {
            location.to_owned()
        } else {
            let path = self.target.split('?').next().unwrap_or("/");
            let directory = &path[..=path.rfind('/').unwrap_or(0)];
            format!("{directory}{location}")
        };
        Ok(Self {
            target: target.split('#').next().unwrap_or("/").to_owned(),
            ..self.clone()
        })
    }

    fn prefix(&self) -> &'static str {
        match self.scheme {
            Scheme::Http => "http://",
            Scheme::Https => "https://",
        }
    }

    /// The value of the `Host` header: the port only where it is not the default one.
    pub fn host_header(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default_port(self.scheme) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.prefix(), self.host_header(), self.target)
    }
}

fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

fn authority_of(authority: &str, scheme: Scheme) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (
            host,
            after
                .strip_prefix(':')
                .or_else(|| after.is_empty().then_some(""))?,
        )
    } else {
        authority.split_once(':').unwrap_or((authority, ""))
    };
    if host.is_empty() {
        return None;
    }
    let port = if port.is_empty() {
        default_port(scheme)
    } else {
        port.parse().ok()?
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "http://10.0.0.1:9000/hostname",
        "10.0.0.1",
        9000,
        "/hostname",
        "10.0.0.1:9000"
    )]
    #[case(
        "192.168.200.4:9000/hostname",
        "192.168.200.4",
        9000,
        "/hostname",
        "192.168.200.4:9000"
    )]
    #[case("http://[fd00::5]:80/?a=b#c", "fd00::5", 80, "/?a=b", "[fd00::5]")]
    #[case("https://db?x", "db", 443, "/?x", "db")]
    fn urls_are_taken_apart(
        #[case] text: &str,
        #[case] host: &str,
        #[case] port: u16,
        #[case] target: &str,
        #[case] header: &str,
    ) {
        let url = Url::parse(text).unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.target.as_str()),
            (host, port, target)
        );
        assert_eq!(url.host_header(), header);
    }

    #[rstest]
    #[case("ftp://a/", "not supported")]
    #[case("http://a b/", "percent-encoded")]
    #[case("http://u:p@a/", "Authorization")]
    #[case("http://:80/", "host and port")]
    #[case("http://a:99999/", "host and port")]
    #[case("http://[fd00::5/", "host and port")]
    fn broken_urls_say_what_is_wrong(#[case] text: &str, #[case] expected: &str) {
        let error = Url::parse(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[rstest]
    #[case("/echo?msg=a", "http://web:9000/echo?msg=a")]
    #[case("next", "http://web:9000/dir/next")]
    #[case("https://other/x", "https://other/x")]
    #[case("//other/x", "http://other/x")]
    fn redirects_are_joined(#[case] location: &str, #[case] expected: &str) {
        let base = Url::parse("http://web:9000/dir/page?q").unwrap();
        assert_eq!(base.join(location).unwrap().to_string(), expected);
    }
}
