//! Go's forms of floating point numbers (strconv.FormatFloat).

/// `%v`: the fewest digits that read back the same, with an exponent below -4 and from 6 on.
pub fn shortest(value: f64) -> String {
    let (mantissa, exponent) = scientific(&format!("{value:e}"));
    if (-4..6).contains(&exponent) { value.to_string() } else { with_exponent(&mantissa, exponent) }
}

/// `%.{digits}g`: so many significant digits at most, with an exponent below -4 and where the digits do not
/// reach the point.
pub fn significant(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    let (mantissa, exponent) = scientific(&format!("{value:.*e}", digits - 1));
    let trimmed = |text: &str| {
        let shorter = text.trim_end_matches('0').trim_end_matches('.');
        if text.contains('.') { shorter.to_string() } else { text.to_string() }
    };
    match usize::try_from(exponent) {
        Ok(places) if places >= digits => with_exponent(&trimmed(&mantissa), exponent),
        Ok(places) => trimmed(&format!("{value:.*}", digits - 1 - places)),
        Err(_) if exponent < -4 => with_exponent(&trimmed(&mantissa), exponent),
        Err(_) => {
            let zeros = usize::try_from(-exponent).unwrap_or_default();
            trimmed(&format!("{value:.*}", digits - 1 + zeros))
        }
    }
}

/// `%.{places}e`.
pub fn exponential(value: f64, places: usize) -> String {
    let (mantissa, exponent) = scientific(&format!("{value:.places$e}"));
    with_exponent(&mantissa, exponent)
}

/// Rust's `1.5e-7` in its parts.
fn scientific(text: &str) -> (String, i32) {
    match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa.to_string(), exponent.parse().unwrap_or_default()),
        None => (text.to_string(), 0),
    }
}

/// Two digits at least, and a sign.
fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_gos() {
        for (value, expected) in
            [(1.5, "1.5"), (123_456.0, "123456"), (1e6, "1e+06"), (1_234_567.5, "1.2345675e+06"), (3.0, "3")]
        {
            assert_eq!(shortest(value), expected);
        }
        assert_eq!(shortest(0.00001), "1e-05");
        for (value, digits, expected) in
            [(1.2345, 4, "1.234"), (999.96, 4, "1000"), (999.9, 3, "1e+03"), (0.5, 4, "0.5"), (0.0, 4, "0")]
        {
            assert_eq!(significant(value, digits), expected);
        }
        assert_eq!(significant(0.000_012_345, 3), "1.23e-05");
        assert_eq!(exponential(1234.5, 2), "1.23e+03");
    }
}
