//! "Did you mean …?"

/// The candidate nearest to what was written, if it is near enough to be a typing error: a third of
/// the letters, at least one. Case does not count.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written: Vec<char> = written.chars().take(MAX_LETTERS).flat_map(char::to_lowercase).collect();
    let allowed = (written.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let letters: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
            (distance(&written, &letters), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names are short; what is longer is no typing error of one, and must not cost quadratic time.
const MAX_LETTERS: usize = 64;

/// Edits, counting a swap of neighbours as one (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// The help for a typing error.
pub fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// "`a`, `b` and `c`", for help texts.
pub fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_found_and_other_words_are_not() {
        let keys = ["receivers", "routes", "cluster", "watch"];
        assert_eq!(nearest("recievers", keys), Some("receivers"));
        assert_eq!(nearest("Receivers", keys), Some("receivers"));
        assert_eq!(nearest("route", keys), Some("routes"));
        assert_eq!(nearest("wacth", keys), Some("watch"));
        assert_eq!(nearest("alerts", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(100_000), keys), None);
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!(join([]), "");
        assert_eq!(join(["a"]), "`a`");
        assert_eq!(join(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
