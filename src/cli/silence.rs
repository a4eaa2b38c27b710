//! `kubeherald silence` and `kubeherald reload`

mod matching;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Bot, BotArgs, lines};
use super::output::OutputFormat;
use super::{Failure, output, print};
use crate::app::object;
use crate::clock;
use crate::message::text::words;

/// The widest comment and match in the table.
const WIDE: usize = 100;

/// See `kubeherald silence`.
#[derive(Debug, Args)]
pub struct SilenceArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Hold back what matches, for a while.
    ///
    /// What is held back is recorded; when the silence ends, what still goes on is told.
    ///
    /// WHAT is an object as `kubeherald explain` takes it (`deploy/checkout`, `pod/NAME`, `node/worker-1`,
    /// `ns/shop`), an incident (`incident=ID`, as messages show it), or conditions: `key=value`, `key!=value`,
    /// `key=~regex` or `key!~regex`; all of them must hold, and of the same key with `=` one. Keys are those of a
    /// rule's `match`: cause, namespace, workload (as Kind/name), name, kind, container, node, reason, rule,
    /// severity, …, and `label.KEY` and `annotation.KEY`.
    #[command(after_help = "\
Examples:
  kubeherald silence add incident=5h2kq8m1x0 --for 2h
  kubeherald silence add deploy/checkout -n shop --for 2h --comment \"release 4.2\"
  kubeherald silence add --for 2h --comment \"release 4.2\" namespace=shop workload=Deployment/checkout
  kubeherald silence add --for 30m --comment drain node=worker-1
  kubeherald silence add --for 1d --comment known cause=ImagePullBackOff label.team=payments name=~^canary-")]
    Add(AddArgs),
    /// List silences, those that end first first.
    List(ListArgs),
    /// End silences now.
    Expire(ExpireArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// What is held back: `deploy/checkout`, `incident=ID`, `namespace=shop`, `label.team=payments`, ….
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// The namespace of the object.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// For how long, such as `2h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    lasts: String,
    /// Why, for those who wonder.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
    /// Who says so.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "", hide_default_value = true)]
    by: String,
    #[command(flatten)]
    bot: BotArgs,
    /// How to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Also those that have ended.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    bot: BotArgs,
    /// How to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
struct ExpireArgs {
    /// Their ids, as `kubeherald silence list` shows them.
    #[arg(required = true, value_name = "ID", value_parser = id)]
    ids: Vec<String>,
    #[command(flatten)]
    bot: BotArgs,
}

/// See `kubeherald reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    bot: BotArgs,
    /// How to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// Checked here, read by the bot.
fn lasting(text: &str) -> Result<String, String> {
    match super::explain::span(text)? {
        Duration::ZERO => Err("a silence has to last".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// It becomes a part of an address.
fn id(text: &str) -> Result<String, String> {
    let fine = text.len() <= 200 && !text.is_empty() && !text.chars().any(|c| c.is_control() || c == '/');
    if fine && !matches!(text, "." | "..") { Ok(text.to_owned()) } else { Err("this is no id".to_owned()) }
}

/// Adds, lists or ends silences.
pub async fn silence(args: &SilenceArgs) -> Result<(), Failure> {
    match &args.action {
        Action::Add(args) => add(args).await,
        Action::List(args) => list(args).await,
        Action::Expire(args) => expire(args).await,
    }
}

async fn add(args: &AddArgs) -> Result<(), Failure> {
    let body = request(args).map_err(|why| Failure::Usage(anyhow!("{why}")))?;
    let bot = Bot::find(&args.bot)?;
    let silence = bot.ask(Method::POST, &["api", "v1", "silences"], None, Some(&body)).await?;
    // An answer may hold it by itself or under its name.
    let silence = silence.get("silence").unwrap_or(&silence);
    match args.format {
        OutputFormat::Json => print(&format!("{silence}\n")),
        OutputFormat::Text => {
            let id = text(silence, "id");
            let until = time(silence, "until").map(|at| format!(" until {}", moment(at, clock::now())));
            let what = matching::show(silence.get("match").unwrap_or(&Value::Null));
            print(&format!(
                "silenced{}: {}\n{}its id is {id}; end it with: kubeherald silence expire {id}{}\n",
                until.unwrap_or_default(),
                words::one_line(&what, 1_000),
                held(silence),
                args.bot.again(),
            ))?;
            if silence.get("matches").and_then(Value::as_u64) == Some(0) {
                output::warn(&nothing(silence, args));
            }
            Ok(())
        }
    }
}

/// The body of the request. What is no condition is an object; the bot knows what is open.
fn request(args: &AddArgs) -> Result<Value, String> {
    let mut body = json!({ "for": args.lasts, "comment": args.comment, "by": args.by });
    let mut conditions = Vec::new();
    let mut named = false;
    for what in &args.what {
        let (key, text) = match what.split_once('=') {
            Some(("incident", id)) => ("incident", id),
            None if !matching::is_condition(what) => ("object", what.as_str()),
            _ => {
                conditions.push(what.clone());
                continue;
            }
        };
        if named {
            return Err(format!(
                "`{}`: one silence is about one object or incident",
                words::one_line(what, 120)
            ));
        }
        named = true;
        if key == "object" {
            object::parse(text, args.namespace.as_deref())
                .map_err(|why| format!("`{}`: {why}", words::one_line(text, 120)))?;
        }
        put(&mut body, key, text.into());
    }
    let mut matches = matching::read(&conditions)?;
    if let Some(namespace) = &args.namespace {
        if named {
            put(&mut body, "namespace", namespace.as_str().into());
        } else if matches.get("namespace").is_none() {
            put(&mut matches, "namespace", namespace.as_str().into());
        }
    }
    if !named || !conditions.is_empty() {
        put(&mut body, "match", matches);
    }
    Ok(body)
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// The open incidents that a silence is about, a line each; empty where the bot does not say.
fn held(silence: &Value) -> String {
    let Some(count @ 1..) = silence.get("matches").and_then(Value::as_u64) else { return String::new() };
    let open = words::plural(count, "open incident");
    format!("it holds {open} now:\n{}", incidents(silence, "incidents", count))
}

/// A line for each incident that is named, and how many are not.
fn incidents(silence: &Value, key: &str, count: u64) -> String {
    let named = silence.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut out = String::new();
    for incident in named {
        out.push_str(&format!("  {}  {}\n", text(incident, "incident"), text(incident, "title")));
    }
    let more = count.saturating_sub(named.len() as u64);
    if more > 0 {
        out.push_str(&format!("  … and {more} more\n"));
    }
    out
}

/// The silence is there and holds nothing: perhaps something else was meant.
fn nothing(silence: &Value, args: &AddArgs) -> String {
    let near = silence.get("near").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some(first) = near.first() else {
        return format!(
            "nothing that is open now matches it; what is open: kubeherald status{}",
            args.bot.again()
        );
    };
    format!(
        "it holds nothing that is open now: others have the same problem, and a message is about all of them\n{}  \
         to silence that: kubeherald silence add incident={} --for {}{}",
        incidents(silence, "near", near.len() as u64),
        text(first, "incident"),
        args.lasts,
        args.bot.again()
    )
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let bot = Bot::find(&args.bot)?;
    let query = args.all.then_some("all=true");
    let answer = bot.ask(Method::GET, &["api", "v1", "silences"], query, None).await?;
    let silences = answer.as_array();
    let silences = silences.ok_or_else(|| anyhow!("the bot's answer lists no silences: another version?"))?;
    let mut silences: Vec<&Value> = silences.iter().collect();
    // What never ends comes last.
    silences.sort_by_key(|silence| time(silence, "until").unwrap_or(Timestamp::MAX));
    match args.format {
        OutputFormat::Json => {
            let mut out = String::new();
            for silence in &silences {
                writeln!(out, "{silence}")?;
            }
            print(&out)
        }
        OutputFormat::Text => print(&table(&silences, clock::now())?),
    }
}

async fn expire(args: &ExpireArgs) -> Result<(), Failure> {
    let bot = Bot::find(&args.bot)?;
    let mut failed = false;
    for id in &args.ids {
        match bot.ask(Method::DELETE, &["api", "v1", "silences", id], None, None).await {
            Ok(_) => print(&format!("ended: {}\n", words::one_line(id, 200)))?,
            // The others are ended all the same.
            Err(error) => {
                output::error(&error.context(format!("{} is not ended", words::one_line(id, 200))));
                failed = true;
            }
        }
    }
    if failed { Err(Failure::Told) } else { Ok(()) }
}

/// Has the bot read its configuration again.
pub async fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    let bot = Bot::find(&args.bot)?;
    let answer = bot.ask(Method::POST, &["-", "reload"], None, None).await?;
    match args.format {
        OutputFormat::Json => print(&format!("{answer}\n")),
        OutputFormat::Text => {
            let mut out = String::from("reloaded\n");
            for (name, value) in answer.as_object().into_iter().flatten() {
                let value = match value {
                    Value::Null | Value::Bool(true) => continue,
                    Value::Array(items) if items.is_empty() => continue,
                    Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("\n"),
                    other => plain(other),
                };
                let name = words::one_line(&name.replace('_', " "), 60);
                out.push_str(&format!("  {name}: {}\n", lines(&value).replace('\n', "\n    ")));
            }
            print(&out)
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(silence: &Value, name: &str) -> String {
    silence
        .get(name)
        .map(plain)
        .filter(|text| text != "null")
        .map(|t| words::one_line(&t, 200))
        .unwrap_or_default()
}

fn time(silence: &Value, name: &str) -> Option<Timestamp> {
    silence.get(name)?.as_str()?.parse().ok()
}

fn moment(at: Timestamp, now: Timestamp) -> String {
    let away = if at > now {
        format!("in {}", words::about(words::seconds_between(now, at)))
    } else {
        format!("{} ago", words::about(words::seconds_between(at, now)))
    };
    format!("{} ({away})", words::moment(at, now))
}

/// Its name, where it has one, and what it matches.
fn what(silence: &Value) -> String {
    let matches = matching::show(silence.get("match").unwrap_or(&Value::Null));
    let name = Some(text(silence, "name")).filter(|name| !name.is_empty() && *name != text(silence, "id"));
    words::join(&[&name.unwrap_or_default(), &matches], ": ")
}

/// Columns as wide as what is in them; the comment last, as it may be long.
fn table(silences: &[&Value], now: Timestamp) -> Result<String, std::fmt::Error> {
    if silences.is_empty() {
        return Ok("nothing is silenced\n".to_owned());
    }
    let mut rows =
        vec![["ID", "STATE", "UNTIL", "FROM", "BY", "HOLDS", "WHAT", "COMMENT"].map(str::to_owned)];
    for silence in silences {
        rows.push([
            text(silence, "id"),
            text(silence, "state"),
            match (time(silence, "until"), text(silence, "weekly")) {
                (Some(at), _) => moment(at, now),
                (None, weekly) if weekly.is_empty() => "ended by hand only".to_owned(),
                (None, weekly) => weekly,
            },
            text(silence, "source").replace('_', " "),
            text(silence, "by"),
            silence.get("matches").or_else(|| silence.get("holds")).map(plain).unwrap_or_default(),
            words::one_line(&what(silence), WIDE),
            words::one_line(&text(silence, "comment"), WIDE),
        ]);
    }
    let widths: [usize; 8] = std::array::from_fn(|column| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let mut out = String::new();
    for (row, silence) in rows.iter().zip(std::iter::once(None).chain(silences.iter().map(Some))) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:width$}  ")?;
        }
        writeln!(out, "{}", line.trim_end())?;
        let count = silence.and_then(|silence| silence.get("matches")?.as_u64()).unwrap_or(0);
        if let Some(silence) = silence.filter(|_| count > 0) {
            out.push_str(&incidents(silence, "incidents", count));
        }
    }
    Ok(out)
}
