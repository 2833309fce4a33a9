//! Windows by row and by person, and what bad rows do.

use super::*;
use crate::Dataset;
use crate::tokens::PADDING;
use proptest::prelude::*;
use tributary_job::Normalisation;
use tributary_job::spec::{LabelSpec, TokenizerSpec};

fn spec(context: u32, person: Option<(&str, u32)>) -> DataSpec {
    DataSpec {
        text: Some(TextSpec { column: "says".into(), context, tokenizer: TokenizerSpec::Bytes }),
        person_column: person.map(|(name, _)| name.into()),
        max_records_per_person: person.map(|(_, most)| most),
        ..DataSpec::new(LabelSpec::next_token(), Vec::new())
    }
}

fn rows(data: &Dataset) -> Vec<String> {
    let (all, mut out): (Vec<u32>, _) = ((0..data.len() as u32).collect(), Vec::new());
    data.features(&all, &Normalisation::identity(0), &mut out);
    let text = |row: &[f32]| {
        row.iter().map(|v| if *v == PADDING { '_' } else { char::from(*v as u8) }).collect()
    };
    out.chunks(data.input_width()).map(text).collect()
}

#[test]
fn without_persons_every_row_is_cut_by_itself() {
    let table = "who,says\na,hello you\nb,\"x, \"\nc,\n";
    let (data, skipped) = Dataset::read_tolerant(table.as_bytes(), &spec(4, None)).unwrap();
    assert_eq!(rows(&data), ["\nhell", "lo yo", "ou\n__", "\nx, \n"]);
    assert_eq!(skipped, Skipped { empty_texts: 1, ..Skipped::default() });
    assert_eq!(Dataset::read_csv(table.as_bytes(), &spec(4, None)).unwrap().len(), 4);
    assert_eq!(data.labels(&[0, 3]), [0.0, 0.0]);
    assert!(data.is_language_model());
}

#[test]
fn with_persons_their_rows_are_joined_and_at_most_so_many_windows_are_used() {
    let table = "who,says\n b ,one\na,two\nb,three\na,4\n";
    let (data, skipped) =
        Dataset::read_tolerant(table.as_bytes(), &spec(4, Some(("who", 2)))).unwrap();
    assert_eq!(rows(&data), ["\none\n", "\nthre", "\ntwo\n", "\n4\n__"]);
    let persons = data.persons().unwrap();
    assert_eq!(
        (persons.len(), persons.rows_of(0), persons.rows_of(1)),
        (2, &[0, 1][..], &[2, 3][..])
    );
    assert_eq!(skipped.beyond_person, 1);
}

#[test]
fn a_bad_row_costs_itself_alone_and_the_strict_reader_names_its_line() {
    let table = b"who,says\na,fine\nb\n,nobody\nc,\xff\nd,too\n";
    let spec = spec(8, Some(("who", 4)));
    let (data, skipped) = Dataset::read_tolerant(&table[..], &spec).unwrap();
    assert_eq!(rows(&data), ["\nfine\n___", "\ntoo\n____"]);
    let expected = Skipped { ragged: 1, nobodys: 1, not_utf8: 1, ..Skipped::default() };
    assert_eq!(skipped, expected);
    for (text, says) in [
        (&b"who,says\na,fine\nb\n"[..], "line 3"),
        (b"who,says\n,x\n", "belongs to nobody"),
        (b"who,says\na,\xff\n", "not UTF-8"),
        (b"who,says\n", "empty"),
        (b"who,says\na,\n", "empty"),
        (b"who,say\na,b\n", "is \"say\" meant"),
    ] {
        let error = Dataset::read_csv(text, &spec).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // No usable row is an empty table for a node, which answers no question about cells.
    assert!(Dataset::read_tolerant(&b"who,says\n,\n"[..], &spec).unwrap().0.is_empty());
}

#[test]
fn windows_beyond_the_cap_are_not_used_and_said() {
    let text = TextSpec { column: "says".into(), context: 2, tokenizer: TokenizerSpec::Bytes };
    let mut kept = 0;
    let mut count = |limit, reading| {
        kept = 0;
        let table = b"says\nabcdef\ngh\n";
        let result =
            read(&table[..], &spec(2, None), &text, limit, reading, &Assets::none(), |_| {
                kept += 1;
                true
            });
        (result, kept)
    };
    let (skipped, kept) = count(3, Reading::Tolerant);
    assert!(skipped.unwrap().beyond_cap && kept == 3);
    assert!(matches!(count(3, Reading::Strict).0, Err(DataError::TooManyRows { limit: 3 })));
    let (skipped, kept) = count(6, Reading::Tolerant);
    assert!(!skipped.unwrap().beyond_cap && kept == 6);
}

proptest! {
    #[test]
    fn what_becomes_of_a_person_depends_on_no_other(
        cells in proptest::collection::vec((0u8..4, "[a-z]{1,9}"), 0..30), other in 0u8..4) {
        let read = |rows: &[(u8, String)]| {
            let mut text = String::from("who,says\n");
            rows.iter().for_each(|(who, says)| text += &format!("p{who},{says}\n"));
            let spec = spec(3, Some(("who", 3)));
            let data = Dataset::read_tolerant(text.as_bytes(), &spec).unwrap().0;
            let all = rows_by_person(&data);
            // Persons are numbered by their first row.
            let mut order: Vec<u8> = Vec::new();
            rows.iter().for_each(|(who, _)| if !order.contains(who) { order.push(*who) });
            order.into_iter().zip(all).collect::<Vec<_>>()
        };
        let rest: Vec<_> = cells.iter().filter(|(who, _)| *who != other).cloned().collect();
        let all: Vec<_> = read(&cells).into_iter().filter(|(who, _)| *who != other).collect();
        prop_assert_eq!(all, read(&rest));
    }

    #[test]
    fn no_bytes_below_the_header_are_an_error(tail in proptest::collection::vec(
        prop_oneof![any::<u8>(), Just(b','), Just(b'\n'), Just(b'"')], 0..200)) {
        let table = [b"who,says\n".as_slice(), &tail].concat();
        prop_assert!(Dataset::read_tolerant(&table[..], &spec(3, Some(("who", 3)))).is_ok());
    }
}

fn rows_by_person(data: &Dataset) -> Vec<Vec<String>> {
    let all = rows(data);
    let persons = data.persons().unwrap();
    let of =
        |person| persons.rows_of(person).iter().map(|row| all[*row as usize].clone()).collect();
    (0..persons.len() as u32).map(of).collect()
}

/// A word-level tokenizer of five tokens.
const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],
"normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"Whitespace"},"post_processor":null,
"decoder":null,"model":{"type":"WordLevel","vocab":{"[UNK]":0,"the":1,"cat":2,"sat":3,"mat":4},
"unk_token":"[UNK]"}}"#;

#[test]
fn texts_with_labels_are_one_window_each_by_a_tokenizer_of_the_jobs_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, TOKENIZER).unwrap();
    let sha256 = crate::assets::file_sha256(&path).unwrap();
    let spec = |vocabulary, sha256: &str| DataSpec {
        text: Some(TextSpec {
            column: "says".into(),
            context: 3,
            tokenizer: TokenizerSpec::File { sha256: sha256.into(), vocabulary },
        }),
        ..DataSpec::new(LabelSpec::binary("y", "yes", "no"), Vec::new())
    };
    let table = "says,y\nThe cat sat, yes\n\"the dog sat on\",no\n,no\nsat,maybe\n";
    let assets = Assets::new(folder.path());
    let read = |spec: &DataSpec, assets: &Assets| {
        Dataset::read_tolerant_with(table.as_bytes(), spec, assets)
    };
    let (data, skipped) = read(&spec(5, &sha256), &assets).unwrap();
    let (mut out, norm) = (Vec::new(), Normalisation::identity(0));
    data.features(&[0, 1], &norm, &mut out);
    // The comma splits the first row's text off; what is too long is cut.
    assert_eq!(out, [1.0, 2.0, 3.0, 1.0, 0.0, 3.0]);
    assert_eq!(data.labels(&[0, 1]), [1.0, 0.0]);
    assert!(!data.is_language_model() && data.input_width() == 3);
    assert_eq!((skipped.empty_texts, skipped.unknown_labels), (1, 1));
    for (spec, assets, says) in [
        (spec(6, &sha256), &assets, "has 5 tokens, the job says 6"),
        (spec(5, &"0".repeat(64)), &assets, "put it there"),
        (spec(5, &sha256), &Assets::none(), "no folder of public files"),
    ] {
        let error = read(&spec, assets).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    std::fs::write(&path, "{}").unwrap();
    let sha256 = crate::assets::file_sha256(&path).unwrap();
    let broken = read(&spec(5, &sha256), &assets).unwrap_err();
    assert!(matches!(broken, DataError::Tokenizer { .. }));
}
