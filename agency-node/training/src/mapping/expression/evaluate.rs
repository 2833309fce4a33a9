//! What an expression says of one row.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::functions::Function;
use super::{Node, Operator, Value};
use crate::source::calendar::Moment;
use crate::source::{Cell, Number, Row};

/// The value of a part.
pub(super) fn value<'a>(node: &'a Node, row: &'a Row, places: &[usize]) -> Value<'a> {
    let of = |node: &'a Node| value(node, row, places);
    match node {
        Node::Number(number) => Value::Number(*number),
        Node::Text(text) => Value::Text(Cow::Borrowed(text)),
        Node::Column(column) => {
            places.get(*column).map_or(Value::Missing, |place| cell(row.cell(*place)))
        }
        Node::Negative(inner) => number(&of(inner)).map_or_else(|v| v, |n| Value::Number(-n)),
        Node::Not(inner) => truth(&of(inner)).map_or_else(|v| v, |t| Value::Truth(!t)),
        Node::Binary(Operator::And, left, right) => both(of(left), || of(right), false),
        Node::Binary(Operator::Or, left, right) => both(of(left), || of(right), true),
        Node::Binary(operator, left, right) => binary(*operator, &of(left), &of(right)),
        Node::Call(function, arguments) => call(*function, arguments, of),
    }
}

fn cell(cell: Cell<'_>) -> Value<'_> {
    match cell {
        Cell::Missing => Value::Missing,
        Cell::Text(text) => {
            std::str::from_utf8(text).map_or(Value::Bad, |text| Value::Text(Cow::Borrowed(text)))
        }
        Cell::Integer(value) => Value::Number(value as f64),
        Cell::Real(value) => finite(value),
    }
}

fn finite<'a>(value: f64) -> Value<'a> {
    if value.is_finite() { Value::Number(value) } else { Value::Bad }
}

/// A number, or the value that stands for there being none.
fn number<'a>(value: &Value<'_>) -> Result<f64, Value<'a>> {
    match value {
        Value::Missing => Err(Value::Missing),
        Value::Bad | Value::Truth(_) => Err(Value::Bad),
        Value::Number(number) => Ok(*number),
        Value::Text(text) => match Cell::Text(text.trim().as_bytes()).number() {
            Number::Finite(number) => Ok(number),
            Number::Missing | Number::Bad => Err(Value::Bad),
        },
    }
}

fn truth<'a>(value: &Value<'_>) -> Result<bool, Value<'a>> {
    match value {
        Value::Truth(truth) => Ok(*truth),
        Value::Missing => Err(Value::Missing),
        _ => Err(Value::Bad),
    }
}

fn text<'a>(value: Value<'a>) -> Result<Cow<'a, str>, Value<'a>> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Number(number) => Ok(Cow::Owned((number + 0.0).to_string())),
        Value::Truth(truth) => Ok(Cow::Borrowed(if truth { "1" } else { "0" })),
        other => Err(other),
    }
}

fn moment<'a>(value: &Value<'_>) -> Result<Moment, Value<'a>> {
    match value {
        Value::Text(text) => Moment::parse(text).ok_or(Value::Bad),
        Value::Missing => Err(Value::Missing),
        _ => Err(Value::Bad),
    }
}

/// `and` and `or`: one side alone may decide, even if the other is missing.
fn both<'a>(left: Value<'a>, right: impl FnOnce() -> Value<'a>, decisive: bool) -> Value<'a> {
    let left = truth(&left);
    if left == Ok(decisive) {
        return Value::Truth(decisive);
    }
    match (left, truth(&right())) {
        (_, Ok(right)) if right == decisive => Value::Truth(decisive),
        (Err(Value::Bad), _) | (_, Err(Value::Bad)) => Value::Bad,
        (Err(other), _) | (_, Err(other)) => other,
        _ => Value::Truth(!decisive),
    }
}

fn binary<'a>(operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Value<'a> {
    if matches!(left, Value::Bad) || matches!(right, Value::Bad) {
        return Value::Bad;
    }
    let arithmetic = |of: fn(f64, f64) -> f64| match (number(left), number(right)) {
        (Ok(left), Ok(right)) => finite(of(left, right)),
        (Err(Value::Bad), _) | (_, Err(Value::Bad)) => Value::Bad,
        _ => Value::Missing,
    };
    let comparison = |of: fn(Ordering) -> bool| match compare(left, right) {
        Ok(order) => Value::Truth(of(order)),
        Err(value) => value,
    };
    match operator {
        Operator::Plus => arithmetic(|a, b| a + b),
        Operator::Minus => arithmetic(|a, b| a - b),
        Operator::Times => arithmetic(|a, b| a * b),
        Operator::Over => arithmetic(|a, b| a / b),
        Operator::Less => comparison(Ordering::is_lt),
        Operator::LessOrEqual => comparison(Ordering::is_le),
        Operator::Greater => comparison(Ordering::is_gt),
        Operator::GreaterOrEqual => comparison(Ordering::is_ge),
        Operator::Equal => equal(left, right).map_or(Value::Missing, Value::Truth),
        Operator::Unequal => equal(left, right).map_or(Value::Missing, |same| Value::Truth(!same)),
        Operator::And | Operator::Or => Value::Bad,
    }
}

/// Two numbers by size, two texts (dates among them) letter by letter; a text is neither more nor
/// less than a number.
fn compare<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Ordering, Value<'a>> {
    if matches!(left, Value::Missing) || matches!(right, Value::Missing) {
        return Err(Value::Missing);
    }
    match (number(left), number(right)) {
        (Ok(left), Ok(right)) => left.partial_cmp(&right).ok_or(Value::Bad),
        (Err(_), Err(_)) => match (left, right) {
            (Value::Text(left), Value::Text(right)) => Ok(left.trim().cmp(right.trim())),
            _ => Err(Value::Bad),
        },
        _ => Err(Value::Bad),
    }
}

/// Whether two values are the same; `None` if one is missing.
fn equal(left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    match (left, right) {
        (Value::Missing, _) | (_, Value::Missing) => None,
        (Value::Truth(left), Value::Truth(right)) => Some(left == right),
        _ => match (number(left), number(right)) {
            (Ok(left), Ok(right)) => Some(left == right),
            (Err(_), Err(_)) => match (left, right) {
                (Value::Text(left), Value::Text(right)) => Some(left.trim() == right.trim()),
                _ => Some(false),
            },
            _ => Some(false),
        },
    }
}

fn call<'a>(
    function: Function,
    arguments: &'a [Node],
    of: impl Fn(&'a Node) -> Value<'a>,
) -> Value<'a> {
    let at = |i: usize| arguments.get(i).map_or(Value::Missing, &of);
    let result = match function {
        Function::If => {
            return match truth(&at(0)) {
                Ok(true) => at(1),
                Ok(false) => at(2),
                Err(value) => value,
            };
        }
        Function::Coalesce => {
            let mut values = arguments.iter().map(&of);
            return values.find(|value| *value != Value::Missing).unwrap_or(Value::Missing);
        }
        Function::Missing => return Value::Truth(at(0) == Value::Missing),
        Function::In => {
            let wanted = at(0);
            if matches!(wanted, Value::Missing | Value::Bad) {
                return wanted;
            }
            let mut others = arguments.iter().skip(1).map(&of);
            return Value::Truth(others.any(|other| equal(&wanted, &other) == Some(true)));
        }
        Function::Abs => number(&at(0)).map(|n| finite(n.abs())),
        Function::Floor => number(&at(0)).map(|n| finite(n.floor())),
        Function::Round => number(&at(0)).map(|n| match arguments.get(1) {
            Some(Node::Number(digits)) => {
                let power = 10f64.powi(*digits as i32);
                finite((n * power).round() / power)
            }
            _ => finite(n.round()),
        }),
        Function::Sqrt => number(&at(0)).map(|n| finite(n.sqrt())),
        Function::Ln => number(&at(0)).map(|n| finite(n.ln())),
        Function::Min => fold(arguments, of, f64::min),
        Function::Max => fold(arguments, of, f64::max),
        Function::Year => moment(&at(0)).map(|m| Value::Number(m.civil().year as f64)),
        Function::Month => moment(&at(0)).map(|m| Value::Number(f64::from(m.civil().month))),
        Function::Day => moment(&at(0)).map(|m| Value::Number(f64::from(m.civil().day))),
        Function::Weekday => moment(&at(0)).map(|m| Value::Number(m.weekday() as f64)),
        Function::Hour => moment(&at(0))
            .map(|m| m.hour().map_or(Value::Missing, |hour| Value::Number(f64::from(hour)))),
        Function::Days => {
            two(moment(&at(0)), moment(&at(1))).map(|(from, to)| Value::Number(from.days_to(to)))
        }
        Function::Years => two(moment(&at(0)), moment(&at(1)))
            .map(|(from, to)| Value::Number(from.years_to(to) as f64)),
        Function::Date => text(at(0)).map(|date| match arguments.get(1) {
            Some(Node::Text(pattern)) => Moment::parse_by(pattern, &date)
                .map_or(Value::Bad, |moment| Value::Text(Cow::Owned(moment.to_string()))),
            _ => Value::Bad,
        }),
        Function::Concat => arguments
            .iter()
            .map(|argument| text(of(argument)))
            .collect::<Result<String, _>>()
            .map(|joined| Value::Text(Cow::Owned(joined))),
        Function::Lower => text(at(0)).map(|t| Value::Text(Cow::Owned(t.to_lowercase()))),
        Function::Upper => text(at(0)).map(|t| Value::Text(Cow::Owned(t.to_uppercase()))),
        Function::First | Function::Last => text(at(0)).map(|whole| {
            let count = count(arguments.get(1));
            let length = whole.chars().count();
            let from = if function == Function::Last { length.saturating_sub(count) } else { 0 };
            Value::Text(Cow::Owned(whole.chars().skip(from).take(count).collect()))
        }),
        Function::Part => text(at(0)).map(|key| {
            let parts = count(arguments.get(1)) as u64;
            Value::Number((hash(key.trim().as_bytes()) % parts.max(1) + 1) as f64)
        }),
    };
    result.unwrap_or_else(|value| value)
}

fn fold<'a>(
    arguments: &'a [Node],
    of: impl Fn(&'a Node) -> Value<'a>,
    with: fn(f64, f64) -> f64,
) -> Result<Value<'a>, Value<'a>> {
    let numbers: Result<Vec<f64>, _> = arguments.iter().map(|node| number(&of(node))).collect();
    Ok(numbers?.into_iter().reduce(with).map_or(Value::Missing, Value::Number))
}

fn two<'a, T>(
    left: Result<T, Value<'a>>,
    right: Result<T, Value<'a>>,
) -> Result<(T, T), Value<'a>> {
    match (left, right) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (Err(Value::Bad), _) | (_, Err(Value::Bad)) => Err(Value::Bad),
        (Err(other), _) | (_, Err(other)) => Err(other),
    }
}

fn count(node: Option<&Node>) -> usize {
    if let Some(Node::Number(number)) = node { *number as usize } else { 0 }
}

/// FNV-1a, then mixed so that the remainder hangs on every bit. Splits tables; hides nothing.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
