//! "Did you mean …?"

/// The candidate nearest to what was written, if it is near enough to be a typing error (a third of the
/// letters, at least one); otherwise the only one that begins with it, `CrashLoopBackOff` for `CrashLoop`.
/// Case does not count.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written: String = written.chars().take(MAX_LETTERS).flat_map(char::to_lowercase).collect();
    let allowed = (written.chars().count() / 3).max(1);
    let candidates: Vec<(String, &str)> =
        candidates.into_iter().map(|name| (name.to_lowercase(), name)).collect();
    let near = candidates
        .iter()
        .map(|(letters, name)| (strsim::osa_distance(&written, letters), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance);
    let mut longer = candidates.iter().filter(|(letters, _)| begins_so(letters, &written));
    let only = longer.next().filter(|_| longer.next().is_none());
    near.map(|(_, name)| name).or_else(|| only.map(|(_, name)| *name))
}

/// Is what was written a typing error of this name? Case does not count.
pub fn is_near(written: &str, name: &str) -> bool {
    let written: String = written.chars().take(MAX_LETTERS).flat_map(char::to_lowercase).collect();
    strsim::osa_distance(&written, &name.to_lowercase()) <= (written.chars().count() / 3).max(1)
}

/// Is this how it begins, with one letter wrong at most?
fn begins_so(candidate: &str, written: &str) -> bool {
    let letters = written.chars().count();
    let beginning = |letters: usize| candidate.chars().take(letters).collect::<String>();
    let slip = || [letters, letters + 1].iter().any(|n| strsim::osa_distance(&beginning(*n), written) <= 1);
    letters >= MIN_BEGINNING && (candidate.starts_with(written) || letters >= 2 * MIN_BEGINNING && slip())
}

/// Names are short; what is longer is no typing error of one, and must not cost quadratic time.
const MAX_LETTERS: usize = 64;
/// Fewer letters are the beginning of anything.
const MIN_BEGINNING: usize = 3;

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
        assert_eq!(nearest("clu", keys), Some("cluster"));
        assert_eq!(nearest("r", keys), None);
        let causes = ["CrashLoopBackOff", "OOMKilled", "FailedMount", "FailedCreate"];
        assert_eq!(nearest("CrashLoop", causes), Some("CrashLoopBackOff"));
        assert_eq!(nearest("oom", causes), Some("OOMKilled"));
        assert_eq!(nearest("CrashLop", causes), Some("CrashLoopBackOff"));
        assert_eq!(nearest("CrshLoop", causes), Some("CrashLoopBackOff"));
        assert_eq!(nearest("Failed", causes), None, "of two that begin so neither is meant more");
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
