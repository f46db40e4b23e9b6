//! Signals by name or number, as docker takes them.

/// signal(7), x86-64.
const NAMES: [(&str, u8); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a signal; signals are names like TERM or SIGTERM, or numbers from 1 to 64")]
pub struct BadSignal(String);

pub fn parse(word: &str) -> Result<u8, BadSignal> {
    let bad = || BadSignal(word.to_string());
    if let Ok(number) = word.parse::<u8>() {
        return if (1..=RTMAX).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok(),
    };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest, '+').and_then(|more| RTMIN.checked_add(more)),
        (None, Some(rest)) => offset(rest, '-').and_then(|less| RTMAX.checked_sub(less)),
        (None, None) => NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number),
    };
    real_time.filter(|number| (1..=RTMAX).contains(number)).ok_or_else(bad)
}

/// `SIGTERM` and the like.
pub fn name(number: u8) -> String {
    match NAMES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        for word in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(parse(word), Ok(15));
        }
        assert_eq!((parse("RTMIN+3"), parse("SIGRTMAX-1"), parse("SIGRTMIN")), (Ok(37), Ok(63), Ok(34)));
        for bad in ["", "0", "65", "SIG", "TERMS", "RTMIN+40", "-9"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!((name(9), name(40)), ("SIGKILL".to_string(), "40".to_string()));
    }
}
