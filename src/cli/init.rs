//! `kubeherald init`

mod ask;
mod files;
mod receiver;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;

use self::ask::{Ask, Terminal};
use self::files::{CONFIG, Plan};
use self::receiver::{Kind, Receiver};
use super::{ConfigArgs, Failure, output, send};
use crate::config::check::check;

/// See `kubeherald init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The directory that the files are written into.
    #[arg(default_value = "kubeherald", value_name = "DIR")]
    dir: PathBuf,
    /// What the cluster is called in messages.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// A receiver: NAME=KIND,KEY=VALUE,… Can be given several times. Secrets are named, not written:
    /// `oncall=slack,channel=#alerts,token=env:SLACK_TOKEN`, `chat=teams,url=file:teams-url`,
    /// `mail=email,to=a@example.com,from=b@example.com,host=smtp.example.com`.
    #[arg(long = "receiver", value_name = "RECEIVER")]
    receivers: Vec<String>,
    /// The image that the cluster can pull.
    #[arg(long, value_name = "IMAGE", default_value = concat!("kubeherald:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// Send a test message to each receiver when all is written, without asking.
    #[arg(long)]
    send: bool,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

/// Asks for what the flags do not say, and writes a directory that `run` and `kubectl apply -k` take.
pub async fn init(args: &InitArgs) -> Result<(), Failure> {
    let mut terminal = Terminal::new();
    let ask = terminal.as_mut().map(|terminal| terminal as &mut dyn Ask);
    let plan = plan(args, ask).map_err(Failure::Usage)?;
    plan.write(&args.dir, args.force)?;
    let config = args.dir.join(CONFIG);
    output::say(&format!(
        "written: {}, {CONFIG}, rules/own.yaml, the manifests, and secrets/ (keep it out of version control)",
        args.dir.join("kustomization.yaml").display(),
    ));
    let found = check(&[config.clone(), args.dir.join("rules")], crate::clock::now()).found;
    output::diagnostics(&found);
    if found.has_errors() {
        output::say(&format!("mend it, then: kubeherald check {}", config.display()));
        return Err(Failure::Told);
    }
    output::say("checked: no errors");
    let sent = offer(args, &plan, &config, terminal.as_mut().map(|terminal| terminal as &mut dyn Ask)).await;
    next(&args.dir, &config);
    sent
}

fn plan(args: &InitArgs, mut ask: Option<&mut dyn Ask>) -> Result<Plan, anyhow::Error> {
    let mut receivers: Vec<Receiver> = Vec::new();
    for text in &args.receivers {
        let receiver = Receiver::parse(text).map_err(|error| anyhow!("--receiver: {error:#}"))?;
        if receivers.iter().any(|known| known.name == receiver.name) {
            return Err(anyhow!("--receiver: `{}` is given twice", receiver.name));
        }
        receivers.push(receiver);
    }
    let cluster = match (&args.cluster, &mut ask) {
        (Some(cluster), _) => cluster.clone(),
        (None, Some(ask)) => ask.line("What is the cluster called in messages?", context().as_deref())?,
        (None, None) => String::new(),
    };
    match &mut ask {
        Some(ask) => ask_receivers(&mut receivers, *ask)?,
        None => refuse_missing(&cluster, &receivers)?,
    }
    if cluster.trim().is_empty() || cluster.chars().any(char::is_control) || cluster.chars().count() > 100 {
        return Err(anyhow!("--cluster: expected a name of one line, at most 100 characters"));
    }
    let image = args.image.as_str();
    if image.is_empty() || !image.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:".contains(c)) {
        return Err(anyhow!("--image: expected `registry.example.com/kubeherald:0.1.0`"));
    }
    Ok(Plan { cluster, receivers, image: image.to_owned() })
}

/// Where nobody can be asked, everything that is missing is said at once.
fn refuse_missing(cluster: &str, receivers: &[Receiver]) -> Result<(), anyhow::Error> {
    let mut missing = Vec::new();
    if cluster.is_empty() {
        missing.push("  --cluster NAME".to_owned());
    }
    if receivers.is_empty() {
        missing.push(
            "  --receiver NAME=KIND,KEY=VALUE,… (`oncall=slack,channel=#alerts,token=env:SLACK_TOKEN`)"
                .to_owned(),
        );
    }
    for receiver in receivers {
        for key in receiver.missing() {
            missing.push(format!("  {key} in --receiver {}={},…", receiver.name, receiver.kind.name()));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(anyhow!("this is no terminal, so nothing can be asked; missing:\n{}", missing.join("\n")))
}

fn ask_receivers(receivers: &mut Vec<Receiver>, ask: &mut dyn Ask) -> Result<(), anyhow::Error> {
    for receiver in receivers.iter_mut().filter(|receiver| !receiver.missing().is_empty()) {
        ask.say(&format!("\nReceiver {} ({}):", receiver.name, receiver.kind.name()));
        receiver.ask(ask)?;
    }
    let kinds: Vec<&str> = Kind::all().into_iter().map(Kind::name).collect();
    while receivers.is_empty() || yes(ask, "\nAnother receiver?", false)? {
        ask.say(&format!("\nWhere are messages sent? {}", kinds.join(", ")));
        let kind = loop {
            match Kind::parse(&ask.line("Kind", Some("slack"))?) {
                Ok(kind) => break kind,
                Err(error) => ask.say(&error.to_string()),
            }
        };
        let usual = Some(if receivers.is_empty() { "oncall" } else { kind.name() });
        let name = loop {
            let name = ask.line("Name of the receiver", usual)?;
            match (receiver::is_name(&name), receivers.iter().any(|known| known.name == name)) {
                (true, false) => break name,
                (true, true) => ask.say("there is one of that name"),
                (false, _) => ask.say("use letters, digits, `-`, `_` and `.`"),
            }
        };
        let mut receiver = Receiver::new(name, kind);
        receiver.ask(ask)?;
        receivers.push(receiver);
    }
    Ok(())
}

fn yes(ask: &mut dyn Ask, question: &str, default: bool) -> Result<bool, anyhow::Error> {
    let answer = ask.line(question, Some(if default { "Y/n" } else { "y/N" }))?;
    Ok(match answer.to_lowercase().as_str() {
        "y" | "yes" => true,
        "n" | "no" => false,
        _ => default,
    })
}

/// The current context of the kubeconfig, as a proposal.
fn context() -> Option<String> {
    let name = kube::config::Kubeconfig::read().ok()?.current_context?;
    Some(name).filter(|name| !name.is_empty() && name.len() <= 60 && !name.chars().any(char::is_control))
}

/// Tries the receivers, where that is wanted.
async fn offer(
    args: &InitArgs,
    plan: &Plan,
    config: &Path,
    ask: Option<&mut dyn Ask>,
) -> Result<(), Failure> {
    let wanted = match (args.send, ask) {
        (true, _) => true,
        (false, Some(ask)) => yes(ask, "Send a test message to each receiver now?", true)?,
        (false, None) => false,
    };
    if !wanted {
        output::say(&format!("to try the receivers: kubeherald send --all -c {}", config.display()));
        return Ok(());
    }
    let from = ConfigArgs { config: Some(config.to_owned()), rules: Vec::new() };
    let loaded = super::load(&from)?;
    let names: Vec<Arc<str>> =
        plan.receivers.iter().map(|receiver| Arc::from(receiver.name.as_str())).collect();
    send::to_each(&loaded.config, &names).await
}

fn next(dir: &Path, config: &Path) {
    output::say(&format!(
        "\nfrom here, with your kubeconfig:\n  \
         kubeherald run -c {} --store kubeherald.db --listen 127.0.0.1:8080\n\
         in the cluster (the image is named in {}):\n  \
         kubectl apply -k {}",
        config.display(),
        dir.join("kustomization.yaml").display(),
        dir.display()
    ));
}

#[cfg(test)]
mod tests;
