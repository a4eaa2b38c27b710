//! `kubeherald status`

mod text;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;

use self::text::Look;
use super::client::{Bot, BotArgs, Unreachable};
use super::output::OutputFormat;
use super::{ConfigArgs, Failure, output, print};
use crate::app::run::SEEN_UNTIL;
use crate::app::status::of_store;
use crate::clock;
use crate::config::Config;
use crate::message::status::Status;
use crate::message::text::words;
use crate::outbox::Trouble;
use crate::store::{ReceiverOutage, SharedAccess, Store};
use crate::web::status::receivers;

/// How often `--watch` asks.
const WATCH: Duration = Duration::from_secs(2);
/// A bot that runs writes at least every ten seconds.
const ASLEEP: Duration = Duration::from_secs(60);
/// The width of a terminal that does not say how wide it is, and of anything else.
const WIDTH: usize = 100;

/// See `kubeherald status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    bot: BotArgs,
    /// The bot's SQLite file, for when no bot answers; otherwise `store.path` of the configuration.
    #[arg(long, value_name = "FILE", env = "KUBEHERALD_STORE")]
    store: Option<PathBuf>,
    /// Also list what another incident explains, one by one.
    #[arg(long)]
    all: bool,
    /// At most so many incidents, the most severe and oldest.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Show it again every two seconds, until Ctrl-C.
    #[arg(short, long, conflicts_with = "format")]
    watch: bool,
    /// How to print.
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// An answer, and what has to be known of where it is from.
struct Found {
    status: Status,
    /// Nobody answered, and this is what the store says: why, and as of when.
    stale: Option<String>,
}

/// Shows what is open.
pub async fn status(args: &StatusArgs) -> Result<(), Failure> {
    let config = match &args.bot.config {
        Some(path) => {
            Some(super::load(&ConfigArgs { config: Some(path.clone()), rules: Vec::new() })?.config)
        }
        None => None,
    };
    if args.watch {
        return watch(args, config.as_deref()).await;
    }
    let found = find(args, config.as_deref()).await?;
    match args.format {
        OutputFormat::Json => print(&format!("{}\n", serde_json::to_string(&found.status)?))?,
        OutputFormat::Text => print(&shown(&found, args)?)?,
    }
    match found.stale {
        None => Ok(()),
        Some(why) => {
            output::warn(&why);
            Err(Failure::Told)
        }
    }
}

fn shown(found: &Found, args: &StatusArgs) -> Result<String, std::fmt::Error> {
    let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
    let look = Look {
        width: width.clamp(40, 160),
        color: output::color_stdout(),
        all: args.all,
        again: args.bot.again(),
        store: super::client::options(&[
            ("--store", args.store.as_ref().map(|path| path.as_os_str())),
            ("-c", args.bot.config.as_ref().map(|path| path.as_os_str()).filter(|_| args.store.is_none())),
        ]),
    };
    text::text(&found.status, &look)
}

/// Clears the terminal and shows it anew, until Ctrl-C.
async fn watch(args: &StatusArgs, config: Option<&Config>) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        return Err(Failure::Usage(anyhow!(
            "--watch is for terminals; for programs: `-o json`, again and again"
        )));
    }
    loop {
        let text = match find(args, config).await {
            Ok(Found { stale: Some(why), status }) => {
                let text = shown(&Found { status, stale: None }, args)?;
                format!("{text}\n{why}\n")
            }
            Ok(found) => shown(&found, args)?,
            Err(Failure::Error(error)) => format!("{error}\n"),
            Err(other) => return Err(other),
        };
        // Home, and below it nothing of what was there.
        print(&format!("\u{1b}[H\u{1b}[2J{text}"))?;
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(WATCH) => {}
        }
    }
}

/// Asks the bot; where nobody answers, or the bot cannot be asked, looks into its store.
async fn find(args: &StatusArgs, config: Option<&Config>) -> Result<Found, Failure> {
    let path = args.store.clone().or_else(|| config?.store.path.clone());
    let failure = match Bot::of(&args.bot, config) {
        Err(failure) => failure,
        Ok(bot) => {
            let limit = format!("limit={}", args.limit);
            match bot.ask(Method::GET, &["api", "v1", "status"], Some(&limit), None).await {
                Ok(answer) => {
                    let status = serde_json::from_value(answer)
                        .context("the bot's answer is no status: another version?")?;
                    return Ok(Found { status, stale: None });
                }
                Err(error) if error.is::<Unreachable>() => Failure::Error(error),
                // It runs and refuses: what its store says is not what was asked for.
                Err(error) => return Err(error.into()),
            }
        }
    };
    let Some(path) = path else {
        return Err(match failure {
            Failure::Error(error) if error.is::<Unreachable>() => Failure::Error(anyhow!(
                "{error}; --store names the bot's file, which can be looked into without it"
            )),
            other => other,
        });
    };
    let unreachable = match failure {
        Failure::Error(error) if error.is::<Unreachable>() => Some(error.to_string()),
        // Where the bot is was said, and cannot be right.
        other if args.bot.names_url() => return Err(other),
        _ => None,
    };
    of_file(args, config, &path, unreachable.clone()).await.map_err(|failure| match (failure, unreachable) {
        (Failure::Error(error), Some(unreachable)) => {
            Failure::Error(anyhow!("{unreachable}\n  and its store cannot be read: {error}"))
        }
        (failure, _) => failure,
    })
}

async fn of_file(
    args: &StatusArgs,
    config: Option<&Config>,
    path: &std::path::Path,
    unreachable: Option<String>,
) -> Result<Found, Failure> {
    let shipped;
    let config = match config {
        Some(config) => config,
        None => {
            shipped = super::load(&ConfigArgs { config: None, rules: Vec::new() })?.config;
            &shipped
        }
    };
    let store = Store::open_shared(path, SharedAccess::Reading)?;
    let now = clock::now();
    let known = |one: ReceiverOutage| {
        (Arc::from(one.receiver), Trouble { outage: one.outage, refusing: one.refusing, fallback: None })
    };
    let troubles: BTreeMap<Arc<str>, Trouble> = store.outages().await?.into_iter().map(known).collect();
    let mut status = of_store(&store, config, usize::from(args.limit), now).await?;
    status.receivers = receivers(&store, &troubles, now).await?;
    let seen: Option<Timestamp> = store.mark(SEEN_UNTIL).await?.and_then(|at| at.parse().ok());
    let asleep = seen.is_none_or(|seen| clock::between(seen, now) >= ASLEEP);
    let written = seen.map_or_else(
        || "nothing was written to it yet".to_owned(),
        |at| {
            let ago = words::about(words::seconds_between(at, now));
            format!("the bot wrote to it last at {} ({ago} ago)", words::moment(at, now))
        },
    );
    let stale = match unreachable {
        Some(why) => Some(format!("{why}\n  this is what its store {} says; {written}", path.display())),
        None if asleep => {
            Some(format!("this is what the store {} says; {written}: it may not be running", path.display()))
        }
        None => None,
    };
    Ok(Found { status, stale })
}
