//! The paths of a resource: what can be done at each.

use serde_json::{Map, Value, json};

use super::components::Components;
use super::operations::{DELETING, Flavour, LISTING, Operation, PATCHING, WRITING, content, item};
use super::{Resource, Shape, Subresource, base};
use crate::schema::Gvk;

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const RESOURCES: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";

/// Methods of connections, and the verbs that permit them.
const METHODS: [(&str, &str); 7] = [
    ("get", "get"),
    ("put", "update"),
    ("post", "create"),
    ("delete", "delete"),
    ("options", ""),
    ("head", ""),
    ("patch", "patch"),
];

/// The resource whose paths are written.
struct Paths<'a> {
    group: &'a str,
    version: &'a str,
    tag: String,
    all: &'a mut Map<String, Value>,
    components: &'a mut Components,
    gvk: Gvk,
    flavour: Flavour,
    scope: &'static str,
    object: Value,
    list: Value,
}

/// What the group version itself offers.
pub(super) fn root(
    all: &mut Map<String, Value>,
    components: &mut Components,
    group: &str,
    version: &str,
) {
    let list = components.reference(RESOURCES);
    let answers = content(Flavour::Builtin.answers(), &list);
    let operation = json!({
        "tags": [tag(group, version)],
        "operationId": format!("get{}{}APIResources", group_name(group), capitalised(version)),
        "responses": {
            "200": {"description": "OK", "content": answers}, "401": {"description": "Unauthorized"},
        },
    });
    all.insert(
        format!("/{}/", base(group, version)),
        json!({"get": operation}),
    );
}

pub(super) fn add(
    all: &mut Map<String, Value>,
    components: &mut Components,
    group: &str,
    version: &str,
    resource: &Resource,
) {
    let gvk = |kind: &str| Gvk {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
    };
    let own = gvk(&resource.kind);
    let (object, list, flavour) = match &resource.shape {
        Shape::Builtin => {
            let list = components.kind(&gvk(&format!("{}List", resource.kind)));
            (components.kind(&own), list, Flavour::Builtin)
        }
        Shape::Custom(schema) => {
            let (object, list) = components.custom(&own, schema);
            (object, list, Flavour::Custom)
        }
    };
    let mut paths = Paths {
        group,
        version,
        tag: tag(group, version),
        all,
        components,
        gvk: own,
        flavour,
        scope: if resource.namespaced {
            "Namespaced"
        } else {
            ""
        },
        object,
        list,
    };
    paths.resource(resource);
}

impl Paths<'_> {
    fn resource(&mut self, resource: &Resource) {
        let root = format!("/{}", base(self.group, self.version));
        let plural = &resource.plural;
        let (place, within): (&[&str], &str) = if resource.namespaced {
            (&["namespace"], "/namespaces/{namespace}")
        } else {
            (&[], "")
        };
        let named: Vec<&str> = place.iter().copied().chain(["name"]).collect();
        if resource.namespaced && has(&resource.verbs, "list") {
            let everywhere = self.listing("", "ForAllNamespaces");
            self.put(format!("{root}/{plural}"), &[], vec![("get", everywhere)]);
        }
        let collection = self.collection(&resource.verbs);
        let path = format!("{root}{within}/{plural}");
        self.put(path.clone(), place, collection);
        let one = self.one(resource);
        self.put(format!("{path}/{{name}}"), &named, one);
        for subresource in &resource.subresources {
            self.subresource(subresource, &format!("{path}/{{name}}"), &named);
        }
        if self.flavour == Flavour::Builtin && has(&resource.verbs, "watch") {
            if resource.namespaced {
                let everywhere = self.watching("watchlist", "", "ListForAllNamespaces");
                self.put(
                    format!("{root}/watch/{plural}"),
                    &[],
                    vec![("get", everywhere)],
                );
            }
            let path = format!("{root}/watch{within}/{plural}");
            let list = self.watching("watchlist", self.scope, "List");
            self.put(path.clone(), place, vec![("get", list)]);
            let one = self.watching("watch", self.scope, "");
            self.put(format!("{path}/{{name}}"), &named, vec![("get", one)]);
        }
    }

    fn put(&mut self, path: String, place: &[&str], operations: Vec<(&str, Operation)>) {
        if operations.is_empty() {
            return;
        }
        let operations = operations
            .into_iter()
            .map(|(method, operation)| (method.to_owned(), operation.write(&self.tag, place)))
            .collect();
        self.all.insert(path, item(operations));
    }

    /// `VERBGroupVersionScopeKindSUFFIX`
    fn id(&self, verb: &str, scope: &str, suffix: &str) -> String {
        let (group, version) = (group_name(self.group), capitalised(self.version));
        format!("{verb}{group}{version}{scope}{}{suffix}", self.gvk.kind)
    }

    fn listing(&self, scope: &str, suffix: &str) -> Operation {
        Operation {
            id: self.id("list", scope, suffix),
            action: "list",
            gvk: self.gvk.clone(),
            parameters: pretty(LISTING),
            body: None,
            answer: content(self.flavour.streams(), &self.list),
            codes: &["200"],
        }
    }

    fn watching(&mut self, action: &'static str, scope: &str, suffix: &str) -> Operation {
        let event = self.components.reference(WATCH_EVENT);
        Operation {
            id: self.id("watch", scope, suffix),
            action,
            answer: content(self.flavour.streams(), &event),
            ..self.listing(scope, suffix)
        }
    }

    fn collection(&mut self, verbs: &[String]) -> Vec<(&'static str, Operation)> {
        let mut operations = Vec::new();
        if has(verbs, "list") {
            operations.push(("get", self.listing(self.scope, "")));
        }
        if has(verbs, "create") {
            let object = self.object.clone();
            let gvk = self.gvk.clone();
            operations.push(("post", self.creation(gvk, &object, "")));
        }
        if has(verbs, "deletecollection") {
            let status = self.components.reference(STATUS);
            let options = self.components.reference(DELETE_OPTIONS);
            let (parameters, body) = match self.flavour {
                Flavour::Builtin => {
                    let listing = LISTING
                        .iter()
                        .filter(|name| !matches!(**name, "allowWatchBookmarks" | "watch"));
                    let names: Vec<&'static str> =
                        DELETING.iter().chain(listing).copied().collect();
                    (names, Some(self.flavour.optional_body(&options)))
                }
                Flavour::Custom => (LISTING.to_vec(), None),
            };
            let operation = Operation {
                id: self.id("delete", &format!("Collection{}", self.scope), ""),
                action: "deletecollection",
                gvk: self.gvk.clone(),
                parameters: pretty(&parameters),
                body,
                answer: content(self.flavour.answers(), &status),
                codes: &["200"],
            };
            operations.push(("delete", operation));
        }
        operations
    }

    fn creation(&self, gvk: Gvk, object: &Value, suffix: &str) -> Operation {
        Operation {
            id: self.id("create", self.scope, suffix),
            action: "post",
            gvk,
            parameters: pretty(WRITING),
            body: Some(self.flavour.body(object)),
            answer: content(self.flavour.answers(), object),
            codes: &["200", "201", "202"],
        }
    }

    fn one(&mut self, resource: &Resource) -> Vec<(&'static str, Operation)> {
        let (gvk, object) = (self.gvk.clone(), self.object.clone());
        let mut operations = self.views(&resource.verbs, &gvk, &object, "");
        if has(&resource.verbs, "delete") {
            let options = self.components.reference(DELETE_OPTIONS);
            let answer = if resource.returns_deleted {
                object
            } else {
                self.components.reference(STATUS)
            };
            let operation = Operation {
                id: self.id("delete", self.scope, ""),
                action: "delete",
                gvk,
                parameters: pretty(DELETING),
                body: Some(self.flavour.optional_body(&options)),
                answer: content(self.flavour.answers(), &answer),
                codes: &["200", "202"],
            };
            operations.push(("delete", operation));
        }
        operations
    }

    /// Reading, replacing and patching of an object or of a part of it.
    fn views(
        &mut self,
        verbs: &[String],
        gvk: &Gvk,
        object: &Value,
        suffix: &str,
    ) -> Vec<(&'static str, Operation)> {
        let patch = if has(verbs, "patch") {
            self.components.reference(PATCH)
        } else {
            Value::Null
        };
        let custom = self.flavour == Flavour::Custom;
        let reading: &[&str] = if custom { &["resourceVersion"] } else { &[] };
        let patched: &[&str] = if custom { &["200"] } else { &["200", "201"] };
        let offered: [(&str, _, _, _, &[&'static str], _, &'static [&str]); 3] = [
            ("get", "get", "get", "read", reading, None, &["200"]),
            (
                "update",
                "put",
                "put",
                "replace",
                WRITING,
                Some(self.flavour.body(object)),
                &["200", "201"],
            ),
            (
                "patch",
                "patch",
                "patch",
                "patch",
                PATCHING,
                Some(self.flavour.patch(&patch)),
                patched,
            ),
        ];
        offered
            .into_iter()
            .filter(|(verb, ..)| has(verbs, verb))
            .map(|(_, method, action, name, parameters, body, codes)| {
                let operation = Operation {
                    id: self.id(name, self.scope, suffix),
                    action,
                    gvk: gvk.clone(),
                    parameters: pretty(parameters),
                    body,
                    answer: content(self.flavour.answers(), object),
                    codes,
                };
                (method, operation)
            })
            .collect()
    }

    fn subresource(&mut self, subresource: &Subresource, parent: &str, named: &[&str]) {
        let or = |own: &Option<String>, parents: &str| own.clone().unwrap_or(parents.to_owned());
        let gvk = Gvk {
            group: or(&subresource.group, self.group),
            version: or(&subresource.version, self.version),
            kind: subresource.kind.clone(),
        };
        let path = format!("{parent}/{}", subresource.name);
        let suffix = capitalised(&subresource.name);
        if let Some(options) = connection(&subresource.name) {
            let operations = self.connections(subresource, &gvk, options, &suffix);
            self.put(path.clone(), named, operations);
            if subresource.name == "proxy" {
                let within: Vec<&str> = named.iter().copied().chain(["path"]).collect();
                let suffix = format!("{suffix}WithPath");
                let operations = self.connections(subresource, &gvk, options, &suffix);
                self.put(format!("{path}/{{path}}"), &within, operations);
            }
            return;
        }
        let object = if gvk == self.gvk {
            self.object.clone()
        } else {
            self.components.kind(&gvk)
        };
        let shown = match self.flavour {
            Flavour::Builtin => &gvk,
            // Whoever reads these finds the definition's own kind.
            Flavour::Custom => &self.gvk.clone(),
        };
        let mut operations = self.views(&subresource.verbs, shown, &object, &suffix);
        if has(&subresource.verbs, "create") {
            operations.push(("post", self.creation(gvk, &object, &suffix)));
        }
        if subresource.name == "log"
            && let Some((_, log)) = operations.first_mut()
        {
            log.parameters = pretty(&[
                "container",
                "follow",
                "insecureSkipTLSVerifyBackend",
                "limitBytes",
                "previous",
                "sinceSeconds",
                "stream",
                "tailLines",
                "timestamps",
            ]);
            let media = [self.flavour.answers(), &["text/plain"]].concat();
            log.answer = content(&media, &json!({"type": "string"}));
        }
        self.put(path, named, operations);
    }

    fn connections(
        &self,
        subresource: &Subresource,
        gvk: &Gvk,
        options: &[&'static str],
        suffix: &str,
    ) -> Vec<(&'static str, Operation)> {
        let proxy = subresource.name == "proxy";
        METHODS
            .into_iter()
            .filter(|(_, verb)| has(&subresource.verbs, verb) || (proxy && verb.is_empty()))
            .map(|(method, _)| {
                let verb = format!(
                    "connect{}{}",
                    group_name(self.group),
                    capitalised(self.version)
                );
                let operation = Operation {
                    id: format!(
                        "{verb}{}{}{}{suffix}",
                        capitalised(method),
                        self.scope,
                        self.gvk.kind
                    ),
                    action: "connect",
                    gvk: gvk.clone(),
                    parameters: options.to_vec(),
                    body: None,
                    answer: content(&["*/*"], &json!({"type": "string"})),
                    codes: &["200"],
                };
                (method, operation)
            })
            .collect()
    }
}

/// The options of a subresource that is a connection.
fn connection(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "attach" => &["container", "stderr", "stdin", "stdout", "tty"],
        "exec" => &["command", "container", "stderr", "stdin", "stdout", "tty"],
        "portforward" => &["ports"],
        "proxy" => &["path"],
        _ => return None,
    })
}

fn pretty(parameters: &[&'static str]) -> Vec<&'static str> {
    parameters.iter().copied().chain(["pretty"]).collect()
}

fn has(verbs: &[String], verb: &str) -> bool {
    verbs.iter().any(|v| v == verb)
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// `Core`, `Apps`, `RbacAuthorization`: the group without `k8s.io`, dots as capitals.
fn group_name(group: &str) -> String {
    if group.is_empty() {
        return "Core".to_owned();
    }
    group
        .strip_suffix(".k8s.io")
        .unwrap_or(group)
        .split('.')
        .map(capitalised)
        .collect()
}

fn tag(group: &str, version: &str) -> String {
    let name = group_name(group);
    let mut chars = name.chars();
    let name: String = chars
        .next()
        .into_iter()
        .flat_map(char::to_lowercase)
        .chain(chars)
        .collect();
    format!("{name}_{version}")
}
