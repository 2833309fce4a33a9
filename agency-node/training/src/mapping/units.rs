//! Units by name. A conversion is a factor and an offset within one dimension.

/// Name, dimension, factor to the dimension's base unit, what is added afterwards.
const UNITS: &[(&str, &str, f64, f64)] = &[
    ("C", "temperature", 1.0, 0.0),
    ("F", "temperature", 5.0 / 9.0, -160.0 / 9.0),
    ("K", "temperature", 1.0, -273.15),
    ("kg", "mass", 1.0, 0.0),
    ("g", "mass", 1e-3, 0.0),
    ("mg", "mass", 1e-6, 0.0),
    ("ug", "mass", 1e-9, 0.0),
    ("lb", "mass", 0.453_592_37, 0.0),
    ("oz", "mass", 0.028_349_523_125, 0.0),
    ("m", "length", 1.0, 0.0),
    ("cm", "length", 1e-2, 0.0),
    ("mm", "length", 1e-3, 0.0),
    ("km", "length", 1e3, 0.0),
    ("in", "length", 0.0254, 0.0),
    ("ft", "length", 0.3048, 0.0),
    ("yd", "length", 0.9144, 0.0),
    ("mi", "length", 1609.344, 0.0),
    ("nmi", "length", 1852.0, 0.0),
    ("m2", "area", 1.0, 0.0),
    ("km2", "area", 1e6, 0.0),
    ("ha", "area", 1e4, 0.0),
    ("acre", "area", 4_046.856_422_4, 0.0),
    ("sqft", "area", 0.092_903_04, 0.0),
    ("L", "volume", 1.0, 0.0),
    ("mL", "volume", 1e-3, 0.0),
    ("m3", "volume", 1e3, 0.0),
    ("gal", "volume", 3.785_411_784, 0.0),
    ("s", "time", 1.0, 0.0),
    ("ms", "time", 1e-3, 0.0),
    ("min", "time", 60.0, 0.0),
    ("h", "time", 3600.0, 0.0),
    ("d", "time", 86_400.0, 0.0),
    ("wk", "time", 604_800.0, 0.0),
    ("m/s", "speed", 1.0, 0.0),
    ("km/h", "speed", 1.0 / 3.6, 0.0),
    ("mph", "speed", 0.447_04, 0.0),
    ("kn", "speed", 1852.0 / 3600.0, 0.0),
    ("Pa", "pressure", 1.0, 0.0),
    ("hPa", "pressure", 100.0, 0.0),
    ("mbar", "pressure", 100.0, 0.0),
    ("kPa", "pressure", 1e3, 0.0),
    ("bar", "pressure", 1e5, 0.0),
    ("mmHg", "pressure", 133.322_387_415, 0.0),
    ("inHg", "pressure", 3_386.388_640_341, 0.0),
    ("psi", "pressure", 6_894.757_293_168, 0.0),
    ("J", "energy", 1.0, 0.0),
    ("kJ", "energy", 1e3, 0.0),
    ("kcal", "energy", 4184.0, 0.0),
    ("kWh", "energy", 3.6e6, 0.0),
    ("1", "share", 1.0, 0.0),
    ("%", "share", 1e-2, 0.0),
];

/// Factor and offset of a conversion written as `"F -> C"`.
///
/// # Errors
/// What is wrong, and which units there are.
pub(super) fn conversion(text: &str) -> Result<(f64, f64), String> {
    let Some((from, to)) = text.split_once("->") else {
        return Err(format!("unit = {text:?}: write it as \"F -> C\""));
    };
    let (from, to) = (find(from.trim())?, find(to.trim())?);
    if from.1 != to.1 {
        let (name, dimension) = (from.0, from.1);
        return Err(format!(
            "unit = {text:?}: {name} is a {dimension} and {} a {}; for a conversion that depends on \
             the substance use scale",
            to.0, to.1
        ));
    }
    Ok((from.2 / to.2, (from.3 - to.3) / to.2))
}

fn find(name: &str) -> Result<&'static (&'static str, &'static str, f64, f64), String> {
    UNITS.iter().find(|unit| unit.0 == name).ok_or_else(|| {
        let known: Vec<&str> = UNITS.iter().map(|unit| unit.0).collect();
        format!("there is no unit {name:?}; use scale and offset, or one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_conversions() {
        for (text, value, expected) in [
            ("F -> C", 212.0, 100.0),
            ("F->C", -40.0, -40.0),
            ("C -> F", 37.0, 98.6),
            ("K -> F", 273.15, 32.0),
            ("lb -> kg", 150.0, 68.038_855_5),
            ("in -> cm", 70.0, 177.8),
            ("mi -> km", 26.2, 42.164_812_8),
            ("mph -> km/h", 60.0, 96.560_64),
            ("mmHg -> kPa", 120.0, 15.998_686_489_8),
            ("min -> h", 90.0, 1.5),
            ("% -> 1", 12.5, 0.125),
        ] {
            let (scale, offset) = conversion(text).unwrap();
            assert!((value * scale + offset - expected).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn what_is_no_conversion_is_named() {
        for (text, words) in [
            ("lb", "F -> C"),
            ("lb -> cm", "a mass and cm a length"),
            ("lb -> st", "no unit \"st\""),
        ] {
            let error = conversion(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn there_and_back_is_where_one_was() {
        for from in UNITS {
            for to in UNITS.iter().filter(|to| to.1 == from.1) {
                let there = conversion(&format!("{} -> {}", from.0, to.0)).unwrap();
                let back = conversion(&format!("{} -> {}", to.0, from.0)).unwrap();
                let value = (37.5 * there.0 + there.1) * back.0 + back.1;
                assert!((value - 37.5).abs() < 1e-9, "{} {}", from.0, to.0);
            }
        }
    }
}
