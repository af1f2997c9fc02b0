//! Which part of the API a path names.

use super::query::decode;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Discovery(Discovery),
    /// `/healthz`, `/livez`, `/readyz` and their parts.
    Health,
    Version,
    /// `/.well-known/openid-configuration`
    Issuer,
    /// `/openid/v1/jwks`
    IssuerKeys,
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v2`, which kubectl asks where version 3 does not know a kind
    OpenApiV2,
    /// `/openapi/v3/apis/GROUP/VERSION`
    OpenApi {
        group: String,
        version: String,
    },
    Resource(ResourcePath),
    /// `/`
    Root,
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    GroupVersion { group: String, version: String },
}

/// A path to objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourcePath {
    pub group: String,
    pub version: String,
    pub namespace: Option<String>,
    pub plural: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
    /// The old way to ask for a watch: `/api/v1/watch/…`.
    pub watch: bool,
    /// What follows the subresource; only proxies have that.
    pub rest: Vec<String>,
}

/// A path that no resource has: with an empty part, or a slash within one.
pub fn is_broken(path: &str) -> bool {
    let inner = path.trim_matches('/');
    path.starts_with("/api")
        && inner
            .split('/')
            .any(|part| part.is_empty() || decode(part).contains('/'))
}

impl Target {
    pub fn parse(path: &str) -> Self {
        let parts: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(decode)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [] => Self::Root,
            ["healthz" | "livez" | "readyz", ..] => Self::Health,
            ["version"] => Self::Version,
            [".well-known", "openid-configuration"] => Self::Issuer,
            ["openid", "v1", "jwks"] => Self::IssuerKeys,
            ["openapi", "v3"] => Self::OpenApiIndex,
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3", "api", version] => Self::OpenApi {
                group: String::new(),
                version: (*version).to_owned(),
            },
            ["openapi", "v3", "apis", group, version] => Self::OpenApi {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
            },
            ["api"] => Self::Discovery(Discovery::Core),
            ["apis"] => Self::Discovery(Discovery::Groups),
            ["apis", group] => Self::Discovery(Discovery::Group((*group).to_owned())),
            ["api", version, rest @ ..] => Self::in_group("", version, rest),
            ["apis", group, version, rest @ ..] => Self::in_group(group, version, rest),
            _ => Self::Nothing,
        }
    }

    fn in_group(group: &str, version: &str, rest: &[&str]) -> Self {
        if let ["watch", rest @ ..] = rest
            && !rest.is_empty()
        {
            return match Self::in_group(group, version, rest) {
                Self::Resource(path) => Self::Resource(ResourcePath {
                    watch: true,
                    ..path
                }),
                other => other,
            };
        }
        let (group, version) = (group.to_owned(), version.to_owned());
        if rest.is_empty() {
            return Self::Discovery(Discovery::GroupVersion { group, version });
        }
        // `namespaces/NAME` is the namespace itself, and so are its own subresources.
        let (namespace, rest) = match rest {
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let Some((plural, rest)) = rest.split_first() else {
            return Self::Nothing;
        };
        let mut rest = rest.iter().map(|part| (*part).to_owned());
        Self::Resource(ResourcePath {
            group,
            version,
            namespace,
            plural: (*plural).to_owned(),
            name: rest.next(),
            subresource: rest.next(),
            watch: false,
            rest: rest.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourcePath {
        match Target::parse(path) {
            Target::Resource(resource) => resource,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn namespaces_are_resources_and_scopes() {
        let one = resource("/api/v1/namespaces/x");
        assert_eq!(
            (one.namespace, one.plural.as_str(), one.name.as_deref()),
            (None, "namespaces", Some("x"))
        );
        let status = resource("/api/v1/namespaces/x/status");
        assert_eq!(
            (status.plural.as_str(), status.subresource.as_deref()),
            ("namespaces", Some("status"))
        );
        let pods = resource("/api/v1/namespaces/x/pods/p/log");
        assert_eq!(
            (
                pods.namespace.as_deref(),
                pods.plural.as_str(),
                pods.name.as_deref(),
                pods.subresource.as_deref()
            ),
            (Some("x"), "pods", Some("p"), Some("log"))
        );
    }

    #[test]
    fn groups_and_escapes() {
        let role = resource("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode");
        assert_eq!(role.name.as_deref(), Some("system:node"));
        assert_eq!(
            Target::parse("/apis/apps/v1"),
            Target::Discovery(Discovery::GroupVersion {
                group: "apps".into(),
                version: "v1".into()
            })
        );
        assert_eq!(Target::parse("/nothing/here"), Target::Nothing);
    }
}
