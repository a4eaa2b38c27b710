//! Sizes as Kubernetes writes them: `512Mi`, `1Gi`, `800M`, or a plain number of bytes.

/// Why a text is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// It does not begin with a whole number, or its unit is unknown.
    #[error("not a size")]
    Shape,
    /// More than can be counted.
    #[error("too large")]
    TooLarge,
}

/// What to write instead.
pub const HELP: &str = "write a size as `512Mi`, `1Gi` or `800M`";

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
];

/// Reads a size in bytes.
pub fn parse(text: &str) -> Result<u64, BytesError> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits).ok_or(BytesError::Shape)?;
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(BytesError::Shape)?;
    if number.is_empty() {
        return Err(BytesError::Shape);
    }
    let number: u64 = number.parse().map_err(|_| BytesError::TooLarge)?;
    number.checked_mul(*unit).ok_or(BytesError::TooLarge)
}

/// A size in the largest unit of powers of two that it is a whole number of.
pub fn written(bytes: u64) -> String {
    let unit = UNITS.iter().rev().filter(|(name, _)| name.ends_with('i'));
    let unit = unit.copied().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    let (name, size) = unit.unwrap_or(("", 1));
    format!("{}{name}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, bytes) in
            [("768Mi", 768 << 20), ("1Gi", 1 << 30), ("800M", 800_000_000), ("1048576", 1 << 20), ("0", 0)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "Mi", "1.5Gi", "1 Gi", "1mi", "1GiB", "-1", "ü"] {
            assert_eq!(parse(text), Err(BytesError::Shape), "{text}");
        }
        for text in ["99999999999999999999", "99999999Ti"] {
            assert_eq!(parse(text), Err(BytesError::TooLarge), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (bytes, text) in [(768 << 20, "768Mi"), (1 << 30, "1Gi"), (1_500, "1500"), (0, "0")] {
            assert_eq!(written(bytes), text);
            assert_eq!(parse(text), Ok(bytes));
        }
    }
}
