//! What the measured programs say: one JSON object a line, with a field `bench`.
//!
//! Only the fields that a ratio needs are read. All others are kept as they came.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

/// One measurement, as its program printed it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Line(Value);

impl Line {
    /// Reads one line.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)
            .with_context(|| format!("this output line is not JSON: {}", shortened(text)))?;
        if value.get("bench").and_then(Value::as_str).is_none() {
            bail!("this output line has no field \"bench\": {}", shortened(text));
        }
        Ok(Self(value))
    }

    /// Reads a program's standard output. Lines that do not begin with `{` are talk of the
    /// program and skipped.
    pub fn parse_all(output: &str) -> Result<Vec<Self>> {
        output
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with('{'))
            .map(Self::parse)
            .collect()
    }

    /// Whether this is a line of the given kind.
    pub fn is(&self, bench: &str) -> bool {
        self.0.get("bench").and_then(Value::as_str) == Some(bench)
    }

    /// A whole number.
    pub fn count(&self, field: &str) -> Option<u64> {
        self.0.get(field)?.as_u64()
    }

    /// Any finite number.
    pub fn number(&self, field: &str) -> Option<f64> {
        self.0.get(field)?.as_f64().filter(|number| number.is_finite())
    }

    /// A text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }

    /// Yes or no.
    pub fn flag(&self, field: &str) -> Option<bool> {
        self.0.get(field)?.as_bool()
    }

    /// A positive time: the field itself, or the median if several were taken.
    pub fn seconds(&self, field: &str) -> Option<f64> {
        let value = self.0.get(field)?;
        let seconds = value.get("median").unwrap_or(value).as_f64()?;
        (seconds.is_finite() && seconds > 0.0).then_some(seconds)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: &str = r#"{"bench":"round","nodes":10,"dim":1000000,"round_s":{"median":0.4,
        "min":0.3,"max":0.6,"n":5},"peak_rss_bytes":52000000,"transport":"mtls-loopback"}"#;

    #[test]
    fn fields_are_read_and_the_rest_is_kept() {
        let line = Line::parse(ROUND).unwrap();
        assert!(line.is("round") && !line.is("mask"));
        assert_eq!(line.count("nodes"), Some(10));
        assert_eq!(line.seconds("round_s"), Some(0.4));
        assert_eq!(line.number("nothing"), None);
        let kept = serde_json::to_value(&line).unwrap();
        assert_eq!(kept.get("transport"), Some(&Value::from("mtls-loopback")));
    }

    #[test]
    fn times_are_positive() {
        let line = |time| Line::parse(&format!(r#"{{"bench":"b","t":{time}}}"#)).unwrap();
        assert_eq!(line("0.5").seconds("t"), Some(0.5));
        for time in ["0", "-1", "null", "\"1\"", r#"{"min":1}"#] {
            assert_eq!(line(time).seconds("t"), None, "{time}");
        }
    }

    #[test]
    fn talk_is_skipped_and_broken_lines_are_refused() {
        let output = "starting\n\n  {\"bench\":\"node\",\"d\":5}\n(worker) hello\n";
        assert_eq!(Line::parse_all(output).unwrap().len(), 1);
        assert!(Line::parse_all("").unwrap().is_empty());
        for (output, says) in [("{\"bench\":", "not JSON"), ("{\"d\":1}", "no field")] {
            let error = Line::parse_all(output).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
