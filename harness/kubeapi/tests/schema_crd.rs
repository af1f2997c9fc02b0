//! Structural schemas of custom resources: pruning, defaulting, validation and CEL, with the API server's texts.

use kubeapi::schema::{FieldError, Schema, from_crd};
use rstest::rstest;
use serde_json::{Value, json};

fn spec(schema: &Value) -> Schema {
    let document = json!({"type": "object", "properties": {"spec": schema}});
    from_crd(&document).unwrap_or_else(|e| panic!("{document} is refused: {e:?}"))
}

fn object(spec: &Value) -> Value {
    json!({
        "apiVersion": "example.org/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": spec,
    })
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn errors(schema: &Value, value: &Value) -> Vec<String> {
    texts(&spec(schema).validate(&object(value), None))
}

#[test]
fn prune_drops_what_is_unknown_and_tells_where() {
    let schema = spec(&json!({
        "type": "object",
        "properties": {
            "known": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "string"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"strict": {"type": "object"}}},
            "closed": {"type": "object"},
        },
    }));
    let mut value = object(&json!({
        "known": "x",
        "foo": 1,
        "list": [{"a": 1}, {"a": 2, "z": {"deep": true}}],
        "map": {"k": {"b": "c", "d": "e"}},
        "free": {"anything": {"goes": [1]}, "strict": {"no": 1}},
        "closed": {"gone": 1},
    }));
    value["extra"] = json!(1);
    value["metadata"]["nonsense"] = json!(1);
    let unknown = schema.prune(&mut value);
    assert_eq!(
        unknown,
        [
            "metadata.nonsense",
            "extra",
            "spec.closed.gone",
            "spec.foo",
            "spec.free.strict.no",
            "spec.list[1].z",
            "spec.map.k.d",
        ]
    );
    assert_eq!(
        value,
        object(&json!({
            "known": "x",
            "list": [{"a": 1}, {"a": 2}],
            "map": {"k": {"b": "c"}},
            "free": {"anything": {"goes": [1]}, "strict": {}},
            "closed": {},
        }))
    );
    assert_eq!(schema.prune(&mut value), Vec::<String>::new());
}

#[test]
fn defaults_fill_what_is_missing_and_nulls_go() {
    let schema = spec(&json!({
        "type": "object",
        "properties": {
            "replicas": {"type": "integer", "default": 1},
            "mode": {"type": "string", "default": "auto"},
            "maybe": {"type": "string", "nullable": true, "default": "x"},
            "gone": {"type": "string"},
            "nested": {"type": "object", "default": {}, "properties": {"deep": {"type": "boolean", "default": true}}},
            "list": {"type": "array", "items": {"type": "object",
                "properties": {"protocol": {"type": "string", "default": "TCP"}}}},
        },
    }));
    let mut value = object(
        &json!({"mode": null, "maybe": null, "gone": null, "list": [{}, {"protocol": "UDP"}]}),
    );
    schema.default(&mut value);
    assert_eq!(
        value["spec"],
        json!({
            "mode": "auto",
            "maybe": null,
            "list": [{"protocol": "TCP"}, {"protocol": "UDP"}],
            "replicas": 1,
            "nested": {"deep": true},
        })
    );
}

#[rstest]
#[case::wrong_type(
    json!({"type": "object", "properties": {"replicas": {"type": "integer"}}}),
    json!({"replicas": "three"}),
    &[r#"spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string""#],
)]
#[case::integer_for_string(
    json!({"type": "object", "properties": {"name": {"type": "string"}}}),
    json!({"name": 3}),
    &[r#"spec.name: Invalid value: "integer": spec.name in body must be of type string: "integer""#],
)]
#[case::null(
    json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string"}}}}),
    json!({"list": [null]}),
    &[r#"spec.list[0]: Invalid value: "null": spec.list[0] in body must be of type string: "null""#],
)]
#[case::required(
    json!({"type": "object", "required": ["topology", "subnets"], "properties": {
        "topology": {"type": "string"}, "subnets": {"type": "string"}}}),
    json!({}),
    &["spec.topology: Required value", "spec.subnets: Required value"],
)]
#[case::enumeration(
    json!({"type": "object", "properties": {"topology": {"type": "string", "enum": ["Layer2", "Layer3"]}}}),
    json!({"topology": "Layer4"}),
    &[r#"spec.topology: Unsupported value: "Layer4": supported values: "Layer2", "Layer3""#],
)]
#[case::pattern(
    json!({"type": "object", "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}}}),
    json!({"name": "A1"}),
    &[r#"spec.name: Invalid value: "A1": spec.name in body should match '^[a-z]+$'"#],
)]
#[case::bounds(
    json!({"type": "object", "properties": {
        "a": {"type": "integer", "minimum": 1}, "b": {"type": "integer", "maximum": 10},
        "c": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}, "d": {"type": "number", "maximum": 1.5},
        "e": {"type": "integer", "multipleOf": 5}}}),
    json!({"a": 0, "b": 11, "c": 0, "d": 2.5, "e": 7}),
    &[
        "spec.a: Invalid value: 0: spec.a in body should be greater than or equal to 1",
        "spec.b: Invalid value: 11: spec.b in body should be less than or equal to 10",
        "spec.c: Invalid value: 0: spec.c in body should be greater than 0",
        "spec.d: Invalid value: 2.5: spec.d in body should be less than or equal to 1.5",
        "spec.e: Invalid value: 7: spec.e in body should be a multiple of 5",
    ],
)]
#[case::lengths(
    json!({"type": "object", "properties": {
        "short": {"type": "string", "maxLength": 2}, "long": {"type": "string", "minLength": 1}}}),
    json!({"short": "abc", "long": ""}),
    &[
        "spec.short: Too long: may not be more than 2 bytes",
        r#"spec.long: Invalid value: "": spec.long in body should be at least 1 chars long"#,
    ],
)]
#[case::items(
    json!({"type": "object", "properties": {
        "few": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "many": {"type": "array", "maxItems": 1, "items": {"type": "string"}}}}),
    json!({"few": [], "many": ["a", "b"]}),
    &[
        "spec.few: Invalid value: 0: spec.few in body should have at least 1 items",
        "spec.many: Too many: 2: must have at most 1 item",
    ],
)]
#[case::properties(
    json!({"type": "object", "properties": {
        "few": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
        "many": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}}}),
    json!({"few": {}, "many": {"a": "b", "c": "d"}}),
    &[
        "spec.few: Invalid value: 0: spec.few in body should have at least 1 properties",
        "spec.many: Too many: 2: must have at most 1 item",
    ],
)]
#[case::format(
    json!({"type": "object", "properties": {"ip": {"type": "string", "format": "ipv4"}}}),
    json!({"ip": "fe80::1"}),
    &[r#"spec.ip: Invalid value: "fe80::1": spec.ip in body must be of type ipv4: "fe80::1""#],
)]
#[case::int_or_string(
    json!({"type": "object", "properties": {"port": {"x-kubernetes-int-or-string": true}}}),
    json!({"port": true}),
    &[r#"spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean""#],
)]
#[case::set(
    json!({"type": "object", "properties": {"s": {"type": "array", "x-kubernetes-list-type": "set",
        "items": {"type": "string"}}}}),
    json!({"s": ["a", "b", "a", "a"]}),
    &[r#"spec.s[2]: Duplicate value: "a""#],
)]
#[case::map_list(
    json!({"type": "object", "properties": {"ports": {"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"], "items": {"type": "object", "required": ["port"],
        "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}}}}}),
    json!({"ports": [{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"}, {"port": 1, "protocol": "TCP"}]}),
    &[r#"spec.ports[2]: Duplicate value: {"port":1,"protocol":"TCP"}"#],
)]
#[case::one_of(
    json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
    json!({}),
    &[
        r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#,
        "spec.a: Required value",
    ],
)]
#[case::both_of_one_of(
    json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
    json!({"a": "x", "b": "y"}),
    &[r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#],
)]
#[case::not(
    json!({"type": "object", "properties": {"a": {"type": "string"}}, "not": {"required": ["a"]}}),
    json!({"a": "x"}),
    &[r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#],
)]
#[case::embedded(
    json!({"type": "object", "properties": {"template": {"type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true}}}),
    json!({"template": {"kind": "", "metadata": {"name": "x"}}}),
    &["spec.template.apiVersion: Required value", r#"spec.template.kind: Invalid value: "": must not be empty"#],
)]
fn refusals_read_like_the_api_servers(
    #[case] schema: Value,
    #[case] value: Value,
    #[case] expected: &[&str],
) {
    assert_eq!(errors(&schema, &value), expected);
}

#[rstest]
#[case(json!({"port": 80}))]
#[case(json!({"port": "http"}))]
#[case(json!({"whole": 3.0}))]
#[case(json!({"fraction": 3}))]
#[case(json!({"maybe": null}))]
fn what_fits_is_accepted(#[case] value: Value) {
    let schema = json!({"type": "object", "properties": {
        "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "whole": {"type": "integer"},
        "fraction": {"type": "number"},
        "maybe": {"type": "string", "nullable": true},
    }});
    assert_eq!(errors(&schema, &value), Vec::<String>::new());
}

#[test]
fn what_did_not_change_is_not_held_against_an_update() {
    let schema = spec(&json!({"type": "object", "properties": {
        "old": {"type": "string", "maxLength": 1},
        "new": {"type": "string", "maxLength": 1},
    }}));
    let old = object(&json!({"old": "long", "new": "a"}));
    let new = object(&json!({"old": "long", "new": "also long"}));
    assert_eq!(
        texts(&schema.validate(&new, Some(&old))),
        ["spec.new: Too long: may not be more than 1 byte"]
    );
}

mod cel {
    use super::*;

    fn rules(rules: &Value) -> Value {
        json!({
            "type": "object",
            "properties": {
                "topology": {"type": "string"},
                "subnets": {"type": "array", "maxItems": 10, "items": {"type": "string"}},
                "role": {"type": "string"},
                "replicas": {"type": "integer"},
                "namespace": {"type": "string"},
                "my_field": {"type": "string"},
                "a-b": {"type": "string"},
                "timeout": {"type": "string", "format": "duration"},
                "weight": {"type": "number"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "x-kubernetes-validations": rules,
        })
    }

    #[rstest]
    #[case::message(
        json!([{"rule": "self.topology != 'Layer2' || has(self.subnets)", "message": "subnets are required"}]),
        json!({"topology": "Layer2"}),
        &[r#"spec: Invalid value: "object": subnets are required"#],
    )]
    #[case::no_message(
        json!([{"rule": "self.replicas > 1"}]),
        json!({"replicas": 1}),
        &[r#"spec: Invalid value: "object": failed rule: self.replicas > 1"#],
    )]
    #[case::message_expression(
        json!([{"rule": "self.replicas > 1", "message": "static",
            "messageExpression": "'wanted more than ' + string(self.replicas)"}]),
        json!({"replicas": 1}),
        &[r#"spec: Invalid value: "object": wanted more than 1"#],
    )]
    #[case::broken_message_expression(
        json!([{"rule": "self.replicas > 1", "message": "static", "messageExpression": "self.topology"}]),
        json!({"replicas": 1}),
        &[r#"spec: Invalid value: "object": static"#],
    )]
    #[case::reason_and_path(
        json!([{"rule": "has(self.role)", "message": "a role is needed", "reason": "FieldValueRequired",
            "fieldPath": ".role"}]),
        json!({}),
        &["spec.role: Required value: a role is needed"],
    )]
    #[case::path_to_a_key(
        json!([{"rule": "false", "message": "no", "reason": "FieldValueForbidden", "fieldPath": ".labels['x']"}]),
        json!({}),
        &["spec.labels[x]: Forbidden: no"],
    )]
    #[case::missing_key(
        json!([{"rule": "self.role == 'Primary'"}]),
        json!({}),
        &[r#"spec: Invalid value: "object": no such key: role evaluating rule: self.role == 'Primary'"#],
    )]
    #[case::networks(
        json!([{"rule": "self.subnets.all(s, isCIDR(s))", "message": "bad subnet"}]),
        json!({"subnets": ["10.0.0.0/24", "10.0.0.0"]}),
        &[r#"spec: Invalid value: "object": bad subnet"#],
    )]
    fn failures(#[case] list: Value, #[case] value: Value, #[case] expected: &[&str]) {
        assert_eq!(errors(&rules(&list), &value), expected);
    }

    #[rstest]
    #[case("self.__namespace__ == 'x'")]
    #[case("self.my_field == 'x'")]
    #[case("self.a__dash__b == 'x'")]
    #[case("self.timeout < duration('1h')")]
    #[case("self.weight > 0.5")]
    #[case("self.labels['my-key'] == 'v'")]
    fn names_and_types_are_those_of_the_schema(#[case] rule: &str) {
        let value = json!({"namespace": "x", "my_field": "x", "a-b": "x", "timeout": "30m", "weight": 1,
            "labels": {"my-key": "v"}});
        assert_eq!(
            errors(&rules(&json!([{"rule": rule}])), &value),
            Vec::<String>::new()
        );
    }

    #[test]
    fn transition_rules_need_an_old_value() {
        let schema = spec(&rules(
            &json!([{"rule": "self == oldSelf", "message": "Spec is immutable"}]),
        ));
        let old = object(&json!({"topology": "Layer2"}));
        let new = object(&json!({"topology": "Layer3"}));
        assert_eq!(texts(&schema.validate(&new, None)), Vec::<String>::new());
        assert_eq!(
            texts(&schema.validate(&old, Some(&old))),
            Vec::<String>::new()
        );
        assert_eq!(
            texts(&schema.validate(&new, Some(&old))),
            [r#"spec: Invalid value: "object": Spec is immutable"#]
        );
    }

    #[test]
    fn optional_old_self_runs_on_create_too() {
        let rule = json!([{"rule": "oldSelf.hasValue() || self.replicas == 1", "optionalOldSelf": true,
            "message": "start with one"}]);
        let schema = spec(&rules(&rule));
        let two = object(&json!({"replicas": 2}));
        assert_eq!(
            texts(&schema.validate(&two, None)),
            [r#"spec: Invalid value: "object": start with one"#]
        );
        let one = object(&json!({"replicas": 1}));
        assert_eq!(
            texts(&schema.validate(&two, Some(&one))),
            Vec::<String>::new()
        );
    }

    #[test]
    fn items_of_map_lists_have_old_selves_by_key() {
        let schema = spec(&json!({"type": "object", "properties": {"ports": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"},
                "port": {"type": "integer", "x-kubernetes-validations": [
                    {"rule": "self >= oldSelf", "message": "may only grow"}]},
            }},
        }}}));
        let ports =
            |a: u32, b: u32| json!({"ports": [{"name": "a", "port": a}, {"name": "b", "port": b}]});
        let old = object(&ports(1, 5));
        let new = object(&json!({"ports": [{"name": "b", "port": 4}, {"name": "a", "port": 2}]}));
        assert_eq!(
            texts(&schema.validate(&new, Some(&old))),
            [r#"spec.ports[0].port: Invalid value: "integer": may only grow"#]
        );
    }

    #[test]
    fn rules_wait_until_the_object_is_sound() {
        let mut schema = rules(&json!([{"rule": "self.role == 'x'"}]));
        schema["required"] = json!(["topology"]);
        assert_eq!(
            errors(&schema, &json!({"role": "y"})),
            [
                "spec.topology: Required value",
                "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
                 correct the existing errors to complete validation",
            ]
        );
    }

    #[test]
    fn the_name_is_in_reach_of_a_root_rule() {
        let schema = from_crd(&json!({"type": "object", "properties": {},
            "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('a')", "message": "a…"}]}))
        .expect("structural");
        assert_eq!(
            texts(&schema.validate(&object(&json!({})), None)),
            Vec::<String>::new()
        );
    }
}

#[rstest]
#[case::no_root_type(json!({}), &["type: Required value: must not be empty at the root"])]
#[case::no_field_type(
    json!({"type": "object", "properties": {"spec": {"properties": {"a": {"type": "string"}}}}}),
    &["properties[spec].type: Required value: must not be empty for specified object fields"],
)]
#[case::array_without_items(
    json!({"type": "object", "properties": {"a": {"type": "array"}}}),
    &["properties[a].items: Required value: must be specified"],
)]
#[case::default(
    json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
    &[r#"properties[a].default: Invalid value: "string":  in body must be of type integer: "string""#],
)]
#[case::default_with_unknown_fields(
    json!({"type": "object", "properties": {"a": {"type": "object", "default": {"b": 1}}}}),
    &[r#"properties[a].default: Invalid value: {"b":1}: must not have unknown fields"#],
)]
#[case::foreign_words_are_told_alone(
    json!({"type": "object", "properties": {"a": {"patternProperties": {"x": {"type": "string"}}}}}),
    &["properties[a].patternProperties: Forbidden: patternProperties is not supported"],
)]
#[case::root_array(
    json!({"type": "array", "items": {"type": "string"}}),
    &[r#"type: Invalid value: "array": must be object at the root"#],
)]
#[case::unknown_type(
    json!({"type": "object", "properties": {"a": {"type": "int"}}}),
    &[r#"properties[a].type: Unsupported value: "int": supported values: "array", "boolean", "integer", "number", "object", "string""#],
)]
#[case::type_in_junctor(
    json!({"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"type": "string"}]}}}),
    &["properties[a].anyOf[0].type: Forbidden: must be empty to be structural"],
)]
#[case::incomplete(
    json!({"type": "object", "properties": {"a": {"type": "object", "oneOf": [{"properties": {"b": {"minLength": 1}}}]}}}),
    &["properties[a].properties[b]: Required value: because it is defined in properties[a].oneOf[0].properties[b]"],
)]
#[case::metadata(
    json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
    &["properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"],
)]
#[case::reference(
    json!({"type": "object", "properties": {"a": {"type": "object", "$ref": "#/definitions/x"}}}),
    &["properties[a].$ref: Forbidden: $ref is not supported"],
)]
#[case::keys_without_map(
    json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-map-keys": ["n"],
        "items": {"type": "object", "properties": {"n": {"type": "string"}}}}}}),
    &["properties[a].x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"],
)]
#[case::optional_key(
    json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object", "properties": {"n": {"type": "string"}}}}}}),
    &["properties[a].items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"],
)]
#[case::pattern(
    json!({"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {"type": "string"},
        "properties": {"b": {"type": "string"}}}}}),
    &["properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
)]
fn schemas_that_are_not_structural(#[case] schema: Value, #[case] expected: &[&str]) {
    let errors = from_crd(&schema).expect_err("refused");
    assert_eq!(texts(&errors), expected);
}

#[test]
fn a_rule_that_does_not_parse_is_refused_with_its_place() {
    let errors = from_crd(
        &json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.spec ==="}]}),
    )
    .expect_err("refused");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path, "x-kubernetes-validations[0].rule");
    assert!(
        errors[0]
            .message
            .starts_with(r#"Invalid value: {"FieldPath":"","Message":"","MessageExpression":"","OptionalOldSelf":null,"Reason":null,"Rule":"self.spec ==="}: compilation failed: "#),
        "{}",
        errors[0]
    );
}

#[test]
fn metadata_must_decode_at_the_root_and_in_embedded_resources() {
    let schema = spec(
        &json!({"type": "object", "properties": {"template": {"type": "object",
        "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}),
    );
    let mut value = object(
        &json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}}),
    );
    assert_eq!(schema.decode(&value), Ok(()));
    value["spec"]["template"]["metadata"]["name"] = json!(5);
    assert_eq!(
        schema.decode(&value).expect_err("refused").to_string(),
        r#"spec.template.metadata: Invalid value: {"name":5}: json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"#
    );
    value["metadata"]["labels"] = json!({"a": 1});
    assert_eq!(
        schema.decode(&value).expect_err("refused").to_string(),
        "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"
    );
}
