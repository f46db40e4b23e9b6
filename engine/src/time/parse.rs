//! Times as people and programs write them.

use super::{DAY, SECOND, days_of, local_offset, parse_duration};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is neither a time nor a duration; times look like 2026-01-31T12:00:00Z, 2026-01-31 or 1769860800.5, durations (into the past) like 10m or 1h30m"
)]
pub struct TimeError(String);

/// The time that `--since` or `--until` means, at `now_ns`: a Go duration (so long ago), RFC 3339 down
/// to the mere date (without a zone: in the one that is this machine's now, as docker takes it), or
/// seconds since 1970 with or without a fraction.
pub fn parse_since(word: &str, now_ns: i64) -> Result<i64, TimeError> {
    let refuse = || TimeError(word.to_string());
    // "0" is the first second of 1970 here.
    if let Some(ago) = parse_duration(word).filter(|_| word != "0") {
        return Ok(now_ns.saturating_sub(ago));
    }
    if word.contains('-') {
        return date_time(word, || local_offset(now_ns)).ok_or_else(refuse);
    }
    let (seconds, fraction) = word.split_once('.').unwrap_or((word, "0"));
    let seconds: i64 = digits(seconds).ok_or_else(refuse)?;
    let ns = fraction_ns(fraction).ok_or_else(refuse)?;
    Ok(seconds.saturating_mul(SECOND).saturating_add(ns))
}

/// A time with seconds and a zone, as RFC 3339 has it.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let behind_seconds = *text.as_bytes().get(19)?;
    let has_zone =
        matches!(behind_seconds, b'.' | b'Z' | b'+' | b'-') && text.as_bytes().get(10) == Some(&b'T');
    let ns = date_time(text, || i64::MAX)?;
    has_zone.then_some(ns)
}

/// A date, and behind it, each only after the one before: hours, minutes, seconds, a fraction. Then a
/// zone, or else `default_offset` says the seconds east of Greenwich.
fn date_time(text: &str, default_offset: impl FnOnce() -> i64) -> Option<i64> {
    let mut rest = text;
    let year = number(&mut rest, 4)?;
    eat(&mut rest, "-")?;
    let month = number(&mut rest, 2).filter(|month| (1..=12).contains(month))?;
    eat(&mut rest, "-")?;
    let day = number(&mut rest, 2).filter(|day| (1..=days_in(year, month)).contains(day))?;
    let (mut seconds, mut ns) = (0, 0);
    if eat(&mut rest, "T").is_some() {
        (seconds, ns) = time_of_day(&mut rest)?;
    }
    let offset = match rest {
        "" => default_offset(),
        "Z" => 0,
        zone => zone_offset(zone)?,
    };
    let seconds = (days_of(year, month, day) * DAY + seconds).checked_sub(offset)?;
    // Out of what an i64 holds: the nearer end. i128, since i64::MIN's second begins below i64::MIN.
    let total = i128::from(seconds) * i128::from(SECOND) + i128::from(ns);
    Some(i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX }))
}

/// Seconds and nanoseconds since midnight.
fn time_of_day(rest: &mut &str) -> Option<(i64, i64)> {
    let mut seconds = number(rest, 2).filter(|hour| *hour < 24)? * 3600;
    if eat(rest, ":").is_none() {
        return Some((seconds, 0));
    }
    seconds += number(rest, 2).filter(|minute| *minute < 60)? * 60;
    if eat(rest, ":").is_none() {
        return Some((seconds, 0));
    }
    seconds += number(rest, 2).filter(|second| *second < 60)?;
    if eat(rest, ".").is_none() {
        return Some((seconds, 0));
    }
    let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, behind) = rest.split_at(length);
    *rest = behind;
    Some((seconds, fraction_ns(fraction)?))
}

/// Seconds east of Greenwich of `+01:00`.
fn zone_offset(zone: &str) -> Option<i64> {
    let mut rest = zone.get(1..)?;
    let hours = number(&mut rest, 2).filter(|hours| *hours <= 24)?;
    eat(&mut rest, ":")?;
    let minutes = number(&mut rest, 2).filter(|minutes| *minutes < 60)?;
    let offset = hours * 3600 + minutes * 60;
    match (zone.as_bytes().first()?, rest) {
        (b'+', "") => Some(offset),
        (b'-', "") => Some(-offset),
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Takes a number of exactly `width` digits off the front.
fn number(rest: &mut &str, width: usize) -> Option<i64> {
    let (number, behind) = rest.split_at_checked(width)?;
    let number = digits(number)?;
    *rest = behind;
    Some(number)
}

fn eat(rest: &mut &str, word: &str) -> Option<()> {
    *rest = rest.strip_prefix(word)?;
    Some(())
}

/// `str::parse` without the sign it would take.
fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Nanoseconds of the digits behind the point; those behind the ninth are dropped.
fn fraction_ns(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some(digits.fold(0, |ns, digit| ns * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000 * SECOND;

    #[test]
    fn durations_are_taken_from_now() {
        assert_eq!(parse_since("10m", NOW), Ok(NOW - 600 * SECOND));
        assert_eq!(parse_since("-1s", NOW), Ok(NOW + SECOND));
    }

    #[test]
    fn unix_times_may_have_a_fraction() {
        assert_eq!(parse_since("0", NOW), Ok(0));
        assert_eq!(parse_since("1136073600", NOW), Ok(1_136_073_600 * SECOND));
        assert_eq!(parse_since("1136073600.000000001", NOW), Ok(1_136_073_600 * SECOND + 1));
        assert_eq!(parse_since("1.5", NOW), Ok(SECOND + SECOND / 2));
    }

    #[test]
    fn dates_may_end_early() {
        let day = 1_136_073_600 * SECOND;
        assert_eq!(parse_since("2006-01-01Z", NOW), Ok(day));
        assert_eq!(parse_since("2006-01-01T00Z", NOW), Ok(day));
        assert_eq!(parse_since("2006-01-01T02:30+02:30", NOW), Ok(day));
        assert_eq!(parse_since("2005-12-31T23:00:00-01:00", NOW), Ok(day));
        assert_eq!(parse_since("2006-01-01T00:00:00.5Z", NOW), Ok(day + SECOND / 2));
        let local = day - local_offset(NOW) * SECOND;
        for word in ["2006-01-01", "2006-01-01T00", "2006-01-01T00:00", "2006-01-01T00:00:00"] {
            assert_eq!(parse_since(word, NOW), Ok(local), "{word}");
        }
    }

    #[test]
    fn times_out_of_range_are_read_as_its_ends() {
        assert_eq!(parse_since("0001-01-01T00:00:00Z", NOW), Ok(i64::MIN));
        assert_eq!(parse_since("9999-12-31T00:00:00Z", NOW), Ok(i64::MAX));
        assert_eq!(parse_since("99999999999999", NOW), Ok(i64::MAX));
    }

    #[test]
    fn other_words_are_refused() {
        for bad in [
            "",
            "yesterday",
            "2006-13-01",
            "2006-02-29",
            "2006-01-01T",
            "2006-01-01T24:00:00Z",
            "2006-01-01 00:00:00",
            "2006-01-01T00:00:00.Z",
            "2006-01-01T00:00:00+1",
            "1.",
            ".5",
            "1.x",
            "+5",
            "1e9",
            "2006-01-01T00:00:00Zx",
        ] {
            assert!(parse_since(bad, NOW).is_err(), "{bad}");
        }
        for bad in ["2006-01-01Z", "2006-01-01T00:00:00", "2006-01-01T00:00Z", "2006-01-01T00:00+00:00"] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
