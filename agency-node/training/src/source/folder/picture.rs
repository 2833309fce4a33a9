//! A picture as numbers: decoded, brought to one size and one number of channels.

use std::io::Cursor;

use image::imageops::{FilterType, resize};
use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use serde::Deserialize;

/// Widest and highest picture that is decoded, points.
const MAX_SIDE: u32 = 20_000;

/// Most memory that decoding a picture may take, bytes.
const MAX_MEMORY: u64 = 512 << 20;

/// Most values of a picture, as many as a job may have inputs.
const MAX_VALUES: u64 = 100_000;

/// What every picture of a folder becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Points in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 1 for shades of grey, 3 for red, green and blue.
    #[serde(default = "one")]
    pub channels: u32,
}

fn one() -> u32 {
    1
}

impl Shape {
    /// Number of values: width times height times channels.
    pub fn values(self) -> usize {
        self.width as usize * self.height as usize * self.channels as usize
    }

    /// Whether it is one.
    ///
    /// # Errors
    /// What it should be.
    pub(crate) fn check(self) -> Result<(), String> {
        let points = u64::from(self.width).saturating_mul(u64::from(self.height));
        let values = points.saturating_mul(u64::from(self.channels));
        match (self.channels, values) {
            (1 | 3, 1..=MAX_VALUES) => Ok(()),
            (1 | 3, _) => Err(format!("width, height and channels give 1 to {MAX_VALUES} values")),
            _ => Err("channels is 1 (grey) or 3 (red, green, blue)".into()),
        }
    }

    /// The values of a picture, 0 to 255, row by row, the channels of a point together; `None` if it
    /// cannot be decoded.
    pub(super) fn points(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
        if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
            return None;
        }
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(MAX_MEMORY);
        reader.limits(limits);
        let picture = reader.decode().ok()?;
        Some(match self.channels {
            1 => self.grey(picture),
            _ => self.colour(picture),
        })
    }

    fn grey(self, picture: DynamicImage) -> Vec<u8> {
        let picture = picture.into_luma8();
        match picture.dimensions() == (self.width, self.height) {
            true => picture.into_raw(),
            false => resize(&picture, self.width, self.height, FilterType::Triangle).into_raw(),
        }
    }

    fn colour(self, picture: DynamicImage) -> Vec<u8> {
        let picture = picture.into_rgb8();
        match picture.dimensions() == (self.width, self.height) {
            true => picture.into_raw(),
            false => resize(&picture, self.width, self.height, FilterType::Triangle).into_raw(),
        }
    }
}
