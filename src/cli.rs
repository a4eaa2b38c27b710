//! The command line: the only place with `anyhow`, and with printing.

mod check;
mod client;
#[cfg(feature = "demo")]
pub mod demo;
mod explain;
mod init;
mod outbox;
mod output;
mod rbac;
mod record;
mod replay;
mod run;
mod schema;
mod send;
mod silence;
mod test;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// The line about `demo`, which the image is built without.
#[cfg(feature = "demo")]
macro_rules! demo_step {
    () => {
        "  kubeherald demo                     see what it does, without a cluster\n"
    };
}
#[cfg(not(feature = "demo"))]
macro_rules! demo_step {
    () => {
        ""
    };
}

/// Watches a Kubernetes cluster and tells the right people, once, when something needs them.
///
/// One problem is one message: forty crashing pods of one Deployment are one incident, whose
/// updates follow under the first message, and whose end is told when the cluster agrees that it is
/// over. Nothing is lost: what is to be told is on disk before it is sent.
#[derive(Debug, Parser)]
#[command(name = "kubeherald", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = concat!("First steps:\n", demo_step!(), "\
  kubeherald run                      watch the cluster of your kubeconfig, tell the terminal
  kubeherald check kubeherald.yaml    find every mistake in a configuration
  kubeherald run --config kubeherald.yaml

Exit codes: 0 all is well, 1 something you can mend (a wrong file, an unreachable server), 2 wrong usage."))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See what it does: a simulated cluster, the real bot, and a page with what is received.
    ///
    /// Plays half an hour of a cluster's life in a minute: a crash loop, an image that does not
    /// exist, a missing Secret, pods that fit no node, evictions, a node that dies, and a lot of
    /// normal life. The bot watches it with the shipped rules; a page on this machine shows what
    /// Slack, a webhook and a mailbox receive. Needs no cluster and no network.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// Write a configuration, its secrets and the manifests to install it, by questions or flags.
    ///
    /// Asks for the cluster's name and for receivers, writes a directory that `run` and
    /// `kubectl apply -k` take, checks it, and offers to send a test message. Without a terminal
    /// everything is said by flags.
    Init(init::InitArgs),
    /// Find every error in configuration, rules and templates, each with file, line and frame.
    ///
    /// Reads files and directories; without any, the shipped rules and templates are checked.
    /// Nothing is connected, no secret is read. Exit code 1 if there is an error.
    Check(check::CheckArgs),
    /// Watch a cluster and tell what is wrong with it.
    ///
    /// Without a configuration it watches the cluster of your kubeconfig (or the one it runs in)
    /// with the shipped rules and tells this terminal. With one it tells Slack, webhooks and
    /// mailboxes. Ctrl-C ends it in order; a second Ctrl-C at once.
    Run(run::RunArgs),
    /// Send a test message to a receiver now, and say what the other side answered.
    Send(send::SendArgs),
    /// Print the JSON Schema of the configuration or of rule files, for editors.
    ///
    /// kubeherald schema rules > rules.schema.json, and as the first line of a rule file:
    /// # yaml-language-server: $schema=rules.schema.json
    Schema(schema::SchemaArgs),
    /// Run the tests written in rule files.
    ///
    /// A test says what happens (a recorded watch stream, or signals with times) and which messages
    /// are expected. It runs through the real engine on virtual time, and passes when exactly those
    /// are decided. Without a path: the shipped rules' own tests. Exit code 1 if a test fails.
    Test(test::TestArgs),
    /// Say what is known of an object: what was wrong, who was told what, what was held back and why.
    ///
    /// Looks into the bot's store, whether or not the bot is running: which incidents the object is
    /// or was part of, which rule matched, who was told what and when that arrived, and what was not
    /// told, with the reason. Exit code 1 if nothing is known of it.
    Explain(explain::ExplainArgs),
    /// Look at what receivers are owed, and decide about what was given up.
    ///
    /// Works on the bot's store, whether or not the bot is running.
    Outbox(outbox::OutboxArgs),
    /// Hold back what matches for a while, list what is held back so, end it.
    ///
    /// Asks the running bot over HTTP; it needs an `http.token`.
    Silence(silence::SilenceArgs),
    /// Have the running bot read configuration, rules and templates again.
    ///
    /// Asks it over HTTP; it needs an `http.token`. If anything is wrong the bot keeps what it has,
    /// and this says what is wrong.
    Reload(silence::ReloadArgs),
    /// Record what the cluster shows, as a file that `replay` and `test` read.
    ///
    /// Lists and watches the kinds that `run` watches, and writes each change as it comes. Values of
    /// variables and what looks like a secret are masked; Secrets are not read. So last night becomes
    /// a test: record, `replay`, and name the file under `tests:` of a rule file.
    Record(record::RecordArgs),
    /// Print the roles and bindings that the bot needs, and no more.
    ///
    /// They follow from the configuration: the kinds that are watched, and logs where a rule in force has
    /// `log_tail`. kubeherald rbac --config kubeherald.yaml | kubectl apply -f -
    Rbac(rbac::RbacArgs),
    /// Run recorded watch streams through the real pipeline, on virtual time.
    ///
    /// A recording is one watch event a line, as the API server sent it:
    /// {"at": "2026-11-21T08:05:52Z", "type": "ADDED", "object": {...}}; lines before
    /// {"type": "SYNCED"} are the initial lists. Use it to see what a rule would have said.
    Replay(replay::ReplayArgs),
}

/// Where configuration and rules come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file. Without it: shipped rules, told to the terminal.
    #[arg(short, long, env = "KUBEHERALD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A rule file or a directory of rule files; replaces shipped rules by name and adds to them.
    /// Can be given several times.
    #[arg(short, long, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
}

/// Why a command ended badly.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Said already.
    Told,
    /// Wrong usage, to be said.
    Usage(anyhow::Error),
    /// To be said.
    Error(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Parses the command line and does what it asks for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => in_runtime(demo::demo(&args)),
        Command::Init(args) => in_runtime(init::init(&args)),
        Command::Check(args) => check::check(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Test(args) => test::test(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Silence(args) => in_runtime(silence::silence(&args)),
        Command::Reload(args) => in_runtime(silence::reload(&args)),
        Command::Outbox(args) => outbox::outbox(&args),
        Command::Record(args) => in_runtime(record::record(&args)),
        Command::Rbac(args) => rbac::rbac(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Run(args) => in_runtime(run::run(&args)),
        Command::Send(args) => in_runtime(send::send(&args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(Failure::Usage(error)) => {
            output::error(&error);
            ExitCode::from(2)
        }
        Err(Failure::Error(error)) => {
            if broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(task: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // Another provider may have been installed before; either will do.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(task)
}

/// `kubeherald replay … | head` is no failure.
fn broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Prints to standard output; a reader that has gone is an error of its kind (`broken_pipe`).
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Loads what the arguments name; prints warnings, and every error with its frame.
pub(crate) fn load(args: &ConfigArgs) -> Result<crate::config::Loaded, Failure> {
    match crate::config::attempt(args.config.as_deref(), &args.rules, crate::clock::now()).outcome {
        Ok(loaded) => {
            output::diagnostics(&loaded.warnings);
            Ok(loaded)
        }
        Err(diagnostics) => {
            output::diagnostics(&diagnostics);
            Err(Failure::Told)
        }
    }
}
