//! The path items of a resource: what can be done to it, and with which parameters.

use serde_json::{Map, Value, json};

use super::components::Components;
use super::{Resource, Shape, Subresource, base};
use crate::schema::Gvk;

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

const LISTING: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITING: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCHING: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETING: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];

/// What an operation takes and gives.
struct Bodies {
    object: Value,
    list: Value,
    /// Custom resources know no strategic merge patch.
    strategic: bool,
}

struct Operation<'a> {
    /// As in `x-kubernetes-action`.
    action: &'a str,
    /// The verb in the operation's id (`read`, `replace`).
    name: &'a str,
    parameters: &'a [&'a str],
    request: Option<Value>,
    response: &'a Value,
    created: bool,
}

struct Paths<'a> {
    group: &'a str,
    version: &'a str,
    all: &'a mut Map<String, Value>,
    components: &'a mut Components,
}

pub(super) fn add(
    all: &mut Map<String, Value>,
    components: &mut Components,
    group: &str,
    version: &str,
    resource: &Resource,
) {
    let mut paths = Paths {
        group,
        version,
        all,
        components,
    };
    paths.resource(resource);
}

impl Paths<'_> {
    fn gvk(&self, kind: &str) -> Gvk {
        Gvk {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    fn resource(&mut self, resource: &Resource) {
        let gvk = self.gvk(&resource.kind);
        let bodies = match &resource.shape {
            Shape::Builtin => Bodies {
                object: self.components.kind(&gvk),
                list: self
                    .components
                    .kind(&self.gvk(&format!("{}List", gvk.kind))),
                strategic: true,
            },
            Shape::Custom(schema) => {
                let (object, list) = self.components.custom(&gvk, schema);
                Bodies {
                    object,
                    list,
                    strategic: false,
                }
            }
        };
        let root = format!("/{}", base(self.group, self.version));
        let scope = if resource.namespaced {
            "Namespaced"
        } else {
            ""
        };
        let collection = if resource.namespaced {
            format!("{root}/namespaces/{{namespace}}/{}", resource.plural)
        } else {
            format!("{root}/{}", resource.plural)
        };
        let verbs = &resource.verbs;
        if resource.namespaced && has(verbs, "list") {
            let item = self.list(&gvk, "", "ForAllNamespaces", &bodies);
            self.put(
                format!("{root}/{}", resource.plural),
                json!({"get": item}),
                &[],
            );
        }
        let place: &[&str] = if resource.namespaced {
            &["namespace"]
        } else {
            &[]
        };
        let item = self.collection(verbs, &gvk, scope, &bodies);
        self.put(collection.clone(), item, place);
        let one = format!("{collection}/{{name}}");
        let named: Vec<&str> = ["name"].iter().chain(place).copied().collect();
        let item = self.item(verbs, &gvk, &gvk, scope, "", &bodies);
        self.put(one.clone(), item, &named);
        for subresource in &resource.subresources {
            self.subresource(subresource, &one, scope, &gvk, &bodies, &named);
        }
    }

    fn subresource(
        &mut self,
        subresource: &Subresource,
        parent: &str,
        scope: &str,
        parent_kind: &Gvk,
        parent_bodies: &Bodies,
        named: &[&str],
    ) {
        let own = Gvk {
            group: subresource
                .group
                .clone()
                .unwrap_or_else(|| self.group.to_owned()),
            version: subresource
                .version
                .clone()
                .unwrap_or_else(|| self.version.to_owned()),
            kind: subresource.kind.clone(),
        };
        let object = if own == *parent_kind {
            parent_bodies.object.clone()
        } else {
            self.components.kind(&own)
        };
        let bodies = Bodies {
            list: object.clone(),
            object,
            strategic: parent_bodies.strategic,
        };
        let item = self.item(
            &subresource.verbs,
            &own,
            parent_kind,
            scope,
            &capitalised(&subresource.name),
            &bodies,
        );
        self.put(format!("{parent}/{}", subresource.name), item, named);
    }

    fn put(&mut self, path: String, mut item: Value, place: &[&str]) {
        if item.as_object().is_none_or(Map::is_empty) {
            return;
        }
        let mut parameters: Vec<Value> = place
            .iter()
            .map(|name| {
                json!({"in": "path", "name": name, "required": true, "schema": {"type": "string", "uniqueItems": true}})
            })
            .collect();
        parameters.push(parameter("pretty"));
        item["parameters"] = parameters.into();
        self.all.insert(path, item);
    }

    fn list(&mut self, gvk: &Gvk, scope: &str, suffix: &str, bodies: &Bodies) -> Value {
        let operation = Operation {
            action: "list",
            name: "list",
            parameters: LISTING,
            request: None,
            response: &bodies.list,
            created: false,
        };
        self.operation(gvk, gvk, scope, suffix, &operation)
    }

    fn collection(&mut self, verbs: &[String], gvk: &Gvk, scope: &str, bodies: &Bodies) -> Value {
        let mut item = Map::new();
        if has(verbs, "list") {
            item.insert("get".into(), self.list(gvk, scope, "", bodies));
        }
        if has(verbs, "create") {
            let operation = Operation {
                action: "post",
                name: "create",
                parameters: WRITING,
                request: Some(bodies.object.clone()),
                response: &bodies.object,
                created: true,
            };
            item.insert(
                "post".into(),
                self.operation(gvk, gvk, scope, "", &operation),
            );
        }
        if has(verbs, "deletecollection") {
            let parameters: Vec<&str> = DELETING.iter().chain(LISTING).copied().collect();
            let status = self.components.reference(STATUS);
            let operation = Operation {
                action: "deletecollection",
                name: "deleteCollection",
                parameters: &parameters,
                request: Some(self.components.reference(DELETE_OPTIONS)),
                response: &status,
                created: false,
            };
            item.insert(
                "delete".into(),
                self.operation(gvk, gvk, scope, "", &operation),
            );
        }
        item.into()
    }

    fn item(
        &mut self,
        verbs: &[String],
        gvk: &Gvk,
        named_after: &Gvk,
        scope: &str,
        suffix: &str,
        bodies: &Bodies,
    ) -> Value {
        let mut item = Map::new();
        let object = &bodies.object;
        let is_subresource = !suffix.is_empty();
        let mut offered = vec![
            ("get", "get", "get", "read", &[][..], None, false),
            (
                "update",
                "put",
                "put",
                "replace",
                WRITING,
                Some(object.clone()),
                true,
            ),
            ("patch", "patch", "patch", "patch", PATCHING, None, true),
        ];
        if is_subresource {
            let body = Some(object.clone());
            offered.push(("create", "post", "post", "create", WRITING, body, true));
        }
        for (verb, method, action, name, parameters, request, created) in offered {
            if !has(verbs, verb) {
                continue;
            }
            let operation = Operation {
                action,
                name,
                parameters,
                request,
                response: object,
                created,
            };
            let mut made = self.operation(gvk, named_after, scope, suffix, &operation);
            if verb == "patch" {
                made["requestBody"] = self.patch_body(bodies.strategic);
            }
            item.insert(method.into(), made);
        }
        if has(verbs, "delete") {
            let status = self.components.reference(STATUS);
            let operation = Operation {
                action: "delete",
                name: "delete",
                parameters: DELETING,
                request: Some(self.components.reference(DELETE_OPTIONS)),
                response: &status,
                created: false,
            };
            item.insert(
                "delete".into(),
                self.operation(gvk, named_after, scope, suffix, &operation),
            );
        }
        item.into()
    }

    fn patch_body(&mut self, strategic: bool) -> Value {
        let schema = self.components.reference(PATCH);
        let mut types = vec![
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        if strategic {
            types.push("application/strategic-merge-patch+json");
        }
        let content: Map<String, Value> = types
            .into_iter()
            .map(|media| (media.to_owned(), json!({"schema": schema})))
            .collect();
        json!({"content": content, "required": true})
    }

    fn operation(
        &self,
        gvk: &Gvk,
        named_after: &Gvk,
        scope: &str,
        suffix: &str,
        operation: &Operation<'_>,
    ) -> Value {
        let answer = |description: &str| {
            let content = json!({
                "application/json": {"schema": operation.response},
                "application/yaml": {"schema": operation.response},
            });
            json!({"description": description, "content": content})
        };
        let mut responses = json!({"200": answer("OK"), "401": {"description": "Unauthorized"}});
        if operation.created {
            responses["201"] = answer("Created");
        }
        let mut out = json!({
            "tags": [tag(self.group, self.version)],
            "operationId": format!(
                "{}{}{}{scope}{}{suffix}",
                operation.name,
                group_name(self.group),
                capitalised(self.version),
                named_after.kind
            ),
            "responses": responses,
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": {
                "group": gvk.group, "kind": gvk.kind, "version": gvk.version,
            },
        });
        if !operation.parameters.is_empty() {
            let mut names = operation.parameters.to_vec();
            names.sort_unstable();
            let parameters: Vec<Value> = names.into_iter().map(parameter).collect();
            out["parameters"] = parameters.into();
        }
        if let Some(schema) = &operation.request {
            out["requestBody"] = json!({"content": {"*/*": {"schema": schema}}});
        }
        out
    }
}

fn has(verbs: &[String], verb: &str) -> bool {
    verbs.iter().any(|v| v == verb)
}

fn parameter(name: &str) -> Value {
    let kind = match name {
        "allowWatchBookmarks"
        | "force"
        | "orphanDependents"
        | "sendInitialEvents"
        | "watch"
        | "ignoreStoreReadErrorWithClusterBreakingPotential" => "boolean",
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    };
    json!({"in": "query", "name": name, "schema": {"type": kind, "uniqueItems": true}})
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
