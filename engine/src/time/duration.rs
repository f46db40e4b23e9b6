//! Durations as Go writes them: `300ms`, `1.5h`, `2h45m`, `-10s`.

use super::SECOND;

/// Nanoseconds. None if the word is no duration, or one of more than 292 years.
///
/// Source: Go's `time.ParseDuration`: a sign, then numbers, each with a unit; only 0 needs none.
pub fn parse_duration(word: &str) -> Option<i64> {
    let (negative, mut rest) = match word.as_bytes().first()? {
        b'-' => (true, word.get(1..)?),
        b'+' => (false, word.get(1..)?),
        _ => (false, word),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (ns, behind) = component(rest)?;
        total = total.checked_add(ns)?;
        rest = behind;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// The nanoseconds of the first number with its unit, and what follows.
fn component(text: &str) -> Option<(i128, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let scale = match unit {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
        "ms" => SECOND / 1000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits behind the 15th are less than a nanosecond even in hours.
    let fraction = fraction.get(..15).unwrap_or(fraction);
    let mut part = 0_i128;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok()?;
        part = i128::from(fraction.parse::<i64>().ok()?) * i128::from(scale) / 10_i128.pow(digits);
    }
    Some((i128::from(whole) * i128::from(scale) + part, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        assert_eq!(parse_duration("0"), Some(0));
        assert_eq!(parse_duration("10m"), Some(600 * SECOND));
        assert_eq!(parse_duration("1h30m"), Some(5400 * SECOND));
        assert_eq!(parse_duration("1.5s"), Some(SECOND + SECOND / 2));
        assert_eq!(parse_duration("-.5ms"), Some(-500_000));
        assert_eq!(parse_duration("+1µs1us1μs3ns"), Some(3003));
        assert_eq!(parse_duration("0.3333333333333333333h"), Some(1_199_999_999_999));
    }

    #[test]
    fn other_words_are_no_durations() {
        for bad in ["", "-", "+", "1", "s", ".s", "1d", "1.2.3s", "1 s", "--1s", "1s-1s", "9999999h", "∞s"]
        {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
