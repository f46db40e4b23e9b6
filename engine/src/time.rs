//! Points in time as nanoseconds since 1970 (UTC), written and read as docker does.
//!
//! An `i64` reaches from 1677 to 2262; what lies outside is read as the nearer end.

mod duration;
mod parse;

use std::ffi::CStr;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

pub use duration::parse_duration;
pub use parse::{TimeError, parse_rfc3339, parse_since};

/// Nanoseconds.
pub const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Now, by the clock that people set.
pub fn now_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

/// `2026-01-31T12:00:00.25Z`: UTC, without the fraction's trailing zeros (Go's RFC3339Nano), as in log
/// files and `inspect`.
pub fn rfc3339_nano(ns: i64) -> String {
    Rfc3339::trimmed(ns).to_string()
}

/// `2026-01-31T12:00:00.250000000Z`: UTC, always nine digits, as `logs -t` prints it.
pub fn rfc3339_fixed(ns: i64) -> String {
    Rfc3339::fixed(ns).to_string()
}

/// `2026-01-31T13:00:00.250000000+01:00`: in this machine's zone, as `events` prints it.
pub fn rfc3339_local(ns: i64) -> String {
    Rfc3339 { offset: local_offset(ns), ..Rfc3339::fixed(ns) }.to_string()
}

/// `2026-01-31T13:00:00+01:00`: in this machine's zone, without a fraction (Go's RFC3339), as `history`
/// shows times.
pub fn rfc3339_seconds_local(ns: i64) -> String {
    let whole = ns.div_euclid(SECOND) * SECOND;
    Rfc3339 { offset: local_offset(ns), ..Rfc3339::trimmed(whole) }.to_string()
}

/// `2026-01-31 13:00:00 +0100 CET`: in this machine's zone, without a fraction, as Go prints times and `ps`
/// shows when a container was created.
pub fn go_local(ns: i64) -> String {
    let (offset, zone) = local_zone(ns);
    let whole = Rfc3339 { offset, ..Rfc3339::trimmed(ns.div_euclid(SECOND) * SECOND) }.to_string();
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
    let date_time = whole.get(..19).unwrap_or(&whole).replace('T', " ");
    format!("{date_time} {sign}{:02}{:02} {zone}", minutes / 60, minutes % 60)
}

/// A time to be written without a `String` between.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339 {
    ns: i64,
    /// East of Greenwich, seconds.
    offset: i64,
    trimmed: bool,
}

impl Rfc3339 {
    /// See [`rfc3339_nano`].
    pub fn trimmed(ns: i64) -> Self {
        Self { ns, offset: 0, trimmed: true }
    }

    /// See [`rfc3339_fixed`].
    pub fn fixed(ns: i64) -> Self {
        Self { ns, offset: 0, trimmed: false }
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.ns.div_euclid(SECOND) + self.offset;
        let (days, second_of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        self.write_fraction(f)?;
        if self.offset == 0 {
            return f.write_str("Z");
        }
        let (sign, minutes) = (if self.offset < 0 { '-' } else { '+' }, self.offset.abs() / 60);
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Rfc3339 {
    fn write_fraction(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut fraction, mut digits) = (self.ns.rem_euclid(SECOND), 9);
        if self.trimmed {
            if fraction == 0 {
                return Ok(());
            }
            while fraction % 10 == 0 {
                fraction /= 10;
                digits -= 1;
            }
        }
        write!(f, ".{fraction:0digits$}")
    }
}

/// Seconds that this machine's zone is east of Greenwich at a time; 0 if the zone cannot be found out.
fn local_offset(ns: i64) -> i64 {
    local_zone(ns).0
}

/// The same, and the zone's short name.
fn local_zone(ns: i64) -> (i64, String) {
    let seconds: libc::time_t = ns.div_euclid(SECOND);
    // SAFETY: all of tm's fields are integers but tm_zone, a pointer for which null is a value.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; localtime_r(3) keeps neither.
    let known = unsafe { !libc::localtime_r(&raw const seconds, &raw mut local).is_null() };
    if !known || local.tm_zone.is_null() {
        return (0, "UTC".to_string());
    }
    // SAFETY: localtime_r(3) has set it to a text of the C library's own, which stays for this zone.
    let zone = unsafe { CStr::from_ptr(local.tm_zone) };
    (local.tm_gmtoff, zone.to_string_lossy().into_owned())
}

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;
/// Days of 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;

/// Year, month and day of a day since 1970 (proleptic Gregorian calendar). Years are counted from
/// March, so that a leap day is a year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339_fixed(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339_fixed(951_782_400 * SECOND), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(rfc3339_fixed(1_700_000_000 * SECOND + 250), "2023-11-14T22:13:20.000000250Z");
        assert_eq!(rfc3339_fixed(4_107_542_399 * SECOND), "2100-02-28T23:59:59.000000000Z");
        assert_eq!(rfc3339_fixed(-1), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn trailing_zeros_go_from_the_short_form() {
        assert_eq!(rfc3339_nano(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339_nano(250_000_000), "1970-01-01T00:00:00.25Z");
        assert_eq!(rfc3339_nano(10), "1970-01-01T00:00:00.00000001Z");
        assert_eq!(rfc3339_nano(i64::MAX), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn local_times_in_gos_form_have_no_fraction() {
        let (shown, rfc) = (go_local(1_500_000_000), rfc3339_local(1_500_000_000));
        assert_eq!(shown.get(..10), rfc.get(..10), "{shown}");
        let words: Vec<_> = shown.split(' ').collect();
        assert!(words.len() == 4 && words[1].len() == 8 && words[2].len() == 5, "{shown}");
    }

    #[test]
    fn an_offset_is_written_behind_the_local_time() {
        let east = Rfc3339 { offset: 5 * 3600 + 1800, ..Rfc3339::fixed(0) };
        assert_eq!(east.to_string(), "1970-01-01T05:30:00.000000000+05:30");
        let west = Rfc3339 { offset: -3600, ..Rfc3339::fixed(0) };
        assert_eq!(west.to_string(), "1969-12-31T23:00:00.000000000-01:00");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ns: i64) {
            prop_assert_eq!(parse_rfc3339(&rfc3339_nano(ns)), Some(ns));
            prop_assert_eq!(parse_rfc3339(&rfc3339_fixed(ns)), Some(ns));
            prop_assert_eq!(parse_rfc3339(&rfc3339_local(ns)), Some(ns));
        }
    }
}
