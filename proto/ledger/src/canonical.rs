//! Canonical JSON: one byte string per value, so that a hash of it means something.
//!
//! Object keys sorted by their UTF-8 bytes, no white space, numbers as `serde_json` prints them
//! (integers exactly, floats in the shortest form that reads back to the same bits).

use serde::Serialize;
use serde_json::Value;

/// The canonical JSON text of a value.
///
/// # Errors
/// If the value cannot be expressed in JSON (a map with non-string keys, a non-finite float that
/// serde turns into an error).
pub fn canonical_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    write(&serde_json::to_value(value)?, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String) -> Result<(), serde_json::Error> {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push('{');
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::to_string(key)?);
                out.push(':');
                write(item, out)?;
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        leaf => out.push_str(&serde_json::to_string(leaf)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_space_is_gone() {
        let value = json!({"b": [1, 2.5, null], "a": {"z": "é\n", "y": true}});
        let text = canonical_json(&value).unwrap();
        assert_eq!(text, r#"{"a":{"y":true,"z":"é\n"},"b":[1,2.5,null]}"#);
    }
}
