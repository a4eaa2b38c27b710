//! `kubeherald run`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{ConfigArgs, Failure, cluster, output};
use crate::app::command;
use crate::app::reload::{Overrides, Source};
use crate::app::run::{self, Options, Undelivered};
use crate::config::Config;
use crate::message::text::words;
use crate::outbox::Policy;
use crate::telemetry::{self, LogFormat};
use crate::watch::stream;

/// See `kubeherald run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    from: ConfigArgs,
    /// The context of the kubeconfig; its current one if not given. In a cluster the pod's service
    /// account is used.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The SQLite file that incidents, windows and unsent messages are kept in; overrides `store.path`.
    /// Without either they are gone at exit.
    #[arg(long, value_name = "FILE", env = "KUBEHERALD_STORE")]
    store: Option<PathBuf>,
    /// Where health and metrics are served; overrides `http.listen`.
    #[arg(long, value_name = "ADDRESS:PORT", env = "KUBEHERALD_LISTEN")]
    listen: Option<std::net::SocketAddr>,
    /// How logs are written to standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "KUBEHERALD_LOG_FORMAT")]
    log_format: LogFormat,
}

/// Runs until it is told to stop.
pub async fn run(args: &RunArgs) -> Result<(), Failure> {
    if args.log_format == LogFormat::Json {
        output::say_json();
    }
    // As early as possible: without it SIGHUP ends the process.
    let hangups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    let overrides = Overrides {
        store: args.store.clone(),
        listen: args.listen,
        command: Some(command::detect(args.from.config.as_deref())),
    };
    let source = Source::new(args.from.config.clone(), args.from.rules.clone(), overrides);
    let hangup = Arc::clone(&source.signal);
    let (begun, loaded) = match source.begin() {
        Ok(begun) => begun,
        Err(diagnostics) => {
            output::diagnostics(&diagnostics);
            return Err(Failure::Told);
        }
    };
    output::diagnostics(&loaded.warnings);
    output::diagnostics(&loaded.missing_secrets(|_| true));
    let deployed = args.from.config.is_some();
    telemetry::init(
        args.log_format,
        if deployed { telemetry::DEFAULT_FILTER } else { telemetry::QUIET_FILTER },
    )?;
    let config = loaded.config;
    let cluster = cluster::config(args.context.as_deref()).await?;
    let url = cluster.cluster_url.to_string().trim_end_matches('/').to_owned();
    let client = stream::client(cluster.clone()).map_err(|error| {
        anyhow!("cannot connect to the cluster at {url}: {}", crate::watch::error::describe(&error))
    })?;
    let mut reached = true;
    match cluster::reach(&client, &cluster).await {
        Ok(version) => tracing::info!(server = version, "connected"),
        // Somebody trying it out wants to know at once. A bot that is deployed waits for its API
        // server like everything else in the cluster: the watches try again, and /readyz says so.
        Err(error) if deployed => {
            tracing::error!("{error}; trying again until it answers");
            reached = false;
        }
        Err(error) => return Err(error.into()),
    }
    let stop = CancellationToken::new();
    let policy = Policy::default();
    let kept = config.store.path.clone();
    tokio::spawn(signals(stop.clone(), {
        let (drain, kept) = (policy.drain, kept.clone());
        move |again| output::say(&stopping(again, drain, kept.as_deref()))
    }));
    tokio::spawn(pass_on(hangups, hangup));
    let options = Options {
        reload: Some(begun),
        policy,
        on_start: Some(greeting(&config, &url, reached)),
        on_end: Some(Box::new(move |left| output::say(&farewell(left, kept.as_deref())))),
        ..Options::new(client)
    };
    run::run(config, options, stop).await?;
    Ok(())
}

/// What is said once nothing can keep the bot from starting any more.
fn greeting(config: &Config, url: &str, reached: bool) -> Box<dyn FnOnce() + Send> {
    let begun = if reached { "watching" } else { "waiting for the cluster, to watch" };
    let line = format!(
        "{begun} {} at {url}; {} rules; telling {}",
        run::scope(&config.watch),
        config.rules.len(),
        match config.receivers.as_slice() {
            [] => String::from("this terminal"),
            some => some.iter().map(|r| r.spec.name.to_string()).collect::<Vec<_>>().join(", "),
        }
    );
    let forgets = config.store.path.is_none() && !config.receivers.is_empty();
    Box::new(move || {
        output::say(&line);
        if forgets {
            output::warn(
                "no `store.path`: incidents and undelivered messages are lost when this process ends",
            );
        }
    })
}

/// The answer to Ctrl-C.
fn stopping(again: bool, drain: Duration, kept: Option<&Path>) -> String {
    match (again, kept) {
        (false, _) => {
            format!("finishing deliveries, up to {} s; press Ctrl-C again to stop now", drain.as_secs())
        }
        (true, Some(path)) => {
            format!("stopped; undelivered messages are kept in {} and sent at the next start", path.display())
        }
        (true, None) => "stopped; undelivered messages are lost".to_owned(),
    }
}

fn farewell(left: Undelivered, kept: Option<&Path>) -> String {
    let messages = words::plural(left.messages, "undelivered message");
    let are = if left.messages == 1 { "is" } else { "are" };
    match (left, kept) {
        (Undelivered { messages: 0, .. }, _) => "stopped; every message was delivered".to_owned(),
        (Undelivered { kept: true, .. }, Some(path)) => {
            format!("stopped; {messages} {are} kept in {} and sent at the next start", path.display())
        }
        (_, Some(path)) => {
            format!("stopped; {messages} {are} lost: {} could not be written", path.display())
        }
        (_, None) => format!("stopped; {messages} {are} lost: without `store.path` nothing is kept"),
    }
}

/// SIGHUP asks to load the configuration again.
async fn pass_on(mut hangups: tokio::signal::unix::Signal, to: Arc<tokio::sync::Notify>) {
    while hangups.recv().await.is_some() {
        to.notify_one();
    }
}

/// Ctrl-C or SIGTERM asks to stop; the second time it is meant. `say` is told which one it is.
pub(super) async fn signals(stop: CancellationToken, say: impl Fn(bool)) {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(%error, "cannot listen for signals");
            return;
        }
    };
    let mut asked = false;
    loop {
        tokio::select! {
            result = tokio::signal::ctrl_c() => if result.is_err() { return },
            _ = terminate.recv() => {}
        }
        say(asked);
        if asked {
            std::process::exit(130);
        }
        asked = true;
        stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_becomes_of_what_was_not_delivered() {
        let path = Path::new("/var/lib/kubeherald/state.db");
        let left = |messages, kept| Undelivered { messages, kept };
        assert_eq!(farewell(left(0, true), Some(path)), "stopped; every message was delivered");
        assert_eq!(farewell(left(0, false), None), "stopped; every message was delivered");
        let said = farewell(left(1, true), Some(path));
        assert_eq!(
            said,
            "stopped; 1 undelivered message is kept in /var/lib/kubeherald/state.db and sent at the next start"
        );
        let said = farewell(left(3, false), None);
        assert_eq!(said, "stopped; 3 undelivered messages are lost: without `store.path` nothing is kept");
        let said = farewell(left(3, false), Some(path));
        assert!(said.ends_with("are lost: /var/lib/kubeherald/state.db could not be written"), "{said}");
    }
}
