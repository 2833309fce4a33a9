//! A small language for what a row's cells say together: `years(born, visit)`,
//! `weight / (height * height)`, `if(delay > 15, '1', '0')`.
//!
//! Numbers, 'texts', names of columns (in `backquotes` where they are no plain words), `+ - * /`,
//! `== != < <= > >=`, `and or not`, and the functions of [`Function`]. There are no loops, no
//! variables and no way to another row. A missing cell makes a result missing; what cannot be
//! computed (a text times two, a division by zero) is bad, which is how a number that is none counts.

mod evaluate;
mod functions;
mod parse;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(super) use self::functions::Function;
use crate::source::Row;

/// Longest text of an expression, bytes.
const MAX_LENGTH: usize = 4000;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    root: Node,
    columns: Vec<String>,
}

/// A part of it.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Text(String),
    /// One of the expression's columns.
    Column(usize),
    Negative(Box<Node>),
    Not(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Over,
}

/// What it says of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// A cell that it needs is missing.
    Missing,
    /// It cannot be computed.
    Bad,
    /// A finite number.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Yes or no.
    Truth(bool),
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// What is wrong and where, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("an expression of more than {MAX_LENGTH} bytes"));
        }
        let (root, columns) = parse::parse(text)?;
        Ok(Self { root, columns })
    }

    /// The columns that it reads, in the order in which their cells are to be given.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether it is nothing but a column's name.
    pub(crate) fn is_column(&self) -> bool {
        matches!(self.root, Node::Column(_))
    }

    /// What it says of a row; `places` has the cell of each column.
    pub(crate) fn value<'a>(&'a self, row: &'a Row, places: &[usize]) -> Value<'a> {
        evaluate::value(&self.root, row, places)
    }

    /// Whether it holds of a row: nothing but a clear yes does.
    pub(crate) fn holds(&self, row: &Row, places: &[usize]) -> bool {
        self.value(row, places) == Value::Truth(true)
    }
}
