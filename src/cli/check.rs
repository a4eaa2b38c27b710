//! `kubeherald check`

use std::path::PathBuf;

use clap::Args;

use super::{Failure, output, print};
use crate::config::check::{Checked, check as find};

/// See `kubeherald check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files and directories: configuration, rules (`.yaml`), templates (`.hbs`).
    paths: Vec<PathBuf>,
    /// Print the rules in force with their overrides, as a rule file.
    #[arg(long)]
    effective: bool,
}

/// Finds every error.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let Checked { found, effective } = find(&args.paths, crate::clock::now());
    output::diagnostics(&found);
    let (errors, warnings) = found.iter().fold((0, 0), |(errors, warnings), d| match d.severity {
        crate::config::Level::Error => (errors + 1, warnings),
        crate::config::Level::Warning => (errors, warnings + 1),
    });
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    if errors > 0 {
        output::say(&format!("\n{}, {}", count(errors, "error"), count(warnings, "warning")));
        return Err(Failure::Told);
    }
    if args.effective {
        return print(&effective.join("\n"));
    }
    output::say(&match warnings {
        0 => String::from("all is well"),
        n => format!("no errors, {}", count(n, "warning")),
    });
    Ok(())
}
