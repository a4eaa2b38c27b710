//! `kubeherald test`

mod diff;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Failure, output};
use crate::app::rule_test::{self, Report};
use crate::config::error::At;
use crate::config::{Config, Diagnostic, Level, Loaded, RuleTest, TestInput, attempt, load_shipped};
use crate::recording::RecordingError;

/// See `kubeherald test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Rule files, and directories of them. All of them together are the rules that are tested, with
    /// the shipped rules behind them. Without any: the shipped rules' own tests.
    paths: Vec<PathBuf>,
    /// The configuration file that brings receivers, routes, settings and further rules.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs every test.
pub fn test(args: &TestArgs) -> Result<(), Failure> {
    let loaded = if args.paths.is_empty() && args.config.is_none() {
        load_shipped()
    } else {
        attempt(args.config.as_deref(), &args.paths, crate::clock::now()).outcome
    };
    let Loaded { config, tests, warnings, .. } = loaded.map_err(|found| {
        output::diagnostics(&found);
        Failure::Told
    })?;
    output::diagnostics(&warnings);
    if tests.is_empty() {
        // A typing error in a path must not look like success in CI.
        return Err(
            anyhow::anyhow!("there is no test in these files; tests are written under `tests:`").into()
        );
    }
    let color = output::color_stdout();
    let mut stdout = std::io::stdout().lock();
    let mut failed = 0_usize;
    for test in &tests {
        let (passed, text) = one(test, &config, color);
        failed += usize::from(!passed);
        stdout.write_all(text.as_bytes())?;
    }
    let counts = format!("{} passed, {failed} failed", tests.len() - failed);
    writeln!(stdout, "\n{}", diff::paint(color, if failed > 0 { diff::RED } else { diff::GREEN }, &counts))?;
    stdout.flush()?;
    if failed > 0 { Err(Failure::Told) } else { Ok(()) }
}

/// Runs one test: did it pass, and what is said about it.
fn one(test: &RuleTest, config: &Config, color: bool) -> (bool, String) {
    let report = rule_test::run(test, config);
    let passed = report.as_ref().is_ok_and(Report::passed);
    if passed {
        return (true, format!("{} {}\n", diff::paint(color, diff::GREEN, "ok  "), test.name));
    }
    let head = format!("{} {} ({})\n", diff::paint(color, diff::RED, "FAIL"), test.name, test.at);
    let body = match (report, &test.input) {
        (Ok(report), _) => diff::render(test, &report, color),
        (Err(error), TestInput::Recording(_, at)) => unreadable(&error, at).render(color) + "\n",
        (Err(error), TestInput::Given(_)) => format!("{error}\n"),
    };
    (false, head + &body)
}

fn unreadable(error: &RecordingError, at: &At) -> Diagnostic {
    let help = "a recording is `.jsonl` or `.jsonl.gz`, relative to the file that names it";
    let found = Diagnostic::at(Level::Error, at, error.to_string());
    if matches!(error, RecordingError::Open { .. }) { found.help(help) } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_rules_pass_their_own_tests() {
        let Loaded { config, tests, .. } = load_shipped().unwrap();
        let failed: Vec<String> = tests
            .iter()
            .map(|test| one(test, &config, false))
            .filter(|(passed, _)| !passed)
            .map(|(_, text)| text)
            .collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }

    #[test]
    fn every_shipped_rule_is_expected_to_speak_and_shipped_packs_also_test_silence() {
        let Loaded { config, tests, .. } = load_shipped().unwrap();
        let expected: std::collections::HashSet<&str> = tests
            .iter()
            .flat_map(|test| &test.expect)
            .flat_map(|expect| &expect.texts)
            .filter(|(field, _)| *field == "rule")
            .map(|(_, rule)| rule.as_str())
            .collect();
        for rule in config.rules.iter() {
            assert!(expected.contains(&*rule.name), "no test expects a message of {}", rule.name);
        }
        assert!(tests.iter().filter(|test| test.expect.is_empty()).count() > 10);
    }
}
