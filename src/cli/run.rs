//! `kubeherald run`

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{ConfigArgs, Failure, output};
use crate::app::command;
use crate::app::reload::{Overrides, Source};
use crate::app::run::{self, Options};
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
    // People at a terminal want the messages, not the log of a server.
    let default = if args.from.config.is_some() { telemetry::DEFAULT_FILTER } else { "warn" };
    telemetry::init(args.log_format, default)?;
    let config = loaded.config;
    let kube_config = cluster(args.context.as_deref()).await?;
    let url = kube_config.cluster_url.to_string();
    let client = stream::client(kube_config).context("cannot connect to the cluster")?;
    if let Err(unreachable) = reach(&client, &url).await {
        // Somebody trying it out wants to know at once. A bot that is deployed waits for its API
        // server like everything else in the cluster: the watches try again, and /readyz says so.
        if args.from.config.is_none() {
            return Err(unreachable);
        }
        if let Failure::Error(error) = unreachable {
            tracing::error!("{error:#}; trying again until it answers");
        }
    }
    output::say(&format!(
        "watching {} at {}; {} rules; telling {}",
        run::scope(&config.watch),
        url.trim_end_matches('/'),
        config.rules.len(),
        match config.receivers.as_slice() {
            [] => String::from("this terminal"),
            some => some.iter().map(|r| r.spec.name.to_string()).collect::<Vec<_>>().join(", "),
        }
    ));
    if config.store.path.is_none() && !config.receivers.is_empty() {
        output::say(
            "warning: no `store.path`: what is known and what is unsent is gone when this process ends",
        );
    }
    let stop = CancellationToken::new();
    tokio::spawn(signals(stop.clone()));
    tokio::spawn(pass_on(hangups, hangup));
    let options = Options { reload: Some(begun), ..Options::new(client) };
    run::run(config, options, stop).await?;
    Ok(())
}

/// SIGHUP asks to load the configuration again.
async fn pass_on(mut hangups: tokio::signal::unix::Signal, to: Arc<tokio::sync::Notify>) {
    while hangups.recv().await.is_some() {
        to.notify_one();
    }
}

/// In-cluster, or the kubeconfig.
pub(super) async fn cluster(context: Option<&str>) -> Result<kube::Config, Failure> {
    let found = match context {
        None => kube::Config::infer().await.map_err(anyhow::Error::from),
        Some(context) => {
            let options =
                kube::config::KubeConfigOptions { context: Some(context.into()), ..Default::default() };
            kube::Config::from_kubeconfig(&options).await.map_err(anyhow::Error::from)
        }
    };
    let demo = if cfg!(feature = "demo") { "; `kubeherald demo` needs none" } else { "" };
    Ok(found.with_context(|| {
        format!(
            "found no cluster: neither a kubeconfig (KUBECONFIG, ~/.kube/config) nor a service account{demo}"
        )
    })?)
}

/// One question before anything else: a wrong address or an expired login should be said at once and
/// clearly, not as eleven failing watches.
pub(super) async fn reach(client: &kube::Client, url: &str) -> Result<(), Failure> {
    let asked = tokio::time::timeout(std::time::Duration::from_secs(15), client.apiserver_version());
    match asked.await {
        Ok(Ok(version)) => {
            tracing::info!(server = %version.git_version, "connected");
            Ok(())
        }
        // The server is there; what it refuses is reported for each kind.
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Ok(()),
        Ok(Err(error)) => {
            Err(anyhow::Error::from(error).context(format!("cannot reach the cluster at {url}")).into())
        }
        Err(_) => Err(anyhow::anyhow!("the cluster at {url} does not answer within 15 s").into()),
    }
}

/// Ctrl-C or SIGTERM asks to stop; the second time it is meant.
pub(super) async fn signals(stop: CancellationToken) {
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
        if asked {
            std::process::exit(130);
        }
        asked = true;
        stop.cancel();
    }
}
