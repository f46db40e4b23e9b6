//! Tables and the few forms in which amounts are shown.

use crate::text::escape;

/// Rows under headings, columns aligned, three spaces between: docker's look. Cells are escaped.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| escape(cell).to_string()).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let print = |cells: Vec<&str>| {
        let line: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", line.join("   ").trim_end());
    };
    print(headings.to_vec());
    for row in &rows {
        print(row.iter().map(String::as_str).collect());
    }
}

/// Decimal units, as docker shows sizes of images.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    let mut tenths = bytes / 100;
    for unit in UNITS {
        if tenths < 10_000 || unit == "PB" {
            return if tenths < 1000 {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            } else {
                format!("{}{unit}", tenths / 10)
            };
        }
        tenths /= 1000;
    }
    String::new()
}

/// How long ago, in docker's words.
pub fn ago(seconds: i64) -> String {
    let (amount, unit) = match seconds {
        i64::MIN..=1 => return "Just now".into(),
        2..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..1_209_600 => (seconds / 86_400, "day"),
        1_209_600..5_184_000 => (seconds / 604_800, "week"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{amount} {unit}{} ago", if amount == 1 { "" } else { "s" })
}

/// Twelve digits of an id, with or without its algorithm.
pub fn short(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_read_like_dockers() {
        assert_eq!(size(999), "999B");
        assert_eq!(size(1_960_000), "1.9MB");
        assert_eq!(size(170_000_000), "170MB");
        assert_eq!(size(2_500_000_000), "2.5GB");
        assert_eq!(ago(1), "Just now");
        assert_eq!(ago(90), "1 minute ago");
        assert_eq!(ago(86_400 * 3), "3 days ago");
    }

    #[test]
    fn ids_are_shortened_without_their_algorithm() {
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("abc"), "abc");
    }
}
