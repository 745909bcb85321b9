//! For tests: whether every tag that is opened is closed, and nothing but text stands between tags.

/// Elements of HTML that have no end.
const ENDLESS: [&str; 3] = ["meta", "link", "br"];

/// Whether `text` is well-formed.
///
/// # Errors
/// Says what is wrong, and near what.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (before, from) = rest.split_at(start);
        escaped(before)?;
        // A quoted attribute may hold anything but its quote.
        let mut is_quoted = false;
        let end = from.find(|letter| {
            is_quoted ^= letter == '"';
            letter == '>' && !is_quoted
        });
        let near: String = from.chars().take(60).collect();
        let end = end.ok_or_else(|| format!("no end of the tag at {near:?}"))?;
        let tag = &from[1..end];
        rest = &from[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default();
        if tag.starts_with('!') || tag.ends_with('/') || ENDLESS.contains(&name) {
            continue;
        }
        if tag.starts_with('/') {
            let opened = open.pop();
            if opened != Some(name) {
                return Err(format!("{opened:?} is open and {name:?} is closed at {near:?}"));
            }
        } else {
            open.push(name);
        }
        if name == "style" && !tag.starts_with('/') {
            rest = &rest[rest.find("</style>").ok_or("no end of the style")?..];
        }
    }
    escaped(rest)?;
    if open.is_empty() { Ok(()) } else { Err(format!("still open: {open:?}")) }
}

/// No `>` and no lone `&` in text.
fn escaped(text: &str) -> Result<(), String> {
    let is_entity =
        |after: &str| ["amp;", "lt;", "gt;", "quot;", "apos;"].iter().any(|e| after.starts_with(e));
    let is_lone = text.split('&').skip(1).any(|after| !is_entity(after));
    if is_lone || text.contains('>') { Err(format!("not escaped: {text:?}")) } else { Ok(()) }
}

#[test]
fn what_is_not_closed_or_not_escaped_is_found() {
    assert!(check("<p>a &amp; b<br></p>").is_ok());
    for wrong in ["<p><b></p></b>", "<p>", "<p>a & b</p>", "<p a=\"x>y</p>", "a > b", "</p>"] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}
