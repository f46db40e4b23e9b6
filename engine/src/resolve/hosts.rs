//! hosts(5).

use std::net::IpAddr;

use super::MAX_ADDRESSES;

/// The addresses of the lines that have the name.
pub fn find(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let line = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    let mut found: Vec<IpAddr> = Vec::new();
    for address in text.lines().filter_map(line) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found.truncate(MAX_ADDRESSES);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_column() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 registry\n10.0.0.1\tother Registry.Example alias # registry\n\
                    ::1 localhost registry.example\nnonsense registry.example\n";
        let found = find(text, "registry.example.");
        assert_eq!(found, ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert!(find(text, "registry").is_empty());
    }
}
