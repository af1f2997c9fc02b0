//! Which variables a CEL expression takes from outside.

use std::collections::BTreeSet;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr};

/// Identifiers that are not bound by a macro such as `exists` inside the expression.
pub(super) fn free(expression: &IdedExpr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    visit(&expression.expr, &mut Vec::new(), &mut found);
    found
}

fn visit(expression: &Expr, bound: &mut Vec<String>, found: &mut BTreeSet<String>) {
    match expression {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            if !name.starts_with('@') && !bound.contains(name) && !is_type(name) {
                found.insert(name.clone());
            }
        }
        Expr::Call(call) => {
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                visit(&part.expr, bound, found);
            }
        }
        Expr::Comprehension(loops) => {
            visit(&loops.iter_range.expr, bound, found);
            visit(&loops.accu_init.expr, bound, found);
            let outside = bound.len();
            bound.push(loops.iter_var.clone());
            bound.extend(loops.iter_var2.clone());
            bound.push(loops.accu_var.clone());
            for part in [&loops.loop_cond, &loops.loop_step, &loops.result] {
                visit(&part.expr, bound, found);
            }
            bound.truncate(outside);
        }
        Expr::List(list) => {
            for item in &list.elements {
                visit(&item.expr, bound, found);
            }
        }
        Expr::Select(select) => visit(&select.operand.expr, bound, found),
        Expr::Map(map) => visit_entries(map.entries.iter().map(|entry| &entry.expr), bound, found),
        Expr::Struct(fields) => {
            visit_entries(fields.entries.iter().map(|entry| &entry.expr), bound, found);
        }
    }
}

fn visit_entries<'a>(
    entries: impl Iterator<Item = &'a EntryExpr>,
    bound: &mut Vec<String>,
    found: &mut BTreeSet<String>,
) {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => visit(&field.value.expr, bound, found),
            EntryExpr::MapEntry(entry) => {
                visit(&entry.key.expr, bound, found);
                visit(&entry.value.expr, bound, found);
            }
        }
    }
}

/// `type(x) == string` names a type, not a variable.
fn is_type(name: &str) -> bool {
    [
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
    ]
    .contains(&name)
}
