//! Labels, features and persons: both forms, what is refused, and that old jobs keep their bytes.

use super::*;
use tributary_ledger::canonical_json;

const OLD: &str = r#"
label = { column = "y", positive = "1", negative = "0" }
features = [
    { kind = "numeric", column = "x", min = 0.0, max = 10.0 },
    { kind = "category", column = "k", values = ["p", "q"] },
]
"#;

fn parse(text: &str) -> Result<DataSpec, String> {
    let spec: DataSpec = toml::from_str(text).map_err(|e| e.to_string())?;
    spec.validate().map_err(|e| e.to_string())?;
    let json = canonical_json(&spec).unwrap();
    assert_eq!(serde_json::from_str::<DataSpec>(&json).unwrap(), spec, "{json}");
    Ok(spec)
}

#[test]
fn what_was_possible_before_keeps_its_canonical_bytes() {
    let json = canonical_json(&parse(OLD).unwrap()).unwrap();
    assert_eq!(
        json,
        r#"{"features":[{"column":"x","kind":"numeric","max":10.0,"min":0.0,"transform":"identity"},{"column":"k","kind":"category","values":["p","q"]}],"label":{"column":"y","negative":"0","positive":"1"}}"#
    );
}

#[test]
fn digits_are_a_block_with_ten_classes_and_no_statistics() {
    let spec = parse(
        r#"
label = { column = "label", classes = ["0","1","2","3","4","5","6","7","8","9"] }
features = [{ kind = "block", prefix = "p", count = 784, min = 0.0, max = 255.0 }]
person_column = "writer"
max_records_per_person = 200
"#,
    )
    .unwrap();
    assert_eq!((spec.input_width(), spec.output_width(), spec.numeric_count()), (784, 10, 0));
    assert_eq!(spec.records_per_person(), 200);
    let columns: Vec<_> = spec.features[0].columns().collect();
    assert_eq!((columns.len(), &*columns[0], &*columns[783]), (784, "p0", "p783"));
}

#[test]
fn only_standardised_features_need_statistics() {
    let text = OLD.replace("max = 10.0 }", "max = 10.0, scaling = \"unit\" }");
    let spec = parse(&text).unwrap();
    assert_eq!((spec.input_width(), spec.output_width(), spec.numeric_count()), (3, 1, 0));
    assert_eq!(parse(OLD).unwrap().numeric_count(), 1);
    let standard = parse(&text.replace("unit", "standard")).unwrap();
    assert_eq!(standard, parse(OLD).unwrap(), "the default is not written");
    assert_eq!(parse(&format!("person_column = \"who\"\n{OLD}")).unwrap().records_per_person(), 16);
}

#[test]
fn what_has_no_meaning_is_refused() {
    let label = r#"label = { column = "y", positive = "1", negative = "0" }"#;
    let x = r#"{ kind = "numeric", column = "x", min = 0.0, max = 10.0 }"#;
    let many: Vec<String> = (0..1001).map(|i| format!("\"{i}\"")).collect();
    let many = format!(r#"label = {{ column = "y", classes = [{}] }}"#, many.join(","));
    for (from, to, expected) in [
        (label, r#"label = { column = "y" }"#, "either"),
        (label, r#"label = { column = "y", positive = "1" }"#, "either"),
        (
            label,
            r#"label = { column = "y", positive = "1", negative = "0", classes = ["a", "b"] }"#,
            "either",
        ),
        (label, r#"label = { column = "y", positive = "1", classes = ["a", "b"] }"#, "either"),
        (label, r#"label = { column = "y", classes = ["a", "b"], other = 1 }"#, "other"),
        (label, r#"label = { column = "y", classes = ["a"] }"#, "between 2"),
        (label, r#"label = { column = "y", classes = ["a", " a"] }"#, "distinct"),
        (label, &many, "1000"),
        (label, r#"label = { column = "y", positive = "1", negative = "1" }"#, "differ"),
        (
            x,
            r#"{ kind = "block", prefix = "p", count = 0, min = 0.0, max = 1.0 }"#,
            "p: needs a count",
        ),
        (
            x,
            r#"{ kind = "block", prefix = "p", count = 3, min = 1.0, max = 1.0 }"#,
            "p: needs finite",
        ),
        (
            x,
            r#"{ kind = "block", prefix = "p", count = 4000000000, min = 0.0, max = 1.0 }"#,
            "100,000",
        ),
        (
            x,
            r#"{ kind = "block", prefix = "p", count = 3, min = 0.0, max = 1.0 }, { kind = "category", column = "p2", values = ["a"] }"#,
            "p2 is listed twice",
        ),
        (
            x,
            r#"{ kind = "block", prefix = "y", count = 1, min = 0.0, max = 1.0 }, { kind = "category", column = "y0", values = ["a"] }"#,
            "y0 is listed twice",
        ),
        (
            x,
            r#"{ kind = "numeric", column = "x", min = 0.0, max = 1.0, scaling = "other" }"#,
            "other",
        ),
        (label, &format!("max_records_per_person = 3\n{label}"), "person_column"),
        (label, &format!("person_column = \"y\"\n{label}"), "no label or feature"),
        (label, &format!("person_column = \"k\"\n{label}"), "no label or feature"),
        (
            label,
            &format!("person_column = \"w\"\nmax_records_per_person = 0\n{label}"),
            "1 and 256",
        ),
        (
            label,
            &format!("person_column = \"w\"\nmax_records_per_person = 257\n{label}"),
            "1 and 256",
        ),
    ] {
        let text = OLD.replace(from, to);
        assert_ne!(text, OLD, "{from}");
        let error = parse(&text).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

/// A long prefix times a large count would fill the memory of whoever only looks at the job.
#[test]
fn long_names_and_blanks_around_them_are_refused_before_anything_is_made_of_them() {
    let block = |prefix: &str| FeatureSpec::Block {
        prefix: prefix.into(),
        count: 100_000,
        min: 0.0,
        max: 1.0,
    };
    let label = LabelSpec::binary("y", "1", "0");
    let of = |prefix: &str| DataSpec::new(label.clone(), vec![block(prefix)]).validate();
    assert!(of("px").is_ok());
    assert!(of(&"a".repeat(3_000_000)).unwrap_err().problem.contains("at most 256"));
    for bad in [" px", "px ", "px\u{a0}"] {
        assert!(of(bad).unwrap_err().problem.contains("blanks"), "{bad:?}");
    }
    let mut spec = DataSpec::new(label.clone(), vec![block("p")]);
    spec.person_column = Some("who ".into());
    assert!(spec.validate().unwrap_err().problem.contains("blanks"));
    let long = "v".repeat(257);
    let values = FeatureSpec::Category { column: "c".into(), values: vec![long.clone()] };
    assert!(DataSpec::new(label, vec![values]).validate().is_err());
    let classes = LabelSpec::classes("y", ["a".to_owned(), long]);
    assert!(DataSpec::new(classes, vec![block("p")]).validate().is_err());
}

#[test]
fn text_has_a_context_a_tokenizer_and_no_columns() {
    let spec = parse("text = { column = \"t\", context = 64, tokenizer = { kind = \"bytes\" } }");
    let spec = spec.unwrap();
    assert!(spec.is_language_model());
    assert_eq!((spec.input_width(), spec.output_width(), spec.numeric_count()), (65, 256, 0));
    let listed = r#"text = { column = "t", context = 8, tokenizer = { kind = "characters", characters = "ab\n" } }"#;
    assert_eq!(parse(listed).unwrap().output_width(), 4);
    for (text, says) in [
        (listed.replace("ab\\n", "ab"), "a line feed must be among them"),
        (listed.replace("ab\\n", "aab\\n"), "each character once"),
        (listed.replace("context = 8", "context = 1"), "between 2 and"),
        (listed.replace("context = 8", "context = 9000"), "between 2 and"),
        (format!("{listed}\nperson_column = \"t\""), "names persons"),
        (
            format!(
                "features = [{{ kind = \"block\", prefix = \"p\", count = 1, min = 0.0, max = 1.0 }}]\n{listed}"
            ),
            "leave features out",
        ),
        (String::new(), "data.label: is missing"),
        ("features = []".into(), "data.label: is missing"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    let persons = format!("{listed}\nperson_column = \"who\"\nmax_records_per_person = 9");
    assert_eq!(parse(&persons).unwrap().records_per_person(), 9);
}

#[test]
fn a_time_to_an_event_has_a_duration_of_its_own() {
    let label = r#"{ column = "y", positive = "1", negative = "0", duration = "months" }"#;
    let text = OLD.replace(r#"{ column = "y", positive = "1", negative = "0" }"#, label);
    let spec = parse(&text).unwrap();
    assert_eq!(spec.label, LabelSpec::time_to_event("y", "1", "0", "months"));
    assert_eq!(spec.output_width(), 1);
    for (from, to, says) in [
        ("\"months\"", "\"y\"", "the label's own column"),
        ("\"months\"", "\"x\"", "x is the duration"),
        ("\"months\"", "\" months\"", "blanks around"),
        ("positive = \"1\", negative = \"0\"", "classes = [\"a\", \"b\"]", "positive and negative"),
    ] {
        let error = parse(&text.replace(from, to)).unwrap_err();
        assert!(error.contains(says), "{to}: {error}");
    }
    let error = parse(&format!("person_column = \"months\"\n{text}")).unwrap_err();
    assert!(error.contains("names persons"), "{error}");
}
