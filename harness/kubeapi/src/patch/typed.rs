//! How apply sees a schema: every value is a scalar, a list or a map, and lists and maps are owned as a whole (atomic)
//! or item by item.

use serde_json::{Map, Value};

use super::fieldset::{Element, Scalar, Set};
use crate::schema::Schema;
use crate::schema::builtin::{QUANTITY, RAW_EXTENSION};
use crate::schema::node::{Additional, Arena, ListType, MapType, Node, NodeId, Type};

/// A type as seen from a place in an object.
#[derive(Debug, Clone, Copy)]
pub(super) enum TypeRef<'a> {
    Node {
        arena: &'a Arena,
        id: NodeId,
        /// Whether a schema above keeps unknown fields.
        preserve: bool,
    },
    /// No schema: maps item by item, lists as a whole.
    Deduced,
    /// Owned as a whole whatever it is.
    Atomic,
    /// A field the schema does not declare.
    Undeclared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScalarType {
    Numeric,
    String,
    Boolean,
    Untyped,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Relation<'a> {
    Atomic,
    Set,
    Keys(&'a [String]),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ListShape<'a> {
    pub(super) relation: Relation<'a>,
    pub(super) element: TypeRef<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct MapShape<'a> {
    pub(super) atomic: bool,
    node: Option<(&'a Arena, &'a Node, bool)>,
    /// Type of what is no declared field.
    pub(super) element: TypeRef<'a>,
}

/// The shapes a value of a type may take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shapes<'a> {
    pub(super) scalar: Option<ScalarType>,
    pub(super) list: Option<ListShape<'a>>,
    pub(super) map: Option<MapShape<'a>>,
}

/// The shape a particular value has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape<'a> {
    Scalar(ScalarType),
    List(ListShape<'a>),
    Map(MapShape<'a>),
}

impl<'a> MapShape<'a> {
    /// The type of a declared field.
    pub(super) fn field(&self, name: &str) -> Option<TypeRef<'a>> {
        let (arena, node, preserve) = self.node?;
        let id = *node.properties.get(name)?;
        Some(TypeRef::Node {
            arena,
            id,
            preserve,
        })
    }

    pub(super) fn field_or_element(&self, name: &str) -> TypeRef<'a> {
        self.field(name).unwrap_or(self.element)
    }
}

impl<'a> TypeRef<'a> {
    pub(super) fn of(schema: Option<&'a Schema>) -> Self {
        match schema {
            Some(schema) => Self::Node {
                arena: schema.arena(),
                id: schema.root(),
                preserve: false,
            },
            None => Self::Deduced,
        }
    }

    pub(super) fn shapes(self) -> Shapes<'a> {
        let untyped = |relation_atomic: bool, element: Self| Shapes {
            scalar: Some(ScalarType::Untyped),
            list: Some(ListShape {
                relation: Relation::Atomic,
                element: TypeRef::Atomic,
            }),
            map: Some(MapShape {
                atomic: relation_atomic,
                node: None,
                element,
            }),
        };
        match self {
            Self::Deduced => untyped(false, Self::Deduced),
            Self::Atomic => untyped(true, Self::Atomic),
            Self::Undeclared => Shapes::default(),
            Self::Node {
                arena,
                id,
                preserve,
            } => {
                let node = &arena[id];
                match node.name.as_deref() {
                    Some(QUANTITY) => Shapes {
                        scalar: Some(ScalarType::Untyped),
                        ..Shapes::default()
                    },
                    Some(RAW_EXTENSION) => untyped(true, Self::Atomic),
                    // What a schema keeps of unknown fields does not reach into named types.
                    Some(_) => node_shapes(arena, node, node.preserve_unknown),
                    None => node_shapes(arena, node, preserve || node.preserve_unknown),
                }
            }
        }
    }

    /// The shape of a value. Null, which fits every shape, takes the first the type has.
    pub(super) fn shape(self, value: Option<&Value>) -> Option<Shape<'a>> {
        let shapes = self.shapes();
        let own = match value {
            Some(Value::Object(_)) => shapes.map.map(Shape::Map),
            Some(Value::Array(_)) => shapes.list.map(Shape::List),
            Some(Value::Null) | None => None,
            Some(_) => shapes.scalar.map(Shape::Scalar),
        };
        own.or_else(|| shapes.map.map(Shape::Map))
            .or_else(|| shapes.scalar.map(Shape::Scalar))
            .or_else(|| shapes.list.map(Shape::List))
    }
}

impl Shape<'_> {
    pub(super) fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

fn node_shapes<'a>(arena: &'a Arena, node: &'a Node, preserve: bool) -> Shapes<'a> {
    let scalar = |scalar| Shapes {
        scalar: Some(scalar),
        ..Shapes::default()
    };
    match node.ty {
        Type::Integer | Type::Number => scalar(ScalarType::Numeric),
        Type::Boolean => scalar(ScalarType::Boolean),
        Type::String => match node.format.as_deref() {
            None | Some("byte") => scalar(ScalarType::String),
            Some(_) => scalar(ScalarType::Untyped),
        },
        Type::Array => Shapes {
            list: Some(list_shape(arena, node, preserve)),
            ..Shapes::default()
        },
        Type::Object => Shapes {
            map: Some(map_shape(arena, node, preserve)),
            ..Shapes::default()
        },
        Type::Any | Type::IntOrString => Shapes {
            scalar: Some(ScalarType::Untyped),
            list: Some(list_shape(arena, node, preserve)),
            map: Some(map_shape(arena, node, preserve)),
        },
    }
}

fn list_shape<'a>(arena: &'a Arena, node: &'a Node, preserve: bool) -> ListShape<'a> {
    let relation = match (&node.list_type, &node.patch) {
        (Some(ListType::Set), _) => Relation::Set,
        (Some(ListType::Map(keys)), _) => Relation::Keys(keys),
        (None, patch) if patch.merge => match &patch.merge_key {
            Some(key) => Relation::Keys(std::slice::from_ref(key)),
            None => Relation::Set,
        },
        (Some(ListType::Atomic) | None, _) => Relation::Atomic,
    };
    ListShape {
        relation,
        element: node.items.map_or(TypeRef::Atomic, |id| TypeRef::Node {
            arena,
            id,
            preserve,
        }),
    }
}

fn map_shape<'a>(arena: &'a Arena, node: &'a Node, preserve: bool) -> MapShape<'a> {
    let element = match node.additional {
        Additional::Schema(id) => TypeRef::Node {
            arena,
            id,
            preserve,
        },
        Additional::Anything => TypeRef::Deduced,
        Additional::Unspecified if preserve || node.properties.is_empty() => TypeRef::Deduced,
        Additional::Unspecified | Additional::Forbidden => TypeRef::Undeclared,
    };
    MapShape {
        atomic: node.map_type == Some(MapType::Atomic),
        node: Some((arena, node, preserve)),
        element,
    }
}

/// The path element of a list's item.
pub(super) fn item_element(list: &ListShape<'_>, item: &Value) -> Result<Element, String> {
    match list.relation {
        Relation::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        Relation::Set => match item {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => {
                Err("not supported: associative list with lists as elements".to_owned())
            }
            Value::Null => Err(
                "associative list without keys has an element that's an explicit null".to_owned(),
            ),
            scalar => Ok(Element::Value(Scalar(scalar.clone()))),
        },
        Relation::Keys(keys) => {
            let map = match item {
                Value::Object(map) => map,
                Value::Null => {
                    return Err("associative list with keys may not have a null element".to_owned());
                }
                _ => {
                    return Err(
                        "associative list with keys may not have non-map elements".to_owned()
                    );
                }
            };
            let mut fields: Vec<(String, Scalar)> = keys
                .iter()
                .filter_map(|key| {
                    let value = map.get(key).or_else(|| default(list.element, key))?;
                    Some((key.clone(), Scalar(value.clone())))
                })
                .collect();
            if fields.is_empty() {
                let quoted: Vec<String> =
                    keys.iter().map(|k| crate::schema::go::quoted(k)).collect();
                return Err(format!(
                    "associative list with keys has an element that omits all key fields [{}] (and doesn't have \
                     default values for any key fields)",
                    quoted.join(" ")
                ));
            }
            fields.sort();
            Ok(Element::Key(fields))
        }
    }
}

fn default<'a>(element: TypeRef<'a>, key: &str) -> Option<&'a Value> {
    let TypeRef::Node { arena, id, .. } = element else {
        return None;
    };
    arena[*arena[id].properties.get(key)?].default.as_ref()
}

pub(super) fn as_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

pub(super) fn as_list(value: Option<&Value>) -> Option<&[Value]> {
    value.and_then(Value::as_array).map(Vec::as_slice)
}

/// Makes struct fields members where anything below them is: a set of `a.b.c` then also owns `a` if `a` is a declared
/// field, but no keys of maps and no list items.
pub(super) fn with_named_fields(set: &Set, root: TypeRef<'_>) -> Set {
    set.with_members(
        root,
        &|ty: TypeRef<'_>, element, member, below| {
            let declared = match (element, ty.shapes().map) {
                (Element::Field(name), Some(map)) => map.field(name).is_some(),
                _ => false,
            };
            member || (below && declared)
        },
        &|ty, element| match (element, ty.shapes()) {
            (Element::Field(name), Shapes { map: Some(map), .. }) => map.field_or_element(name),
            (
                Element::Key(_),
                Shapes {
                    list: Some(list), ..
                },
            ) => list.element,
            _ => TypeRef::Undeclared,
        },
    )
}
