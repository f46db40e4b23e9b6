//! `eq`, `lt` and their kin: text/template/funcs.go.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::ast::Function;

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// `eq`, with further values to be equal to.
pub(super) fn any_equal(first: &Value, others: &[impl AsRef<Value>]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if equal(first, other.as_ref())? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(a == b),
        (Value::Array(_) | Value::Object(_), _) => Err(non_comparable(a)),
        (_, Value::Array(_) | Value::Object(_)) => Err(non_comparable(b)),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::String(a), Value::String(b)) => Ok(a == b),
        (Value::Number(a), Value::Number(b)) => Ok(order_numbers(a, b)? == Some(Ordering::Equal)),
        _ => Err(INCOMPATIBLE.into()),
    }
}

/// `lt`, `le`, `gt`, `ge`.
pub(super) fn ordered(function: Function, a: &Value, b: &Value) -> Result<bool, String> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => order_numbers(a, b)?,
        (Value::Bool(_), Value::Bool(_)) | (Value::Null, _) | (_, Value::Null) => {
            return Err("invalid type for comparison".into());
        }
        (Value::Array(_) | Value::Object(_), _) => return Err(non_comparable(a)),
        (_, Value::Array(_) | Value::Object(_)) => return Err(non_comparable(b)),
        _ => return Err(INCOMPATIBLE.into()),
    };
    Ok(order.is_some_and(|order| match function {
        Function::Lt => order.is_lt(),
        Function::Le => order.is_le(),
        Function::Gt => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// Whole numbers do not compare with fractions in Go, of whatever value.
fn order_numbers(a: &Number, b: &Number) -> Result<Option<Ordering>, String> {
    if a.is_f64() != b.is_f64() {
        return Err(INCOMPATIBLE.into());
    }
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Ok(Some(a.cmp(&b))),
        _ => Ok(a.as_f64().partial_cmp(&b.as_f64())),
    }
}

fn non_comparable(value: &Value) -> String {
    format!("non-comparable type {}", super::value::type_name(value))
}
