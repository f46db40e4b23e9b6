use super::*;

const MIB: u64 = 1 << 20;

fn rate(bytes: Option<u64>, operations: Option<u64>) -> Rate {
    Rate::new(Limit { bytes, operations })
}

/// Serves requests of `bytes` as fast as they are admitted, until `end`; returns how many there were.
fn served(rate: &mut Rate, bytes: u64, mut now: Duration, end: Duration) -> u64 {
    let mut count = 0;
    while now <= end {
        match rate.admit(now, bytes) {
            Ok(()) => count += 1,
            Err(wait) => {
                assert!(!wait.is_zero());
                now += wait;
            }
        }
    }
    count
}

#[test]
fn nothing_waits_without_a_limit() {
    let mut rate = rate(None, None);
    for _ in 0..1000 {
        assert_eq!(rate.admit(Duration::ZERO, u64::MAX), Ok(()));
    }
}

#[test]
fn a_seconds_worth_is_there_at_once_and_the_rate_after_it() {
    let seconds = Duration::from_secs;
    let mut bytes = rate(Some(MIB), None);
    assert_eq!(served(&mut bytes, 4096, Duration::ZERO, Duration::ZERO), 256);
    assert_eq!(served(&mut bytes, 4096, Duration::ZERO, seconds(10)), 2560);
    let mut requests = rate(None, Some(100));
    assert_eq!(served(&mut requests, MIB, seconds(5), seconds(5)), 100);
    assert_eq!(served(&mut requests, MIB, seconds(5), seconds(8)), 300);
}

#[test]
fn what_is_not_used_is_saved_for_one_second_only() {
    let mut rate = rate(None, Some(10));
    let hour = Duration::from_secs(3600);
    assert_eq!(served(&mut rate, 0, hour, hour), 10);
    assert_eq!(served(&mut rate, 0, 2 * hour, 2 * hour), 10);
}

#[test]
fn wait_is_told_to_the_moment_and_asking_costs_nothing() {
    let mut rate = rate(Some(1000), None);
    assert_eq!(rate.admit(Duration::ZERO, 1000), Ok(()));
    for _ in 0..3 {
        assert_eq!(rate.admit(Duration::ZERO, 250), Err(Duration::from_millis(250)));
    }
    assert_eq!(rate.admit(Duration::from_millis(249), 250), Err(Duration::from_millis(1)));
    assert_eq!(rate.admit(Duration::from_millis(250), 250), Ok(()));
}

#[test]
fn request_larger_than_the_bucket_passes_and_is_paid_for_after_it() {
    let mut rate = rate(Some(1000), None);
    assert_eq!(rate.admit(Duration::ZERO, 5000), Ok(()));
    assert_eq!(rate.admit(Duration::ZERO, 1), Err(Duration::from_millis(4001)));
    // One more of them only from a full bucket.
    assert_eq!(rate.admit(Duration::ZERO, 5000), Err(Duration::from_secs(5)));
    assert_eq!(rate.admit(Duration::from_secs(5), 5000), Ok(()));
}

#[test]
fn request_takes_from_both_buckets_or_from_neither() {
    let mut rate = rate(Some(1000), Some(2));
    assert_eq!(rate.admit(Duration::ZERO, 1000), Ok(()));
    // Refused for its bytes, so that a request is left for one without any.
    assert_eq!(rate.admit(Duration::ZERO, 1000), Err(Duration::from_secs(1)));
    assert_eq!(rate.admit(Duration::ZERO, 0), Ok(()));
    assert_eq!(rate.admit(Duration::ZERO, 0), Err(Duration::from_millis(500)));
    assert_eq!(rate.admit(Duration::ZERO, 1000), Err(Duration::from_secs(1)));
}

#[test]
fn extreme_rates_amounts_and_times_neither_overflow_nor_let_go() {
    let far = Duration::from_nanos(u64::MAX);
    for now in [Duration::ZERO, far, Duration::MAX] {
        let mut slowest = rate(Some(1), Some(1));
        assert_eq!(slowest.admit(now, u64::MAX), Ok(()));
        let wait = slowest.admit(now, 1);
        assert!(now == Duration::MAX || wait.unwrap_err() >= far - BURST, "{wait:?}");
        let mut fastest = rate(Some(u64::MAX), Some(u64::MAX));
        for _ in 0..1000 {
            assert_eq!(fastest.admit(now, u64::from(u32::MAX)), Ok(()));
        }
    }
}

#[test]
fn clock_that_stands_still_or_steps_back_gives_nothing_away() {
    let mut rate = rate(None, Some(1));
    assert_eq!(rate.admit(Duration::from_secs(100), 0), Ok(()));
    assert_eq!(rate.admit(Duration::from_secs(100), 0), Err(Duration::from_secs(1)));
    assert_eq!(rate.admit(Duration::from_secs(99), 0), Err(Duration::from_secs(2)));
}

#[test]
fn operation_of_unknown_size_is_paid_for_by_the_next() {
    let mut rate = rate(Some(1000), Some(100));
    for _ in 0..3 {
        assert_eq!(rate.check(Duration::ZERO, 0), Ok(()));
    }
    rate.count(Duration::ZERO, 1500);
    assert_eq!(rate.check(Duration::ZERO, 0), Err(Duration::from_millis(500)));
    assert_eq!(rate.check(Duration::from_millis(500), 0), Ok(()));
    (0..100).for_each(|_| rate.count(Duration::from_secs(5), 0));
    assert_eq!(rate.check(Duration::from_secs(5), 0), Err(Duration::from_millis(10)));
}

#[test]
fn directions_have_buckets_of_their_own() {
    use Direction::{FromGuest, ToGuest};
    let throttle = Throttle::default();
    let operations = Limit { operations: Some(1), ..Limit::default() };
    let bytes = Limit { bytes: Some(1), ..Limit::default() };
    throttle.set(operations, bytes);
    assert_eq!(throttle.admit(ToGuest, MIB), Ok(()));
    assert!(throttle.admit(ToGuest, 0).is_err());
    assert_eq!(throttle.admit(FromGuest, MIB), Ok(()));
    assert!(throttle.admit(FromGuest, 0).is_err());
    throttle.set(Limit::default(), Limit::default());
    assert_eq!(throttle.admit(ToGuest, 0), Ok(()));
    throttle.owe(FromGuest, u64::MAX);
    throttle.count(FromGuest, u64::MAX);
    assert_eq!(throttle.admit(FromGuest, 0), Ok(()));
    throttle.set(operations, bytes);
    throttle.owe(FromGuest, 10);
    throttle.owe(ToGuest, 10);
    assert!(throttle.check(FromGuest, 0).is_err());
    assert_eq!(throttle.check(ToGuest, 0), Ok(()));
}
