//! A plain table: columns as wide as what is in them, numbers and what stands above them to the right.

use std::fmt;

/// Rows of cells under a header.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self(vec![header.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.0
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let is_number = |cell: &String| cell.parse::<f64>().is_ok() || cell == "-";
        // The heading of a column of texts stands where they begin.
        let is_of_numbers = |column: usize| {
            let cells = self.0.iter().skip(1).filter_map(|row| row.get(column));
            self.0.len() == 1 || cells.into_iter().any(is_number)
        };
        for (index, row) in self.0.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let is_right = column > 0 && if index == 0 { is_of_numbers(column) } else { is_number(cell) };
                let width = widths.get(column).copied().unwrap_or(0);
                let cell = if is_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                line.push_str(if column == 0 { "" } else { "  " });
                line.push_str(&cell);
            }
            write!(f, "{}{}", if index == 0 { "" } else { "\n" }, line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["run", "W", "why"]);
        table.row(["a long name".into(), "1.5".into(), "counted".into()]);
        table.row(["b".into(), "100".into(), "so it is".into()]);
        assert_eq!(
            table.to_string(),
            "run            W  why\na long name  1.5  counted\nb            100  so it is"
        );
    }
}
