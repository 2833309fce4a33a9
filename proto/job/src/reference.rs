//! What a settings file may hold, in Markdown, read off the type that parses it.
//!
//! The words are those of the types' own documentation, the defaults those that parsing fills in. Knows
//! JSON schemas (draft 2020-12, as `schemars` writes them) and no particular file.

use std::fmt::Write;

use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

/// The reference of a file that is parsed into `T`: a table of settings for the file and for each of
/// its sections. `level` is the depth of the sections' headings, 1 to 6.
pub fn markdown<T: JsonSchema>(level: usize) -> String {
    of_schema(&schemars::schema_for!(T), level)
}

/// The same for a schema; see [`markdown`].
pub fn of_schema(schema: &Schema, level: usize) -> String {
    let root = schema.as_value();
    let page = Page { definitions: root.get("$defs"), heading: "#".repeat(level.clamp(1, 6)) };
    let mut out = String::new();
    page.section(&mut out, "", Form::Table, root);
    out
}

struct Page<'a> {
    definitions: Option<&'a Value>,
    heading: String,
}

/// How a section stands in the file.
#[derive(Clone, Copy)]
enum Form {
    Table,
    Array,
    Named,
}

/// One kind of a tagged choice: the tag, its value, the whole schema of the kind.
struct Kind<'a> {
    tag: &'a str,
    value: &'a str,
    schema: &'a Value,
}

impl<'a> Page<'a> {
    /// The definition behind a reference, and what an optional setting holds if it is there.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let named = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
        if let Some(found) = named.and_then(|name| self.definitions?.get(name)) {
            return self.resolve(found);
        }
        let null = |s: &Value| s.get("type").and_then(Value::as_str) == Some("null");
        let some = schema.get("anyOf").and_then(Value::as_array);
        match some.and_then(|any| any.iter().find(|s| !null(s))) {
            Some(inner) => self.resolve(inner),
            None => schema,
        }
    }

    fn section(&self, out: &mut String, path: &str, form: Form, schema: &'a Value) {
        if !path.is_empty() {
            let title = match form {
                Form::Table => format!("`[{path}]`"),
                Form::Array => format!("`[[{path}]]`"),
                Form::Named => format!("`[{path}.NAME]`"),
            };
            let _ = writeln!(out, "{} {title}\n", self.heading);
        }
        // The file as a whole is introduced by whoever shows this.
        if let Some(text) = description(schema).filter(|_| !path.is_empty()) {
            let _ = writeln!(out, "{}\n", line(text));
        }
        let inner = match form {
            Form::Named => format!("{path}.NAME"),
            Form::Table | Form::Array => path.to_owned(),
        };
        match kinds(schema) {
            Some(kinds) => {
                for kind in kinds {
                    let text = description(kind.schema).map(line).unwrap_or_default();
                    let _ = writeln!(out, "**`{} = \"{}\"`** {text}\n", kind.tag, kind.value);
                    self.table(out, &inner, kind.schema, Some(kind.tag));
                }
            }
            None => self.table(out, &inner, schema, None),
        }
    }

    /// The settings of a section, then the sections within it.
    fn table(&self, out: &mut String, path: &str, schema: &'a Value, tag: Option<&str>) {
        let none = Map::new();
        let settings = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let required = schema.get("required").and_then(Value::as_array);
        let required = |name: &str| {
            required.is_some_and(|names| names.iter().any(|n| n.as_str() == Some(name)))
        };
        let settings: Vec<_> =
            settings.iter().filter(|(name, _)| Some(name.as_str()) != tag).collect();
        if settings.is_empty() {
            return;
        }
        out.push_str("| setting | value | if left out | what it is |\n| --- | --- | --- | --- |\n");
        for (name, setting) in &settings {
            let left_out = match setting.get("default").filter(|value| !value.is_null()) {
                _ if required(name) => "refused".to_owned(),
                Some(value) => plain(value).unwrap_or_else(|| "its own defaults".to_owned()),
                None => "–".to_owned(),
            };
            let own = self.resolve(setting);
            let text = description(setting).or_else(|| description(own)).map(line);
            let text = cell(&text.unwrap_or_default());
            let values = self.values(own);
            let _ = writeln!(
                out,
                "| `{name}` | {} | {left_out} | {text}{values} |",
                self.value(path, name, own)
            );
        }
        out.push('\n');
        for (name, setting) in settings {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some((form, schema)) = self.below(self.resolve(setting)) {
                self.section(out, &below, form, schema);
            }
        }
    }

    /// The section that a setting is, if it is one.
    fn below(&self, schema: &'a Value) -> Option<(Form, &'a Value)> {
        let is_section = |s: &Value| s.get("properties").is_some() || kinds(s).is_some();
        let within = |key: &str| schema.get(key).map(|inner| self.resolve(inner));
        if is_section(schema) {
            return Some((Form::Table, schema));
        }
        if let Some(items) = within("items").filter(|s| is_section(s)) {
            return Some((Form::Array, items));
        }
        within("additionalProperties").filter(|s| is_section(s)).map(|s| (Form::Named, s))
    }

    /// What kind of value a setting takes, in a word or two.
    fn value(&self, path: &str, name: &str, schema: &'a Value) -> String {
        let dot = if path.is_empty() { "" } else { "." };
        match self.below(schema) {
            Some((Form::Table, _)) => return format!("section `[{path}{dot}{name}]`"),
            Some((Form::Array, _)) => return format!("sections `[[{path}{dot}{name}]]`"),
            Some((Form::Named, _)) => return format!("sections `[{path}{dot}{name}.NAME]`"),
            None => {}
        }
        let inner = |key: &str| schema.get(key).map(|s| self.value(path, name, self.resolve(s)));
        let kind = match schema.get("type") {
            Some(Value::Array(types)) => {
                types.iter().find_map(|t| t.as_str().filter(|t| *t != "null"))
            }
            other => other.and_then(Value::as_str),
        };
        match kind {
            _ if !choices(schema).is_empty() => "one of these words".to_owned(),
            Some("integer") => "whole number".to_owned(),
            Some("number") => "number".to_owned(),
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("string") => "text".to_owned(),
            Some("array") => format!("list: {}", inner("items").unwrap_or_default()),
            Some("object") => {
                format!("by name: {}", inner("additionalProperties").unwrap_or_default())
            }
            _ => "text".to_owned(),
        }
    }

    /// The words that a setting may be, each with what it means.
    fn values(&self, schema: &'a Value) -> String {
        let items = schema.get("items").map(|items| self.resolve(items));
        let mut out = String::new();
        for (word, text) in choices(items.unwrap_or(schema)) {
            let _ = write!(out, "<br>`\"{word}\"`");
            if let Some(text) = text {
                let _ = write!(out, ": {}", cell(&line(text)));
            }
        }
        out
    }
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// The kinds of a choice whose tag is a constant of every kind.
fn kinds(schema: &Value) -> Option<Vec<Kind<'_>>> {
    let kind = |schema| {
        let settings = Value::as_object(Value::get(schema, "properties")?)?;
        let (tag, value) =
            settings.iter().find_map(|(name, s)| Some((name, s.get("const")?.as_str()?)))?;
        Some(Kind { tag, value, schema })
    };
    schema.get("oneOf")?.as_array()?.iter().map(kind).collect()
}

/// The words of a choice without further settings.
fn choices(schema: &Value) -> Vec<(&str, Option<&str>)> {
    let listed = |schema| {
        let words = Value::get(schema, "enum").and_then(Value::as_array);
        words.into_iter().flatten().filter_map(|w| Some((w.as_str()?, None)))
    };
    let mut found: Vec<_> = listed(schema).collect();
    for one in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        match one.get("const").and_then(Value::as_str) {
            Some(word) => found.push((word, description(one))),
            None => found.extend(listed(one)),
        }
    }
    found
}

/// A default as it would be written in the file; nothing for a whole section.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Object(entries) if entries.is_empty() => Some("none".to_owned()),
        Value::Object(_) => None,
        Value::Array(items) if items.is_empty() => Some("none".to_owned()),
        // A 32-bit number as it was written, not as its nearest 64-bit one.
        Value::Number(number) if number.is_f64() => {
            let exact = number.as_f64()?;
            let short = exact as f32;
            let text = match f64::from(short) == exact {
                true => short.to_string(),
                false => exact.to_string(),
            };
            Some(format!("`{text}`"))
        }
        other => Some(format!("`{other}`")),
    }
}

/// One line, without links to code.
fn line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.replace("[`", "`").replace("`]", "`")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    /// A file.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Sample {
        /// A port | number.
        #[serde(default = "port")]
        port: u16,
        name: String,
        /// How.
        mode: Mode,
        /// Perhaps.
        limits: Option<Limits>,
        /// Several.
        #[serde(default)]
        shapes: Vec<Shape>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        /// At once.
        RightNow,
        Later,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Limits {
        /// Most of it.
        #[serde(default = "rate")]
        rate: f32,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Shape {
        /// Round.
        Circle {
            /// In metres.
            radius: f64,
        },
    }

    fn port() -> u16 {
        7443
    }
    fn rate() -> f32 {
        0.1
    }

    #[test]
    fn settings_sections_defaults_words_and_kinds_are_said() {
        let text = markdown::<Sample>(3);
        for expected in [
            "| `port` | whole number | `7443` | A port \\| number. |",
            "| `name` | text | refused |  |",
            "<br>`\"right-now\"`: At once.",
            "`\"later\"`",
            "| `limits` | section `[limits]` | – | Perhaps. |",
            "### `[limits]`",
            "| `rate` | number | `0.1` | Most of it. |",
            "| `shapes` | sections `[[shapes]]` | none | Several. |",
            "**`kind = \"circle\"`** Round.",
            "| `radius` | number | refused | In metres. |",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn a_jobs_reference_has_every_section_of_a_job() {
        let text = markdown::<crate::JobSpec>(3);
        for section in [
            "`[data]`",
            "`[data.label]`",
            "`[[data.features]]`",
            "`[model]`",
            "`[training.local]`",
            "`[privacy.adaptive_clip]`",
            "`[evaluation]`",
            "`[secure_aggregation]`",
        ] {
            assert!(text.contains(&format!("### {section}")), "{section}\n{text}");
        }
        assert!(text.contains("| `corrupt_fraction` | number | `0.2` |"), "{text}");
    }
}
