//! The result of `bench dp` as lines for the terminal: one for every map of numbers.
//!
//! It knows no part by name: a key's ending says its unit.

use serde_json::Value;

use super::Figures;

/// One line a map, its keys in the order of their numbers.
pub fn lines(file: &Figures) -> Vec<String> {
    let mut lines: Vec<_> = file.iter().filter_map(|(key, value)| line(key, value)).collect();
    lines.sort_unstable();
    lines
}

fn line(key: &str, value: &Value) -> Option<String> {
    let map = value.as_object()?;
    let mut cells: Vec<(&str, f64)> =
        map.iter().filter_map(|(k, v)| Some((k.as_str(), v.as_f64()?))).collect();
    if cells.is_empty() || cells.len() < map.len() {
        return None;
    }
    cells.sort_by(|a, b| {
        let number = |text: &str| text.parse::<f64>().unwrap_or(f64::INFINITY);
        number(a.0).total_cmp(&number(b.0)).then(a.0.cmp(b.0))
    });
    let (name, unit) = match key.rsplit_once('_') {
        Some((name, unit @ ("ns" | "ms"))) => (name, format!(" {unit}")),
        Some((name, "ratio")) => (name, " times ours".to_owned()),
        _ => (key, String::new()),
    };
    let shown = |x: f64| if x < 100.0 { format!("{x:.2}") } else { format!("{x:.0}") };
    let cells: Vec<_> = cells.iter().map(|(k, x)| format!("{k}: {}", shown(*x))).collect();
    Some(format!("{}{unit}: {}", name.replace('_', " "), cells.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_of_numbers_are_shown_with_their_unit() {
        let file = json!({
            "version": 1,
            "machine": {"cores": 2, "cpu_model": "c"},
            "opendp_ns": {"1000": 7200.0, "10": 99.0},
            "opendp_ratio": {"10": 1800.04},
            "dp_step_ms": {"mlp": 20.0, "cnn": 3.5},
            "empty_ns": {},
        });
        assert_eq!(
            lines(file.as_object().unwrap()),
            [
                "dp step ms: cnn: 3.50, mlp: 20.00",
                "opendp ns: 10: 99.00, 1000: 7200",
                "opendp times ours: 10: 1800",
            ]
        );
    }
}
