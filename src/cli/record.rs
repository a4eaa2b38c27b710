//! `kubeherald record`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{ConfigArgs, Failure, output, run};
use crate::app::record::{Ended, Options, Summary, record as begin};
use crate::clock::{self, Clock};
use crate::config::{bytes, duration};
use crate::message::text::words;
use crate::recording::mask::Masker;
use crate::recording::writer::RecordingWriter;
use crate::watch::Kind;
use crate::watch::stream::{self, Tuning};

/// See `kubeherald record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The file to write, `.jsonl`, or `.jsonl.gz` to have it packed; by default
    /// `recording-TIME.jsonl.gz` in this directory.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stop after this long (90s, 10m); otherwise at Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    length: Option<Duration>,
    /// Only this namespace, with the nodes and the Events about them. Can be given several times.
    #[arg(short, long = "namespace", value_name = "NAME", value_parser = namespace)]
    namespaces: Vec<String>,
    /// The largest file: recording stops there.
    #[arg(long, value_name = "SIZE", default_value = "256Mi", value_parser = size)]
    max_bytes: u64,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// Keep `metadata.managedFields`, which no rule reads.
    #[arg(long)]
    managed_fields: bool,
    /// The context of the kubeconfig; its current one if not given.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// A configuration whose `redact.patterns` are masked, too.
    #[arg(short, long, env = "KUBEHERALD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(length) if !length.is_zero() => Ok(length),
        Ok(_) => Err("longer than zero is needed".to_owned()),
        Err(error) => Err(format!("{error}: {}", duration::HELP)),
    }
}

fn size(text: &str) -> Result<u64, String> {
    bytes::parse(text).map_err(|error| format!("{error}: {}", bytes::HELP))
}

fn namespace(text: &str) -> Result<String, String> {
    let good =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good { Ok(text.to_owned()) } else { Err("this cannot be the name of a namespace".to_owned()) }
}

/// Records until it is told to stop.
pub async fn record(args: &RecordArgs) -> Result<(), Failure> {
    let from = ConfigArgs { config: args.config.clone(), rules: Vec::new() };
    let redactor = match args.config {
        Some(_) => super::load(&from)?.config.redact.clone(),
        None => crate::signal::redact::Redactor::default(),
    };
    let kube_config = run::cluster(args.context.as_deref()).await?;
    let url = kube_config.cluster_url.to_string();
    let client = stream::client(kube_config)?;
    run::reach(&client, &url).await?;
    let path = args.output.clone().unwrap_or_else(|| {
        PathBuf::from(format!("recording-{}.jsonl.gz", clock::now().strftime("%Y%m%dT%H%M%SZ")))
    });
    let writer = RecordingWriter::create(&path, args.force, args.max_bytes)
        .map_err(|error| unwritable(&path, &error))?;
    let stop = CancellationToken::new();
    tokio::spawn(run::signals(stop.clone()));
    let masker = Masker { redactor, managed_fields: args.managed_fields };
    let options = Options {
        client,
        namespaces: args.namespaces.clone(),
        masker,
        clock: Clock::System,
        tuning: Tuning::default(),
    };
    let (length, end) = (args.length, stop.clone());
    let until = length
        .map_or_else(|| "until Ctrl-C".to_owned(), |length| format!("for {}", duration::written(length)));
    let shown = path.display().to_string();
    let summary = begin(options, writer, stop, |unreadable| {
        output::say(&format!("recording {} {until}, into {shown}", url.trim_end_matches('/')));
        leave_out(unreadable);
        if let Some(length) = length {
            tokio::spawn(async move {
                tokio::time::sleep(length).await;
                end.cancel();
            });
        }
    })
    .await
    .map_err(anyhow::Error::from)?;
    finish(&summary, &path);
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            anyhow!(
                "{} is there already: name another file with -o, or write over it with --force",
                path.display()
            )
        }
        _ => anyhow!("cannot write {}: {error}", path.display()),
    }
    .into()
}

fn leave_out(unreadable: &BTreeMap<Kind, String>) {
    for (kind, why) in unreadable {
        output::say(&format!("warning: {kind} objects are not recorded: {}", words::one_line(why, 300)));
    }
}

fn finish(summary: &Summary, path: &Path) {
    if summary.ended == Ended::Full {
        output::say("stopped: the file is as large as --max-bytes allows");
    }
    if let Some(ahead) = summary.ahead {
        let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
        output::say(&format!(
            "this machine's clock is {} {direction} the API server's: times are recorded by the server's",
            words::duration(ahead.abs().as_secs())
        ));
    }
    output::say(&format!(
        "recorded {} lines in {}, {} KiB; secrets are masked as in messages, names are not: look before you share it\n  \
         kubeherald replay {} --then 10m",
        summary.lines,
        words::duration(summary.span.as_secs()),
        summary.bytes.div_ceil(1024),
        path.display()
    ));
}
