//! From text to a tree, by precedence climbing.

use super::functions::Function;
use super::{Node, Operator};

/// Deepest nesting.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    /// A plain word: a column, a function, `and`, `or` or `not`.
    Word(String),
    /// A column's name in backquotes.
    Quoted(String),
    Symbol(&'static str),
}

/// Two-character symbols first.
const SYMBOLS: [&str; 13] = ["==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "(", ")", ","];

/// The tree and the columns that it names.
pub(super) fn parse(text: &str) -> Result<(Node, Vec<String>), String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, columns: Vec::new() };
    let root = parser.expression(0, 0)?;
    match parser.peek() {
        None => Ok((root, parser.columns)),
        Some((token, at)) => Err(format!("{} at character {at} is one too many", shown(token))),
    }
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len() + 1;
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (token, length) = if first == '\'' || first == '`' {
            let inside = rest.get(1..).unwrap_or_default();
            let Some(end) = inside.find(first) else {
                return Err(format!("the {first} at character {at} has no end"));
            };
            let text = inside.get(..end).unwrap_or_default().to_owned();
            (if first == '`' { Token::Quoted(text) } else { Token::Text(text) }, end + 2)
        } else if first.is_ascii_digit() {
            let is_part = |c: char| c.is_ascii_digit() || c == '.';
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let number = rest.get(..length).and_then(|digits| digits.parse().ok());
            let Some(number) = number.filter(|n: &f64| n.is_finite()) else {
                return Err(format!("at character {at}: no number"));
            };
            (Token::Number(number), length)
        } else if first.is_alphabetic() || first == '_' {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            (Token::Word(rest.get(..length).unwrap_or_default().to_owned()), length)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            return Err(format!("{first:?} at character {at} has no meaning here"));
        };
        tokens.push((token, at));
        rest = rest.get(length..).unwrap_or_default();
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    columns: Vec<String>,
}

impl Parser {
    fn peek(&self) -> Option<(&Token, usize)> {
        self.tokens.get(self.at).map(|(token, at)| (token, *at))
    }

    fn accept(&mut self, symbol: &'static str) -> bool {
        let found = matches!(self.peek(), Some((Token::Symbol(s), _)) if *s == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), String> {
        match self.accept(symbol) {
            true => Ok(()),
            false => Err(format!("{symbol:?} is missing {}", self.place())),
        }
    }

    fn place(&self) -> String {
        match self.peek() {
            Some((_, at)) => format!("before character {at}"),
            None => "at the end".into(),
        }
    }

    /// An expression whose operators bind at least as tightly as `least`.
    fn expression(&mut self, least: u8, depth: usize) -> Result<Node, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        let mut left = self.operand(depth)?;
        while let Some((operator, power)) = self.peek().and_then(|(token, _)| operator(token)) {
            if power < least {
                break;
            }
            self.at += 1;
            let right = self.expression(power + 1, depth + 1)?;
            left = Node::Binary(operator, Box::new(left), Box::new(right));
            // a < b < c would compare an answer with a number.
            let again = self.peek().and_then(|(token, _)| super::parse::operator(token));
            if power == COMPARISON && again.is_some_and(|(_, power)| power == COMPARISON) {
                return Err("comparisons do not follow each other: use and".into());
            }
        }
        Ok(left)
    }

    fn operand(&mut self, depth: usize) -> Result<Node, String> {
        let Some((token, _)) = self.tokens.get(self.at).cloned() else {
            return Err("it ends too early".into());
        };
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Node::Number(number)),
            Token::Text(text) => Ok(Node::Text(text)),
            Token::Quoted(name) => Ok(self.column(name)),
            Token::Word(word) if word == "not" => {
                Ok(Node::Not(Box::new(self.expression(COMPARISON, depth + 1)?)))
            }
            Token::Word(word) if self.accept("(") => self.call(&word, depth),
            Token::Word(word) if word == "and" || word == "or" => {
                Err(format!("{word:?} needs something on its left"))
            }
            Token::Word(word) => Ok(self.column(word)),
            Token::Symbol("-") => {
                Ok(Node::Negative(Box::new(self.expression(TIGHTEST, depth + 1)?)))
            }
            Token::Symbol("(") => {
                let inside = self.expression(0, depth + 1)?;
                self.expect(")")?;
                Ok(inside)
            }
            Token::Symbol(symbol) => Err(format!("{symbol:?} stands where a value should")),
        }
    }

    fn column(&mut self, name: String) -> Node {
        let name = name.trim().to_owned();
        let known = self.columns.iter().position(|column| *column == name);
        Node::Column(known.unwrap_or_else(|| {
            self.columns.push(name);
            self.columns.len() - 1
        }))
    }

    fn call(&mut self, name: &str, depth: usize) -> Result<Node, String> {
        let function = Function::of(name)?;
        let mut arguments = Vec::new();
        if !self.accept(")") {
            loop {
                arguments.push(self.expression(0, depth + 1)?);
                if !self.accept(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        function.check(&arguments)?;
        Ok(Node::Call(function, arguments))
    }
}

const COMPARISON: u8 = 3;
const TIGHTEST: u8 = 6;

/// The operator of a token and how tightly it binds.
fn operator(token: &Token) -> Option<(Operator, u8)> {
    Some(match token {
        Token::Word(word) if word == "or" => (Operator::Or, 1),
        Token::Word(word) if word == "and" => (Operator::And, 2),
        Token::Symbol("==") => (Operator::Equal, COMPARISON),
        Token::Symbol("!=") => (Operator::Unequal, COMPARISON),
        Token::Symbol("<") => (Operator::Less, COMPARISON),
        Token::Symbol("<=") => (Operator::LessOrEqual, COMPARISON),
        Token::Symbol(">") => (Operator::Greater, COMPARISON),
        Token::Symbol(">=") => (Operator::GreaterOrEqual, COMPARISON),
        Token::Symbol("+") => (Operator::Plus, 4),
        Token::Symbol("-") => (Operator::Minus, 4),
        Token::Symbol("*") => (Operator::Times, 5),
        Token::Symbol("/") => (Operator::Over, 5),
        _ => return None,
    })
}

fn shown(token: &Token) -> String {
    match token {
        Token::Number(number) => number.to_string(),
        Token::Text(text) => format!("'{text}'"),
        Token::Word(word) => word.clone(),
        Token::Quoted(name) => format!("`{name}`"),
        Token::Symbol(symbol) => format!("{symbol:?}"),
    }
}
