//! Folders of texts and pictures, with files in them that are neither.

use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use tributary_job::Normalisation;
use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec};

use super::*;
use crate::Dataset;
use crate::source::Cell;

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn rows(mut table: Folder, columns: &[&str]) -> Vec<String> {
    table.select(&columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()).unwrap();
    let (mut row, mut scratch, mut out) = (Row::default(), Vec::new(), Vec::new());
    while table.next(&mut row).unwrap() {
        let cells: Vec<String> = (0..row.len())
            .map(|i| String::from_utf8_lossy(row.cell(i).text(&mut scratch)).into_owned())
            .collect();
        out.push(match row.defect() {
            Some(_) => format!("{} defect", row.line()),
            None => cells.join("|"),
        });
    }
    out
}

#[test]
fn texts_have_their_folder_as_label() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "spam/b.txt", b" buy\nnow ");
    write(dir.path(), "ham/2020/a.txt", "grüße".as_bytes());
    write(dir.path(), "ham/empty.txt", b"");
    write(dir.path(), "ham/.hidden", b"x");
    write(dir.path(), "loose.txt", b"x");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("ham/link.txt")).unwrap();
    let table = || Folder::new(dir.path(), Content::Texts).unwrap();
    let found = rows(table(), &["label", "text", "file"]);
    assert_eq!(
        found,
        [
            "ham|grüße|ham/2020/a.txt",
            "ham||ham/empty.txt",
            "|x|loose.txt",
            "spam|buy\nnow|spam/b.txt"
        ]
    );
    let error = table().select(&["labels".into()]).unwrap_err().to_string();
    assert!(error.contains("is \"label\" meant?"), "{error}");
    assert!(table().select(&["p0".into()]).is_err());
    assert!(Folder::new(&dir.path().join("none"), Content::Texts).is_err());
}

fn encoded(picture: &GrayImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

use std::io::Cursor;

#[test]
fn pictures_are_brought_to_one_size_and_bad_files_cost_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let shape = Shape { width: 2, height: 2, channels: 1 };
    let half = GrayImage::from_fn(2, 2, |x, _| Luma([if x == 0 { 0 } else { 255 }]));
    let large = GrayImage::from_fn(40, 20, |_, y| Luma([if y < 10 { 200 } else { 100 }]));
    write(dir.path(), "left/a.png", &encoded(&half, ImageFormat::Png));
    write(dir.path(), "top/b.jpg", &encoded(&large, ImageFormat::Jpeg));
    write(dir.path(), "top/c.png", b"\x89PNG\r\n\x1a\nnot really");
    write(dir.path(), "top/d.gif", b"GIF89a");
    let png = encoded(&large, ImageFormat::Png);
    write(dir.path(), "top/e.png", &png[..png.len() / 2]);
    write(dir.path(), "top/f.png", b"");
    let table = || Folder::new(dir.path(), Content::Pictures(shape)).unwrap();
    assert_eq!(table().names().unwrap(), ["file", "label", "p0", "p1", "p2", "p3"]);
    let found = rows(table(), &["label", "p0", "p1", "p2", "p3"]);
    assert_eq!(found[0], "left|0|255|0|255");
    assert_eq!(found[2..5], ["3 defect", "4 defect", "5 defect"]);
    for column in ["p4", "p01", "p-1", "p", "text"] {
        assert!(table().select(&[column.to_owned()]).is_err(), "{column}");
    }
    let spec = DataSpec::new(
        LabelSpec::binary("label", "top", "left"),
        vec![FeatureSpec::Block { prefix: "p".into(), count: 4, min: 0.0, max: 255.0 }],
    );
    let (data, skipped) = Dataset::read_table_tolerant(&mut table(), &spec).unwrap();
    assert_eq!((data.len(), skipped.malformed), (2, 4));
    let mut inputs = Vec::new();
    data.features(&[1], &Normalisation::identity(0), &mut inputs);
    // 200 and 100 of 255, and a little of each other where the halves meet.
    let near = |value: f32, expected: f32| (value - expected / 255.0).abs() < 0.07;
    assert!(inputs[..2].iter().all(|v| near(*v, 200.0)), "{inputs:?}");
    assert!(inputs[2..].iter().all(|v| near(*v, 100.0)), "{inputs:?}");
}

#[test]
fn colours_of_a_point_stand_together() {
    let dir = tempfile::tempdir().unwrap();
    let picture =
        RgbImage::from_fn(2, 1, |x, _| if x == 0 { Rgb([1, 2, 3]) } else { Rgb([4, 5, 6]) });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    write(dir.path(), "x/a.png", &bytes.into_inner());
    let shape = Shape { width: 2, height: 1, channels: 3 };
    let columns = ["p0", "p1", "p2", "p3", "p4", "p5"];
    let table = Folder::new(dir.path(), Content::Pictures(shape)).unwrap();
    assert_eq!(rows(table, &columns), ["1|2|3|4|5|6"]);
    let mut label_only = Folder::new(dir.path(), Content::Pictures(shape)).unwrap();
    label_only.select(&["label".into()]).unwrap();
    let mut row = Row::default();
    assert!(label_only.next(&mut row).unwrap());
    assert_eq!(row.cell(0), Cell::Text(b"x"));
    for (width, height, channels) in
        [(0, 1, 1), (1, 1, 2), (100_000, 2, 1), (u32::MAX, u32::MAX, 3)]
    {
        assert!(Shape { width, height, channels }.check().is_err());
    }
    shape.check().unwrap();
}
