//! Amounts as docker writes them: `512m`, `1.5g`, `100` (bytes).

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a size; sizes look like 512m, 2g or 1048576 (b, k, m, g, t)")]
pub struct SizeError(String);

/// Bytes, in powers of 1024. Negative, zero-length and overflowing amounts are refused.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    scaled(text, 1024)
}

/// Bytes, in powers of 1000 as docker has them for log files, whatever the unit's spelling.
pub fn parse_decimal(text: &str) -> Result<u64, SizeError> {
    scaled(text, 1000)
}

fn scaled(text: &str, base: u64) -> Result<u64, SizeError> {
    let refuse = || SizeError(text.to_string());
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match lower.get(digits.len()..).unwrap_or_default() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(refuse()),
    };
    let unit = base.pow(power);
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(refuse);
    }
    let (whole, fraction) = digits.split_once('.').ok_or_else(refuse)?;
    if fraction.len() > 6 || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse());
    }
    let whole = whole.parse::<u64>().map_err(|_| refuse())?;
    let scale = 10u64.pow(u32::try_from(fraction.len()).map_err(|_| refuse())?);
    let part = u128::from(fraction.parse::<u64>().map_err(|_| refuse())?) * u128::from(unit);
    let part = u64::try_from(part / u128::from(scale)).map_err(|_| refuse())?;
    whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(part)).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_docker_reads_them() {
        assert_eq!(parse("100"), Ok(100));
        assert_eq!(parse("64k"), Ok(64 << 10));
        assert_eq!(parse("512MB"), Ok(512 << 20));
        assert_eq!(parse("1.5g"), Ok(3 << 29));
    }

    #[test]
    fn decimal_sizes_count_in_thousands() {
        assert_eq!(parse_decimal("10k"), Ok(10_000));
        assert_eq!(parse_decimal("1.5MiB"), Ok(1_500_000));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "m", "-1", "1x", "1.", ".5g", "99999999999t", "1e9", "1.2.3m"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
