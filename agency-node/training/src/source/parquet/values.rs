//! Parquet's physical and logical types as cells.

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use ::parquet::column::reader::ColumnReader;
use ::parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::ColumnDescriptor;

use crate::source::calendar::{DAY, Moment};
use crate::source::row::Row;

/// What a column's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As the physical type says.
    Plain,
    /// A whole number without a sign.
    Unsigned,
    /// A whole number times a negative power of ten.
    Decimal(u32),
    /// Days since 1970-01-01.
    Date,
    /// So many of these in a second since midnight.
    Time(i64),
    /// So many of these in a second since 1970-01-01T00:00:00.
    Timestamp(i64),
    /// Sixteen bytes.
    Uuid,
}

impl Kind {
    /// What a column means, or how its type is called if it is no cell.
    pub(super) fn of(column: &ColumnDescriptor) -> Result<Self, String> {
        if column.max_rep_level() > 0 {
            return Err("a list, and a cell has one value".into());
        }
        let physical = column.physical_type();
        let scale = || u32::try_from(column.type_scale()).unwrap_or(0);
        let kind = match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => {
                Self::Decimal(scale())
            }
            (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => Self::Date,
            (Some(LogicalType::Time(time)), _) => Self::Time(per_second(time.unit)),
            (Some(LogicalType::Timestamp(time)), _) => Self::Timestamp(per_second(time.unit)),
            (None, ConvertedType::TIME_MILLIS) => Self::Time(1000),
            (None, ConvertedType::TIME_MICROS) => Self::Time(1_000_000),
            (None, ConvertedType::TIMESTAMP_MILLIS) => Self::Timestamp(1000),
            (None, ConvertedType::TIMESTAMP_MICROS) => Self::Timestamp(1_000_000),
            (Some(LogicalType::Integer(int)), _) if !int.is_signed => Self::Unsigned,
            (
                None,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) => Self::Unsigned,
            (Some(LogicalType::Uuid), _) => Self::Uuid,
            _ => Self::Plain,
        };
        match (physical, kind) {
            (Type::FIXED_LEN_BYTE_ARRAY, Self::Plain) => {
                Err("a binary type without a text form".into())
            }
            (Type::FIXED_LEN_BYTE_ARRAY, Self::Decimal(_)) if column.type_length() > 16 => {
                Err("a decimal of more than 38 digits".into())
            }
            _ => Ok(kind),
        }
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

/// Decoded values of a batch, those that are there.
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

impl Values {
    pub(super) fn of(physical: Type) -> Self {
        match physical {
            Type::BOOLEAN => Self::Bool(Vec::new()),
            Type::INT32 => Self::Int32(Vec::new()),
            Type::INT64 => Self::Int64(Vec::new()),
            Type::INT96 => Self::Int96(Vec::new()),
            Type::FLOAT => Self::Float(Vec::new()),
            Type::DOUBLE => Self::Double(Vec::new()),
            Type::BYTE_ARRAY => Self::Bytes(Vec::new()),
            Type::FIXED_LEN_BYTE_ARRAY => Self::Fixed(Vec::new()),
        }
    }

    /// Reads `wanted` records and their levels; says how many there were.
    pub(super) fn read(
        &mut self,
        from: &mut ColumnReader,
        wanted: usize,
        levels: &mut Vec<i16>,
    ) -> Result<usize, ParquetError> {
        macro_rules! read {
            ($reader:expr, $values:expr) => {{
                $values.clear();
                $reader.read_records(wanted, Some(levels), None, $values)?
            }};
        }
        let (records, ..) = match (from, self) {
            (ColumnReader::BoolColumnReader(r), Self::Bool(v)) => read!(r, v),
            (ColumnReader::Int32ColumnReader(r), Self::Int32(v)) => read!(r, v),
            (ColumnReader::Int64ColumnReader(r), Self::Int64(v)) => read!(r, v),
            (ColumnReader::Int96ColumnReader(r), Self::Int96(v)) => read!(r, v),
            (ColumnReader::FloatColumnReader(r), Self::Float(v)) => read!(r, v),
            (ColumnReader::DoubleColumnReader(r), Self::Double(v)) => read!(r, v),
            (ColumnReader::ByteArrayColumnReader(r), Self::Bytes(v)) => read!(r, v),
            (ColumnReader::FixedLenByteArrayColumnReader(r), Self::Fixed(v)) => read!(r, v),
            _ => return Err(ParquetError::General("a column changes its type".into())),
        };
        Ok(records)
    }

    /// Writes a value into a row's cell; missing if there is none.
    pub(super) fn put(&self, at: usize, kind: Kind, cell: usize, row: &mut Row) {
        match self {
            Self::Bool(values) => {
                let text = |value: &bool| if *value { "true" } else { "false" };
                if let Some(value) = values.get(at) {
                    row.set_text(cell, text(value).as_bytes());
                }
            }
            Self::Int32(values) => {
                if let Some(value) = values.get(at) {
                    let unsigned = kind == Kind::Unsigned;
                    let value = if unsigned { i64::from(*value as u32) } else { i64::from(*value) };
                    put_integer(value, kind, cell, row);
                }
            }
            Self::Int64(values) => match values.get(at) {
                Some(value) if kind == Kind::Unsigned && *value < 0 => {
                    row.set_text(cell, (*value as u64).to_string().as_bytes());
                }
                Some(value) => put_integer(*value, kind, cell, row),
                None => {}
            },
            Self::Int96(values) => {
                if let Some(value) = values.get(at) {
                    put_moment(Moment::of_seconds(value.to_seconds()), cell, row);
                }
            }
            Self::Float(values) => {
                values.get(at).iter().for_each(|v| row.set_real(cell, f64::from(**v)));
            }
            Self::Double(values) => values.get(at).iter().for_each(|v| row.set_real(cell, **v)),
            Self::Bytes(values) => {
                values.get(at).iter().for_each(|v| put_bytes(v.data(), kind, cell, row));
            }
            Self::Fixed(values) => {
                values.get(at).iter().for_each(|v| put_bytes(v.data(), kind, cell, row));
            }
        }
    }
}

fn put_integer(value: i64, kind: Kind, cell: usize, row: &mut Row) {
    match kind {
        Kind::Decimal(scale) => put_decimal(i128::from(value), scale, cell, row),
        Kind::Date => put_moment(Moment { days: value, seconds: None }, cell, row),
        Kind::Time(unit) => {
            let s = value.div_euclid(unit).rem_euclid(DAY);
            let text = format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
            row.set_text(cell, text.as_bytes());
        }
        Kind::Timestamp(unit) => put_moment(Moment::of_seconds(value.div_euclid(unit)), cell, row),
        Kind::Plain | Kind::Unsigned | Kind::Uuid => row.set_integer(cell, value),
    }
}

fn put_moment(moment: Moment, cell: usize, row: &mut Row) {
    row.set_text(cell, moment.to_string().as_bytes());
}

/// A decimal as its text, which is then read as a decimal of any other format is.
fn put_decimal(value: i128, scale: u32, cell: usize, row: &mut Row) {
    if scale == 0 {
        return match i64::try_from(value) {
            Ok(value) => row.set_integer(cell, value),
            Err(_) => row.set_text(cell, value.to_string().as_bytes()),
        };
    }
    let scale = scale.min(38) as usize;
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{fraction}");
    row.set_text(cell, text.trim_end_matches('0').trim_end_matches('.').as_bytes());
}

fn put_bytes(bytes: &[u8], kind: Kind, cell: usize, row: &mut Row) {
    match kind {
        Kind::Decimal(scale) => match signed(bytes) {
            Some(value) => put_decimal(value, scale, cell, row),
            None => row.set_real(cell, f64::NAN),
        },
        Kind::Uuid => {
            let mut text = String::with_capacity(36);
            for (i, byte) in bytes.iter().enumerate() {
                if matches!(i, 4 | 6 | 8 | 10) {
                    text.push('-');
                }
                text.push_str(&format!("{byte:02x}"));
            }
            row.set_text(cell, text.as_bytes());
        }
        _ => row.set_text(cell, bytes),
    }
}

/// A number in two's complement, most significant byte first.
fn signed(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let start = if first & 0x80 == 0 { 0i128 } else { -1 };
    (bytes.len() <= 16).then(|| bytes.iter().fold(start, |v, byte| v << 8 | i128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::row::Cell;

    fn text(put: impl Fn(&mut Row)) -> String {
        let mut row = Row::default();
        row.start(1, 1);
        put(&mut row);
        String::from_utf8(row.cell(0).text(&mut Vec::new()).to_vec()).unwrap()
    }

    #[test]
    fn decimals_keep_every_digit() {
        for (value, scale, expected) in [
            (12_345, 2, "123.45"),
            (-5, 3, "-0.005"),
            (1200, 2, "12"),
            (0, 2, "0"),
            (7, 0, "7"),
            (i128::MAX, 0, "170141183460469231731687303715884105727"),
        ] {
            assert_eq!(text(|row| put_decimal(value, scale, 0, row)), expected);
        }
        assert_eq!(signed(&[0xff, 0x38]), Some(-200));
        assert_eq!(signed(&[0x7f; 16]).map(|v| v > 0), Some(true));
        assert_eq!((signed(&[]), signed(&[0; 17])), (None, None));
    }

    #[test]
    fn days_and_times_are_text() {
        let of = |value, kind| text(|row| put_integer(value, kind, 0, row));
        assert_eq!(of(19_000, Kind::Date), "2022-01-08");
        assert_eq!(of(-1, Kind::Timestamp(1000)), "1969-12-31T23:59:59");
        assert_eq!(of(3_661_000_000, Kind::Time(1_000_000)), "01:01:01");
        let uuid = text(|row| put_bytes(&[0xab; 16], Kind::Uuid, 0, row));
        assert_eq!(uuid, "abababab-abab-abab-abab-abababababab");
    }

    #[test]
    fn a_value_that_is_not_there_is_missing() {
        let mut row = Row::default();
        row.start(1, 1);
        Values::Double(vec![]).put(0, Kind::Plain, 0, &mut row);
        assert_eq!(row.cell(0), Cell::Missing);
    }
}
