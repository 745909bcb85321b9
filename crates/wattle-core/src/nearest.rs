//! Finds the known name nearest to one that was mistyped, so that errors can say what was meant.

/// The name among `known` that takes the fewest edits to become `found`, letter case aside; the
/// first of equals. `None` only when nothing is known.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    known.into_iter().min_by_key(|name| edit_distance(&found, &name.to_lowercase()))
}

/// Levenshtein's distance: insertions, deletions and substitutions, each of cost one.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (i, from_char) in from.chars().enumerate() {
        let mut diagonal = costs[0];
        costs[0] = i + 1;
        for (j, to_char) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(from_char != *to_char);
            diagonal = costs[j + 1];
            costs[j + 1] = substituted.min(diagonal + 1).min(costs[j] + 1);
        }
    }
    costs[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_edits() {
        for (from, to, edits) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)]
        {
            assert_eq!(edit_distance(from, to), edits, "{from} -> {to}");
            assert_eq!(edit_distance(to, from), edits, "{to} -> {from}");
        }
    }

    #[test]
    fn names_what_was_meant() {
        let known = ["batch_size", "instances", "duty_cycle"];
        assert_eq!(nearest("batchsize", known), Some("batch_size"));
        assert_eq!(nearest("INSTANCE", known), Some("instances"));
        assert_eq!(nearest("anything", []), None);
    }
}
