//! The functions of the language: their names and what they take.

use super::Node;
use crate::source::calendar::is_pattern;

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// `if(condition, then, otherwise)`.
    If,
    /// `coalesce(a, b, ...)`: the first that is not missing.
    Coalesce,
    /// `missing(a)`: whether it is.
    Missing,
    /// `in(a, b, c, ...)`: whether a is one of the others.
    In,
    /// Absolute value.
    Abs,
    /// Next smaller whole number.
    Floor,
    /// Nearest whole number, or to so many digits after the point.
    Round,
    /// Square root.
    Sqrt,
    /// Natural logarithm.
    Ln,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Year of a date.
    Year,
    /// Month of a date, 1 to 12.
    Month,
    /// Day of the month.
    Day,
    /// Day of the week, 1 for Monday.
    Weekday,
    /// Hour of the day, missing if only the day is known.
    Hour,
    /// `days(a, b)`: days from a to b.
    Days,
    /// `years(a, b)`: whole years from a to b, as ages are counted.
    Years,
    /// `date(a, 'DD.MM.YYYY')`: a date that is written otherwise than YYYY-MM-DD.
    Date,
    /// Texts joined.
    Concat,
    /// In lower case.
    Lower,
    /// In upper case.
    Upper,
    /// `first(a, n)`: the first n characters.
    First,
    /// `last(a, n)`: the last n characters.
    Last,
    /// `part(a, n)`: 1 to n, the same for the same text, to split a table by people.
    Part,
}

/// Name, function, fewest and most arguments.
const FUNCTIONS: &[(&str, Function, usize, usize)] = &[
    ("if", Function::If, 3, 3),
    ("coalesce", Function::Coalesce, 1, 64),
    ("missing", Function::Missing, 1, 1),
    ("in", Function::In, 2, 1000),
    ("abs", Function::Abs, 1, 1),
    ("floor", Function::Floor, 1, 1),
    ("round", Function::Round, 1, 2),
    ("sqrt", Function::Sqrt, 1, 1),
    ("ln", Function::Ln, 1, 1),
    ("min", Function::Min, 2, 64),
    ("max", Function::Max, 2, 64),
    ("year", Function::Year, 1, 1),
    ("month", Function::Month, 1, 1),
    ("day", Function::Day, 1, 1),
    ("weekday", Function::Weekday, 1, 1),
    ("hour", Function::Hour, 1, 1),
    ("days", Function::Days, 2, 2),
    ("years", Function::Years, 2, 2),
    ("date", Function::Date, 2, 2),
    ("concat", Function::Concat, 1, 64),
    ("lower", Function::Lower, 1, 1),
    ("upper", Function::Upper, 1, 1),
    ("first", Function::First, 2, 2),
    ("last", Function::Last, 2, 2),
    ("part", Function::Part, 2, 2),
];

impl Function {
    /// The function of a name.
    pub(super) fn of(name: &str) -> Result<Self, String> {
        let found = FUNCTIONS.iter().find(|(known, ..)| *known == name);
        found.map(|(_, function, ..)| *function).ok_or_else(|| {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(known, ..)| *known).collect();
            format!("there is no function {name}; there are {}", known.join(", "))
        })
    }

    /// Whether it can take these arguments.
    pub(super) fn check(self, arguments: &[Node]) -> Result<(), String> {
        let Some((name, _, fewest, most)) = FUNCTIONS.iter().find(|(_, f, ..)| *f == self) else {
            return Ok(());
        };
        if !(fewest..=most).contains(&&arguments.len()) {
            let wanted = match fewest == most {
                true => fewest.to_string(),
                false => format!("{fewest} to {most}"),
            };
            return Err(format!("{name} takes {wanted} arguments, not {}", arguments.len()));
        }
        let last = arguments.last();
        match self {
            Self::Date if !matches!(last, Some(Node::Text(text)) if is_pattern(text)) => {
                Err("the second argument of date is a pattern like 'DD.MM.YYYY'".into())
            }
            Self::First | Self::Last | Self::Part if !matches!(last, Some(Node::Number(n)) if is_count(*n)) => {
                Err(format!("the second argument of {name} is a whole number from 1 to 1000"))
            }
            Self::Round
                if arguments.len() == 2
                    && !matches!(last, Some(Node::Number(n)) if is_digits(*n)) =>
            {
                Err("the second argument of round is a whole number from 0 to 9".into())
            }
            _ => Ok(()),
        }
    }
}

fn is_count(n: f64) -> bool {
    n.fract() == 0.0 && (1.0..=1000.0).contains(&n)
}

fn is_digits(n: f64) -> bool {
    n.fract() == 0.0 && (0.0..=9.0).contains(&n)
}
