//! `kubeherald outbox`

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::OutputFormat;
use super::{ConfigArgs, Failure, output, print};
use crate::clock;
use crate::config::suggest;
use crate::message::text::words;
use crate::store::{OutboxEntry, OutboxItem, OutboxQuery, OutboxStates, SharedAccess, Store};

/// The widest reason and title in the table.
const MAX_TEXT: usize = 80;
/// Rows asked for at once where all are wanted.
const PAGE: usize = 1_000;

/// See `kubeherald outbox`.
#[derive(Debug, Args)]
pub struct OutboxArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what is owed and what was given up, oldest first.
    List(ListArgs),
    /// Show one notification: what it says, how often it was tried, and what went wrong.
    Show(ShowArgs),
    /// Send dead letters again, after the cause was mended.
    ///
    /// A running bot takes them up within a minute, otherwise the next one does. Each comes last in
    /// its thread, and its `max_age` counts anew.
    Resend(ChangeArgs),
    /// Forget dead letters for good.
    Drop(ChangeArgs),
}

/// Where the store is.
#[derive(Debug, Args)]
struct StoreArgs {
    /// The bot's SQLite file; otherwise `store.path` of the configuration.
    #[arg(long, value_name = "FILE", env = "KUBEHERALD_STORE")]
    store: Option<PathBuf>,
    /// The bot's configuration file.
    #[arg(short, long, env = "KUBEHERALD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    from: StoreArgs,
    /// Only of this receiver.
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// Only dead letters.
    #[arg(long)]
    dead: bool,
    /// Also what was delivered (kept for a week, without its text).
    #[arg(long, conflicts_with = "dead")]
    all: bool,
    /// Only what was told inside this summary.
    #[arg(long, value_name = "KEY", conflicts_with = "dead")]
    inside: Option<String>,
    /// At most so many rows.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// How to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Its key, or the beginning of it.
    key: String,
    #[command(flatten)]
    from: StoreArgs,
    /// How to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
struct ChangeArgs {
    /// Keys, or beginnings of keys that no other dead letter shares.
    #[arg(required_unless_present = "all")]
    keys: Vec<String>,
    /// All dead letters (of --receiver, if given).
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    /// With --all: only of this receiver.
    #[arg(long, value_name = "NAME", requires = "all")]
    receiver: Option<String>,
    #[command(flatten)]
    from: StoreArgs,
}

/// Looks at the outbox, or changes dead letters.
pub fn outbox(args: &OutboxArgs) -> Result<(), Failure> {
    match &args.action {
        Action::List(args) => list(args),
        Action::Show(args) => show(args),
        Action::Resend(args) => {
            change(args, "queued again", |store, key| Ok(store.resend_dead(key, clock::now()).wait()?))
        }
        Action::Drop(args) => change(args, "dropped", |store, key| Ok(store.drop_dead(key).wait()?)),
    }
}

fn open(args: &StoreArgs, access: SharedAccess) -> Result<Store, Failure> {
    let path = match (&args.store, &args.config) {
        (Some(path), _) => path.clone(),
        (None, None) => return Err(anyhow!("which store? Name it with --store, or with --config").into()),
        (None, Some(config)) => {
            let from = ConfigArgs { config: Some(config.clone()), rules: Vec::new() };
            let path = super::load(&from)?.config.store.path.clone();
            path.ok_or_else(|| anyhow!("{} names no `store.path`: nothing is kept", config.display()))?
        }
    };
    Ok(Store::open_shared(&path, access)?)
}

/// A name that nobody has is a typing error, and "nothing" would be taken for an answer.
fn known(store: &Store, from: &StoreArgs, receiver: Option<&str>) -> Result<(), Failure> {
    let Some(receiver) = receiver else { return Ok(()) };
    let mut known = BTreeSet::new();
    // What is wrong with it was said when the store was looked for there.
    if let Some(Ok(loaded)) = from.config.as_ref().map(|config| crate::config::load(Some(config), &[])) {
        known.extend(loaded.config.receivers.iter().map(|r| r.spec.name.to_string()));
    }
    let mut query = OutboxQuery { states: OutboxStates::All, limit: PAGE, ..OutboxQuery::default() };
    loop {
        let rows = store.outbox(query.clone()).wait()?;
        let Some(last) = rows.last() else { break };
        query.after = last.seq;
        known.extend(rows.into_iter().map(|row| row.receiver));
    }
    if known.contains(receiver) {
        return Ok(());
    }
    let receiver = words::one_line(receiver, 120);
    let names = known.iter().map(String::as_str);
    let help = match (suggest::nearest(&receiver, names.clone()), known.is_empty()) {
        (Some(near), _) => suggest::did_you_mean(near),
        (None, false) => format!("the receivers are {}", suggest::join(names)),
        (None, true) => "there is nothing in the store for any receiver".to_owned(),
    };
    Err(anyhow!("there is no receiver named `{receiver}`: {help}").into())
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let store = open(&args.from, SharedAccess::Reading)?;
    known(&store, &args.from, args.receiver.as_deref())?;
    let states = match (args.dead, args.all || args.inside.is_some()) {
        (true, _) => OutboxStates::Dead,
        (false, true) => OutboxStates::All,
        (false, false) => OutboxStates::Undelivered,
    };
    let query = OutboxQuery {
        receiver: args.receiver.clone(),
        states,
        inside: args.inside.clone(),
        after: 0,
        limit: args.limit.saturating_add(1),
    };
    let mut rows = store.outbox(query).wait()?;
    let more = rows.len() > args.limit;
    rows.truncate(args.limit);
    let mut text = String::new();
    match args.format {
        OutputFormat::Json => {
            for row in &rows {
                writeln!(text, "{}", as_json(row))?;
            }
        }
        OutputFormat::Text => table(&rows, clock::now(), &mut text)?,
    }
    print(&text)?;
    if more {
        output::say(&format!("… and more: these are the oldest {}; see --limit", args.limit));
    }
    Ok(())
}

/// Columns as wide as what is in them; the title last, as it may be long.
fn table(rows: &[OutboxEntry], now: Timestamp, out: &mut String) -> std::fmt::Result {
    if rows.is_empty() {
        return writeln!(out, "nothing");
    }
    let head = ["KEY", "RECEIVER", "STATE", "TRIED", "AGE", "WHAT"].map(str::to_owned);
    let mut lines = vec![head];
    for row in rows {
        lines.push([
            words::one_line(&row.key, 120),
            words::one_line(&delivery_line(row), 60),
            row.state.clone(),
            row.attempts.to_string(),
            words::duration(words::seconds_between(row.created_at, now)),
            what(row),
        ]);
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(widths) {
            write!(text, "{cell:width$}  ")?;
        }
        text.push_str(line.last().map_or("", String::as_str));
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// `mail`, or `mail (a@example.com)`.
fn delivery_line(row: &OutboxEntry) -> String {
    if row.recipient.is_empty() {
        row.receiver.clone()
    } else {
        format!("{} ({})", row.receiver, row.recipient)
    }
}

fn what(row: &OutboxEntry) -> String {
    let title = words::one_line(&row.title, MAX_TEXT);
    let reason = words::one_line(&row.reason, MAX_TEXT);
    let inside = match &row.inside {
        Some(key) if row.state == "delivered" => format!("inside {key}"),
        Some(key) => format!("in the summary {key}"),
        None => String::new(),
    };
    words::join(&[&title, &inside, &reason], " – ")
}

fn as_json(row: &OutboxEntry) -> Value {
    json!({
        "key": row.key,
        "receiver": row.receiver,
        "recipient": (!row.recipient.is_empty()).then_some(&row.recipient),
        "thread": row.thread,
        "state": row.state,
        "attempts": row.attempts,
        "created_at": row.created_at,
        "not_before": row.not_before,
        "ended_at": row.ended_at,
        "reason": row.reason,
        "inside": row.inside,
        "title": row.title,
    })
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let store = open(&args.from, SharedAccess::Reading)?;
    let item = one(store.outbox_find(&args.key, 6).wait()?, &args.key)?;
    match args.format {
        OutputFormat::Json => {
            let mut json = as_json(&item.entry);
            if let Some(map) = json.as_object_mut() {
                let said = match &item.notification {
                    Some(Ok(notification)) => serde_json::to_value(notification)?,
                    _ => Value::Null,
                };
                map.insert("notification".to_owned(), said);
            }
            print(&format!("{json}\n"))
        }
        OutputFormat::Text => print(&as_text(&item)?),
    }
}

fn as_text(item: &OutboxItem) -> Result<String, std::fmt::Error> {
    let row = &item.entry;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        if value.is_empty() { Ok(()) } else { writeln!(out, "{name:9} {}", words::one_line(value, 1_000)) }
    };
    line("key", &row.key)?;
    line("receiver", &row.receiver)?;
    line("recipient", &row.recipient)?;
    line("thread", &row.thread)?;
    line("state", &row.state)?;
    line("inside", row.inside.as_deref().unwrap_or_default())?;
    line("decided", &row.created_at.to_string())?;
    line("ended", &row.ended_at.map(|at| at.to_string()).unwrap_or_default())?;
    let waits = row.not_before.filter(|_| row.state == "queued");
    line("not until", &waits.map(|at| at.to_string()).unwrap_or_default())?;
    line("attempts", &row.attempts.to_string())?;
    line("reason", &row.reason)?;
    out.push('\n');
    match &item.notification {
        None => writeln!(out, "what was delivered is not kept")?,
        Some(Err(why)) => {
            writeln!(out, "this version cannot read what it says: {}", words::one_line(why, 300))?;
        }
        Some(Ok(n)) => {
            writeln!(out, "{}", words::one_line(&n.title, 1_000))?;
            for text in n.text.lines() {
                // From the cluster: nothing in it may move a terminal's cursor.
                let indent = if text.starts_with("  ") { "  " } else { "" };
                writeln!(out, "  {indent}{}", words::one_line(text, 2_000))?;
            }
        }
    }
    Ok(out)
}

/// The one that was meant.
fn one(mut found: Vec<OutboxItem>, key: &str) -> Result<OutboxItem, anyhow::Error> {
    if found.len() > 1 {
        let keys: Vec<String> = found.iter().take(5).map(|i| words::one_line(&i.entry.key, 120)).collect();
        let more = if found.len() > 5 { ", …" } else { "" };
        bail!("several keys begin with `{}`: {}{more}", words::one_line(key, 120), keys.join(", "));
    }
    found.pop().with_context(|| {
        format!(
            "there is no notification `{}`; `kubeherald outbox list` shows their keys",
            words::one_line(key, 120)
        )
    })
}

fn change(
    args: &ChangeArgs,
    done: &str,
    act: impl Fn(&Store, &str) -> Result<bool, anyhow::Error>,
) -> Result<(), Failure> {
    let store = open(&args.from, SharedAccess::Writing)?;
    known(&store, &args.from, args.receiver.as_deref())?;
    let mut keys = Vec::new();
    if args.all {
        let mut query = OutboxQuery {
            receiver: args.receiver.clone(),
            states: OutboxStates::Dead,
            limit: PAGE,
            ..OutboxQuery::default()
        };
        // Listed before the first is changed: one that is queued again and dies again is not a new one.
        loop {
            let rows = store.outbox(query.clone()).wait()?;
            let Some(last) = rows.last() else { break };
            query.after = last.seq;
            keys.extend(rows.into_iter().map(|row| row.key));
        }
    }
    // All are looked up before the first is changed.
    for key in &args.keys {
        let mut found = store.outbox_find(key, PAGE).wait()?;
        if found.len() > 1 {
            found.retain(|item| item.entry.state == "dead");
        }
        let entry = one(found, key)?.entry;
        if entry.state != "dead" {
            return Err(anyhow!("`{}` is {}, not a dead letter", entry.key, entry.state).into());
        }
        keys.push(entry.key);
    }
    let mut changed = 0_usize;
    for key in &keys {
        // A bot or another command may have been faster.
        if act(&store, key)? {
            changed += 1;
            print(&format!("{done}: {}\n", words::one_line(key, 200)))?;
        }
    }
    if changed == 0 {
        output::say("there were no dead letters");
    }
    Ok(())
}
