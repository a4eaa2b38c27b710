//! What the process says of itself while it runs: one line an event, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The variable that holds a filter: `debug`, or `info,kubeherald::watch=debug`.
pub const FILTER_VARIABLE: &str = "KUBEHERALD_LOG";
/// What is logged if nothing else is asked for. Libraries say at `info` what their users need not know.
/// A target in a filter is a prefix: `kube` alone would be `kubeherald`, too.
pub const DEFAULT_FILTER: &str = "info,kube_client=warn,kube_runtime=warn,hyper=warn";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why nothing is logged.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The variable holds no filter.
    #[error("{FILTER_VARIABLE} is no log filter (like `debug`, or `info,kubeherald::watch=debug`): {0}")]
    Filter(#[source] ParseError),
    /// A word that names neither a level nor, with `=LEVEL`, a part of a program. As a filter it would
    /// hide everything.
    #[error(
        "{FILTER_VARIABLE}: `{0}` is not a log level: write one of error, warn, info, debug and trace, or \
         `kubeherald::watch=debug` for a part of the program"
    )]
    Level(String),
    /// The variable holds no text.
    #[error("{FILTER_VARIABLE} is not valid UTF-8")]
    NotText,
    /// Logging was set up before.
    #[error("logging was set up before: {0}")]
    Twice(Box<dyn std::error::Error + Send + Sync>),
}

/// Sets logging up for the whole process. The variable wins over `default_filter`.
pub fn init(format: LogFormat, default_filter: &str) -> Result<(), TelemetryError> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) => filter(&text, default_filter)?,
        Err(std::env::VarError::NotPresent) => filter("", default_filter)?,
        Err(std::env::VarError::NotUnicode(_)) => return Err(TelemetryError::NotText),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    );
    match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Twice)
}

/// An empty variable is no filter: `KUBEHERALD_LOG=` in a manifest means the default.
fn filter(text: &str, default_filter: &str) -> Result<EnvFilter, TelemetryError> {
    let text = if text.trim().is_empty() { default_filter } else { text };
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let mut bare = words.filter(|word| !word.contains(['=', '[']) && !is_level(word));
    // More than a word is a mistake of another sort, which the parser describes.
    if let Some(word) = bare.find(|word| !word.starts_with("kubeherald")) {
        return Err(TelemetryError::Level(word.escape_debug().take(60).collect()));
    }
    EnvFilter::try_new(text).map_err(TelemetryError::Filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_an_error_and_an_empty_one_the_default() {
        assert_eq!(filter("", "warn").unwrap().to_string(), "warn");
        assert_eq!(filter(" ", DEFAULT_FILTER).unwrap().to_string().split(',').count(), 4);
        assert_eq!(filter("kubeherald=trace", "warn").unwrap().to_string(), "kubeherald=trace");
        let error = filter("info,kube=loud", "warn").unwrap_err().to_string();
        assert!(error.starts_with("KUBEHERALD_LOG is no log filter"), "{error}");
        for wrong in ["nonsense", "verbose", "info,nonsense", "warning"] {
            let error = filter(wrong, "warn").unwrap_err().to_string();
            assert!(error.contains("is not a log level: write one of error, warn"), "{wrong}: {error}");
        }
        for right in ["DEBUG", "info,kubeherald::watch", "off", "3", "[span]=trace", "a=off,b=5"] {
            assert!(filter(right, "warn").is_ok(), "{right}");
        }
    }
}
