//! What the person sees: headings, durations, progress bars.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Prints a heading for the next piece of work.
pub fn heading(title: &str) {
    println!("\n== {title}");
}

const BYTES: &str = "  {prefix:24} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const STEPS: &str = "  {prefix:8} [{bar:30}] {pos}/{len} {wide_msg}";

/// A bar that counts bytes, with speed and time left. Hidden when nobody watches.
pub fn bytes_bar(label: &str, total: u64) -> ProgressBar {
    bar(label, total, BYTES)
}

/// A bar that counts steps, with a message. Hidden when nobody watches.
pub fn steps_bar(label: &str, total: u64) -> ProgressBar {
    bar(label, total, STEPS)
}

/// A duration as a person reads it: `0.42 s`, `12.3 s`, `3 min 05 s`.
pub fn seconds(duration: Duration) -> String {
    let s = duration.as_secs_f64();
    if s < 10.0 {
        format!("{s:.2} s")
    } else if s < 100.0 {
        format!("{s:.1} s")
    } else {
        format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

fn bar(label: &str, total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    // A template that does not parse (a test forbids it) leaves the plain bar.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(label.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.42 s");
        assert_eq!(seconds(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 05 s");
    }

    #[test]
    fn templates_parse() {
        for template in [BYTES, STEPS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
