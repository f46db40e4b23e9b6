//! Trying again: exponential waits with jitter, a bounded number of tries and of time.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::error::Result;
use super::limits::Limits;

/// The waits between the tries of one request.
#[derive(Debug)]
pub struct Schedule {
    limits: Arc<Limits>,
    tries: u32,
    /// The first failure.
    since: Option<Instant>,
    waited: Duration,
}

impl Schedule {
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { limits, tries: 1, since: None, waited: Duration::ZERO }
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Waits for the next try. `false`: there is none. `asked` is what the server wants waited at least;
    /// one that wants more than there is patience for is not waited for at all.
    pub fn wait(&mut self, asked: Option<Duration>) -> bool {
        if self.tries >= self.limits.tries {
            return false;
        }
        let doubled = self.limits.first_wait.saturating_mul(1 << (self.tries - 1).min(16));
        let wait = jitter(doubled.min(self.limits.longest_wait)).max(asked.unwrap_or_default());
        // A test's sleep takes no time, but counts.
        let spent = self.since.get_or_insert_with(Instant::now).elapsed().max(self.waited);
        if wait > self.limits.longest_wait || spent + wait > self.limits.total {
            return false;
        }
        (self.limits.sleep)(wait);
        self.waited += wait;
        self.tries += 1;
        true
    }
}

/// Repeats what fails for a reason that may pass.
pub fn retrying<T>(limits: &Arc<Limits>, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut schedule = Schedule::new(Arc::clone(limits));
    loop {
        match attempt() {
            Err(error) if error.is_transient() && schedule.wait(error.retry_after()) => {}
            result => return result,
        }
    }
}

/// Between half and all of it: clients that were turned away together do not come back together.
fn jitter(wait: Duration) -> Duration {
    // Keyed with randomness, new for each.
    let share = u32::try_from(RandomState::new().hash_one(0) & 0xffff).unwrap_or(0);
    wait / 2 + (wait / 2) * share / 0x1_0000
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = UNIX_EPOCH + Duration::from_secs(http_date(value)?);
    Some(then.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of the one form of date that may be sent (RFC 9110, 5.6.7, IMF-fixdate), such as
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok().filter(|part| *part <= 60));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next() != Some("GMT") {
        return None;
    }
    // Days of the civil calendar, in years that begin in March so that the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::registry::Error;

    fn recording(slept: &Arc<Mutex<Vec<Duration>>>) -> Arc<Limits> {
        let slept = Arc::clone(slept);
        Arc::new(Limits {
            sleep: Arc::new(move |wait| slept.lock().unwrap().push(wait)),
            ..Limits::default()
        })
    }

    fn busy(retry_after: Option<Duration>) -> Error {
        Error::Status { url: "u".into(), status: 503, said: String::new(), retry_after }
    }

    #[test]
    fn waits_double_with_jitter_and_end() {
        let slept = Arc::default();
        let mut calls = 0;
        let result = retrying::<()>(&recording(&slept), || {
            calls += 1;
            Err(busy(None))
        });
        assert!(result.is_err());
        assert_eq!(calls, 5);
        let slept = slept.lock().unwrap();
        for (wait, most) in slept.iter().zip([500, 1000, 2000, 4000]) {
            let most = Duration::from_millis(most);
            assert!(*wait >= most / 2 && *wait <= most, "{wait:?} of {most:?}");
        }
        assert_eq!(slept.len(), 4);
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it_within_limits() {
        let slept = Arc::default();
        let mut answers = vec![Ok(()), Err(busy(Some(Duration::from_secs(7))))];
        assert!(retrying(&recording(&slept), || answers.pop().unwrap()).is_ok());
        assert_eq!(*slept.lock().unwrap(), [Duration::from_secs(7)]);
        let mut calls = 0;
        let result = retrying::<()>(&recording(&slept), || {
            calls += 1;
            Err(busy(Some(Duration::from_secs(3600))))
        });
        assert!(result.is_err());
        assert_eq!(calls, 1);
    }

    #[test]
    fn what_will_not_pass_is_not_repeated() {
        let slept = Arc::default();
        for status in [400, 401, 403, 404, 501] {
            let mut calls = 0;
            let _ = retrying::<()>(&recording(&slept), || {
                calls += 1;
                Err(Error::Status { url: "u".into(), status, said: String::new(), retry_after: None })
            });
            assert_eq!(calls, 1, "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sat, 05 Nov 1994 08:49:37 GMT", now), Some(Duration::ZERO));
        assert_eq!(http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for bad in ["", "-1", "soon", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }
}
