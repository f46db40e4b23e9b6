use super::*;

const MIB: u64 = 1 << 20;

fn rate(bytes: Option<u64>, requests: Option<u64>) -> Rate {
    Rate::new(bytes, requests)
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
fn directions_have_buckets_of_their_own() {
    let throttle = Throttle::default();
    let limits = DiskLimits { read_iops: Some(1), write_bps: Some(1), ..DiskLimits::default() };
    throttle.set(&limits);
    assert_eq!(throttle.admit(Access::Read, MIB), Ok(()));
    assert!(throttle.admit(Access::Read, 0).is_err());
    assert_eq!(throttle.admit(Access::Write, MIB), Ok(()));
    assert!(throttle.admit(Access::Write, 0).is_err());
    throttle.set(&DiskLimits::default());
    assert_eq!(throttle.admit(Access::Read, 0), Ok(()));
    throttle.owe(Access::Write, u64::MAX);
    assert_eq!(throttle.admit(Access::Write, 0), Ok(()));
    throttle.set(&limits);
    throttle.owe(Access::Write, 10);
    throttle.owe(Access::Read, 10);
    assert!(throttle.admit(Access::Write, 0).is_err());
    assert_eq!(throttle.admit(Access::Read, 0), Ok(()));
}
