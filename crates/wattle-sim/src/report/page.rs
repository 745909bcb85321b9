//! A page: paragraphs, tables, plots and parts to unfold, written as one HTML file that needs nothing else.

use std::fmt::Write;

use wattle_core::provenance::Provenance;

/// One file: a title and what follows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// What it is about.
    pub title: String,
    /// What it says, in order.
    pub blocks: Vec<Block>,
}

/// One part of a page. All text is escaped.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// The heading of a section.
    Heading(String),
    /// A paragraph.
    Paragraph(String),
    /// A remark in small.
    Note(String),
    /// A table.
    Table(Table),
    /// Plots side by side.
    Plots(Vec<Plot>),
    /// Larger plots, two to a row where there is room.
    Pairs(Vec<Plot>),
    /// A part that is folded at first.
    Details {
        /// What shows while it is folded.
        summary: String,
        /// What it hides.
        blocks: Vec<Self>,
    },
}

/// A table. The first cell of each row is the row's heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// A heading for each column.
    pub headers: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A figure with its unit, set to the right.
    Number(String),
    /// A figure that is not known.
    Unknown,
    /// How a figure is known.
    Provenance(Provenance),
    /// Whether something holds.
    Check {
        /// Whether it does.
        holds: bool,
        /// What is said of it.
        text: String,
    },
    /// A checksum.
    Hash(String),
}

impl Cell {
    /// A figure, or unknown.
    pub fn number(known: Option<String>) -> Self {
        known.map_or(Self::Unknown, Self::Number)
    }
}

/// A plot and what is to be said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// The plot as [`plot`](crate::plot) gives it: this text is not escaped.
    pub svg: String,
    /// What it shows, for those who can't see it.
    pub alternative: String,
    /// What stands below; nothing where empty.
    pub caption: String,
}

impl Page {
    /// The whole file.
    pub fn to_html(&self) -> String {
        let title = escaped(&self.title);
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
            include_str!("page.css")
        );
        for block in &self.blocks {
            block.write(&mut html);
        }
        html.push_str("</main>\n</body>\n</html>\n");
        html
    }
}

impl Block {
    fn write(&self, html: &mut String) {
        match self {
            Self::Heading(text) => *html += &format!("<h2>{}</h2>\n", escaped(text)),
            Self::Paragraph(text) => *html += &format!("<p>{}</p>\n", escaped(text)),
            Self::Note(text) => *html += &format!("<p class=\"soft\">{}</p>\n", escaped(text)),
            Self::Table(table) => table.write(html),
            Self::Plots(plots) => write_plots("plots", plots, html),
            Self::Pairs(plots) => write_plots("plots pairs", plots, html),
            Self::Details { summary, blocks } => {
                *html += &format!("<details>\n<summary>{}</summary>\n", escaped(summary));
                blocks.iter().for_each(|block| block.write(html));
                html.push_str("</details>\n");
            }
        }
    }
}

fn write_plots(class: &str, plots: &[Plot], html: &mut String) {
    *html += &format!("<div class=\"{class}\">\n");
    plots.iter().for_each(|plot| plot.write(html));
    html.push_str("</div>\n");
}

impl Table {
    fn write(&self, html: &mut String) {
        html.push_str("<div class=\"scroll\"><table>");
        if !self.caption.is_empty() {
            *html += &format!("<caption>{}</caption>", escaped(&self.caption));
        }
        html.push_str("\n<thead><tr>");
        for (index, header) in self.headers.iter().enumerate() {
            let is_number = self.rows.iter().any(|row| matches!(row.get(index), Some(Cell::Number(_))));
            let class = if is_number { " class=\"number\"" } else { "" };
            *html += &format!("<th scope=\"col\"{class}>{}</th>", escaped(header));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (index, cell) in row.iter().enumerate() {
                cell.write(index == 0, html);
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
    }
}

impl Cell {
    fn write(&self, is_heading: bool, html: &mut String) {
        let written = match self {
            Self::Text(text) if is_heading => write!(html, "<th scope=\"row\">{}</th>", escaped(text)),
            Self::Text(text) => write!(html, "<td>{}</td>", escaped(text)),
            Self::Number(text) => write!(html, "<td class=\"number\">{}</td>", escaped(text)),
            Self::Unknown => write!(html, "<td class=\"number unknown\">unknown</td>"),
            Self::Provenance(Provenance { basis, source }) => {
                write!(html, "<td><span class=\"badge {basis}\">{basis}</span> {}</td>", escaped(source))
            }
            Self::Check { holds, text } => {
                let (class, word) = if *holds { ("good", "holds") } else { ("bad", "does not hold") };
                write!(html, "<td><span class=\"{class}\">{word}</span> {}</td>", escaped(text))
            }
            Self::Hash(text) => write!(html, "<td class=\"hash\">{}</td>", escaped(text)),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
}

impl Plot {
    fn write(&self, html: &mut String) {
        // Inside a page, an SVG needs no namespace, and its fonts are the page's.
        let label = format!(" role=\"img\" aria-label=\"{}\"", escaped(&self.alternative));
        let svg = self.svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", &label, 1);
        let svg = svg.replace(" font-family=\"system-ui, sans-serif\"", "").replace(" opacity=\"1\"", "");
        *html += &format!("<figure>\n{svg}");
        if !self.caption.is_empty() {
            *html += &format!("<figcaption>{}</figcaption>\n", escaped(&self.caption));
        }
        html.push_str("</figure>\n");
    }
}

/// `text` with what HTML reads as its own set as entities.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use wattle_core::provenance::Basis;

    use super::*;
    use crate::report::well_formed::check;

    const EVIL: &str = "</title><script>alert('1')</script>\"&amp;";

    #[test]
    fn text_never_turns_into_markup() {
        let evil = || EVIL.to_owned();
        let cells = vec![
            Cell::Text(evil()),
            Cell::Text(evil()),
            Cell::Number(evil()),
            Cell::Provenance(Provenance::new(Basis::Assumed, EVIL)),
            Cell::Check { holds: false, text: evil() },
            Cell::Hash(evil()),
        ];
        let table = Table { caption: evil(), headers: vec![evil()], rows: vec![cells] };
        let svg = crate::plot::Bars::of_one(EVIL, crate::plot::Axis::free(EVIL, EVIL), Vec::new()).svg();
        let blocks = vec![
            Block::Heading(evil()),
            Block::Paragraph(evil()),
            Block::Note(evil()),
            Block::Plots(vec![Plot { svg, alternative: evil(), caption: evil() }]),
            Block::Details { summary: evil(), blocks: vec![Block::Table(table)] },
        ];
        let html = Page { title: evil(), blocks }.to_html();
        check(&html).unwrap();
        assert!(!html.contains("<script"));
        assert!(html.matches("&lt;script&gt;").count() > 10);
    }

    #[test]
    fn a_page_names_no_other_place() {
        let svg = crate::plot::Bars::of_one("a", crate::plot::Axis::free("b", ""), Vec::new()).svg();
        let plots = Block::Plots(vec![Plot { svg, alternative: "c".into(), caption: "d".into() }]);
        let html = Page { title: "t".into(), blocks: vec![plots] }.to_html();
        for outside in ["http://", "https://", "src=", "href=", "url(", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn an_unknown_figure_says_so() {
        let table = Table { rows: vec![vec![Cell::number(None)]], ..Table::default() };
        let html = Page { title: String::new(), blocks: vec![Block::Table(table)] }.to_html();
        assert!(html.contains(">unknown</td>"));
    }
}
