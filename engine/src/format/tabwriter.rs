//! Columns as docker's tables have them: Go's text/tabwriter with a least width of 10, three spaces between.

/// Least width of a column, the space after it included.
const LEAST: usize = 10;
/// Spaces after the widest cell.
const PADDING: usize = 3;

/// Aligns cells that end with a tab. A column goes over neighbouring lines that have it; what follows a
/// line's last tab belongs to none.
pub fn align(text: &str) -> String {
    let mut widths: Vec<usize> = Vec::new();
    // The columns of the line above, by their places in `widths`.
    let mut above: Vec<usize> = Vec::new();
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut cells: Vec<&str> = line.split('\t').collect();
        let last = cells.pop().unwrap_or_default();
        above.truncate(cells.len());
        for (column, cell) in cells.iter().enumerate() {
            if column == above.len() {
                above.push(widths.len());
                widths.push(LEAST);
            }
            if let Some(width) = above.get(column).and_then(|column| widths.get_mut(*column)) {
                *width = (*width).max(cell.chars().count() + PADDING);
            }
        }
        lines.push((cells, last, above.clone()));
    }
    let mut aligned = String::with_capacity(text.len());
    for (index, (cells, last, columns)) in lines.into_iter().enumerate() {
        aligned.push_str(if index == 0 { "" } else { "\n" });
        for (cell, column) in cells.iter().zip(columns) {
            let width = widths.get(column).copied().unwrap_or(LEAST);
            aligned.push_str(&format!("{cell:<width$}"));
        }
        aligned.push_str(last);
    }
    aligned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_ten_at_least() {
        let text = "ID\tNAMES\tPORTS\tIMAGE\nx\tlonger than ten\t\ta\n";
        assert_eq!(
            align(text),
            "ID        NAMES             PORTS     IMAGE\nx         longer than ten             a\n"
        );
    }

    #[test]
    fn a_line_without_a_column_ends_it() {
        let text = "a long first cell\tx\nnone\nb\ty";
        assert_eq!(align(text), "a long first cell   x\nnone\nb         y");
    }

    #[test]
    fn a_last_tab_pads_and_widths_count_characters() {
        assert_eq!(align("ééééééééé\t|\nA\t|\t\n"), "ééééééééé   |\nA           |         \n");
    }
}
