//! `kubeherald silence` and `kubeherald reload`: the binary against the bot's own HTTP server, and
//! against servers that are none.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use kubeherald::clock;
use kubeherald::metrics::{ConfigStats, EngineStats, Metrics, Sources};
use kubeherald::outbox::{Outbox, Policy};
use kubeherald::store::Store;
use kubeherald::watch::stream::WatchStatus;
use kubeherald::web::{self, Answer, Command as Order, Control, Refusal, WebState};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "t0ken-of-the-test";

/// The bot's HTTP server, with somebody behind it who keeps silences as the bot does.
struct Bot {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Bot {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Bot {
    async fn start(token: Option<&'static str>) -> Self {
        let store = Store::memory().unwrap();
        let engine = Arc::new(ArcSwap::from_pointee(EngineStats::default()));
        let outbox = Outbox::new(store.clone(), clock::Clock::System, Policy::default());
        let config = Arc::new(ArcSwap::from_pointee(ConfigStats::begun(String::new(), clock::now())));
        let sources = Sources {
            engine,
            config,
            watch: WatchStatus::new(&[]),
            store,
            outbox,
            logs: Arc::default(),
            heartbeat: Arc::default(),
        };
        let (asks, mut asked) = mpsc::channel::<web::Ask>(web::api::WAITING);
        let token: Option<web::Token> =
            token.map(|token| -> web::Token { Arc::new(|| Ok(token.to_owned())) });
        let state =
            WebState::new(Metrics::new(sources), Arc::new(AtomicI64::new(0)), Control::new(token, asks));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(web::serve(listener, state, stop.clone()));
        tokio::spawn(async move {
            let mut silences: Vec<Value> = Vec::new();
            while let Some(ask) = asked.recv().await {
                ask.answer.send(answer(&mut silences, ask.command)).ok();
            }
        });
        Self { address, stop }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn answer(silences: &mut Vec<Value>, order: Order) -> Answer {
    match order {
        Order::AddSilence { body } => {
            let body: Value = serde_json::from_str(&body).unwrap();
            if body["match"].get("namspace").is_some() {
                let text = "unknown key `namspace` in `match`\n  = help: did you mean `namespace`?\u{1b}[2J";
                return Err(Refusal::Invalid(text.into()));
            }
            assert_eq!(body["for"], "2h");
            let id = format!("s{}", silences.len() + 1);
            let from = clock::now();
            let until = clock::after(from, Duration::from_secs(7200));
            let mut silence = body;
            silence.as_object_mut().unwrap().remove("for");
            for (name, value) in [
                ("id", json!(id)),
                ("from", json!(from)),
                ("until", json!(until)),
                ("state", json!("active")),
                ("source", json!("api")),
            ] {
                silence[name] = value;
            }
            silences.push(silence.clone());
            Ok(silence)
        }
        Order::Silences { all } => {
            let shown: Vec<&Value> = silences.iter().filter(|s| all || s["state"] == "active").collect();
            Ok(json!(shown))
        }
        Order::ExpireSilence { id } => {
            let found = silences.iter_mut().find(|s| s["id"] == id.as_str());
            let silence = found.ok_or_else(|| Refusal::NotFound(format!("no silence `{id}`")))?;
            silence["state"] = json!("expired");
            Ok(silence.clone())
        }
        Order::Reload => Ok(json!({ "reloaded": true, "changed": ["2 rules are new"], "warnings": [] })),
        #[allow(unreachable_patterns, reason = "the bot may be asked more one day")]
        Order::Status { .. } => Err(Refusal::Failed("not asked here".into())),
    }
}

type Ended = (i32, String, String);

async fn kubeherald(vars: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().envs(vars.iter().copied()).args(args).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "{stdout}{stderr}");
    assert!(!stdout.contains(TOKEN) && !stderr.contains(TOKEN), "{stdout}{stderr}");
    (output.status.code().unwrap(), stdout, stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silences_are_added_listed_and_ended() {
    let bot = Bot::start(Some(TOKEN)).await;
    let url = bot.url();
    let vars = [("KUBEHERALD_URL", url.as_str()), ("KUBEHERALD_TOKEN", TOKEN), ("USER", "ada")];
    let (code, none, _) = kubeherald(&vars, &["silence", "list"]).await;
    assert_eq!((code, none.as_str()), (0, "nothing is silenced\n"));

    let add = ["silence", "add", "--for", "2h", "--comment", "release 4.2"];
    let args = [&add[..], &["namespace=shop", "label.team=payments", "name=~^api-"]].concat();
    let (code, said, warned) = kubeherald(&vars, &args).await;
    assert_eq!((code, warned.as_str()), (0, ""), "{said}");
    assert!(said.starts_with("silenced until "), "{said}");
    assert!(said.contains("(in 2 h): label.team=payments name=~^api- namespace=shop\n"), "{said}");
    assert!(said.contains(&format!("kubeherald silence expire s1 --url {url}\n")), "{said}");
    let args = [&add[..], &["node=worker-1", "--by", "drain", "--format", "json"]].concat();
    let (_, said, _) = kubeherald(&vars, &args).await;
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["by"], "drain");

    let (_, listed, _) = kubeherald(&vars, &["silence", "list", "--format", "json"]).await;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), 2);
    assert_eq!(
        listed[0]["match"],
        json!({"namespace": "shop", "labels": {"team": "payments"}, "name": {"regex": "^api-"}})
    );
    assert_eq!((&listed[0]["by"], &listed[0]["comment"]), (&json!("ada"), &json!("release 4.2")));
    let (_, table, _) = kubeherald(&vars, &["silence", "list"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID  STATE   UNTIL ") && lines.len() == 3, "{table}");
    assert!(lines[1].starts_with("s1  active  ") && lines[1].ends_with("release 4.2"), "{table}");

    let (code, said, failed) = kubeherald(&vars, &["silence", "expire", "nope", "s1"]).await;
    assert_eq!((code, said.as_str()), (1, "ended: s1\n"), "the others are ended all the same");
    assert!(failed.contains("nope is not ended") && failed.contains("no silence `nope`"), "{failed}");
    let (_, table, _) = kubeherald(&vars, &["silence", "list"]).await;
    assert_eq!(table.lines().count(), 2, "{table}");
    let (_, table, _) = kubeherald(&vars, &["silence", "list", "--all"]).await;
    assert!(table.contains("s1  expired"), "{table}");

    let (code, said, _) = kubeherald(&vars, &["reload"]).await;
    assert_eq!((code, said.as_str()), (0, "reloaded\n  changed: 2 rules are new\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_says_where_the_bot_is_and_what_its_token_is() {
    let bot = Bot::start(Some(TOKEN)).await;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    write("token", &format!("{TOKEN}\n"));
    let port = bot.address.port();
    let config =
        write("kubeherald.yaml", &format!("http: {{listen: \"0.0.0.0:{port}\", token: {{file: token}}}}\n"));
    let (code, said, failed) = kubeherald(&[], &["silence", "list", "--config", &config]).await;
    assert_eq!((code, said.as_str(), failed.as_str()), (0, "nothing is silenced\n", ""));
    // What is named wins over the configuration.
    let wrong = write("wrong", "another");
    let (code, _, failed) =
        kubeherald(&[], &["silence", "list", "--config", &config, "--token-file", &wrong]).await;
    assert!(code == 1 && failed.contains("does not know this token"), "{failed}");
    assert!(!failed.contains("another"), "{failed}");

    let bare = write("bare.yaml", &format!("http: {{listen: \"127.0.0.1:{port}\"}}\n"));
    let (code, _, failed) = kubeherald(&[], &["silence", "list", "--config", &bare]).await;
    assert!(code == 1 && failed.contains("names no `http.token`"), "{failed}");
    let deaf = write("deaf.yaml", "cluster: lab\n");
    let (code, _, failed) = kubeherald(&[], &["reload", "--config", &deaf]).await;
    assert!(code == 1 && failed.contains("names no `http.listen`"), "{failed}");
    let (code, _, failed) = kubeherald(&[], &["reload"]).await;
    assert!(code == 1 && failed.contains("where is the bot?"), "{failed}");
    let (code, _, failed) = kubeherald(&[], &["reload", "--url", &bot.url()]).await;
    assert!(code == 1 && failed.contains("which token?"), "{failed}");
    let (code, _, failed) =
        kubeherald(&[], &["reload", "--url", &bot.url(), "--token-file", "/no/such/token"]).await;
    assert!(code == 1 && failed.contains("cannot read /no/such/token"), "{failed}");
    let lines = write("lines", "one\ntwo\n");
    let (code, _, failed) = kubeherald(&[], &["reload", "--url", &bot.url(), "--token-file", &lines]).await;
    assert!(code == 1 && failed.contains("holds line ends"), "{failed}");
    assert!(Path::new(&lines).exists() && !failed.contains("two"), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_what_to_do() {
    let bot = Bot::start(Some(TOKEN)).await;
    let url = bot.url();
    let vars = [("KUBEHERALD_URL", url.as_str()), ("KUBEHERALD_TOKEN", TOKEN), ("USER", "ada")];
    let add = |condition: &'static str| ["silence", "add", "--for", "2h", "--comment", "x", condition];
    let (code, _, failed) = kubeherald(&vars, &add("namspace=shop")).await;
    assert!(code == 1 && failed.contains("the bot refuses it: unknown key `namspace`"), "{failed}");
    assert!(failed.contains("\n  = help: did you mean `namespace`?"), "{failed}");

    // Wrong usage never reaches the bot.
    for args in [
        &add("a/b/c/d")[..],
        &add("=shop"),
        &["silence", "add", "--for", "2h", "deploy/a", "deploy/b"],
        &["silence", "add", "--for", "2h", "--comment", "x"],
        &["silence", "add", "--for", "2", "--comment", "x", "namespace=shop"],
        &["silence", "add", "--for", "0s", "--comment", "x", "namespace=shop"],
        &["silence", "add", "--comment", "x", "namespace=shop"],
        &["silence", "expire"],
        &["silence", "expire", ".."],
        &["silence", "list", "--url", "127.0.0.1:8080"],
        &["silence", "list", "--url", "http://me:secret@127.0.0.1"],
    ] {
        let (code, _, failed) = kubeherald(&vars, args).await;
        assert_eq!(code, 2, "{args:?}: {failed}");
        assert!(!failed.contains("secret"), "{failed}");
    }
    let closed = Bot::start(None).await;
    let closed_url = closed.url();
    let (code, _, failed) = kubeherald(&vars, &["silence", "list", "--url", &closed_url]).await;
    assert!(
        code == 1 && failed.contains("refuses: this bot accepts no commands: set `http.token`"),
        "{failed}"
    );

    rustls::crypto::ring::default_provider().install_default().ok();
    let page = reqwest::get(&closed_url).await.unwrap();
    assert_eq!(page.status(), 200);
    let page = crate::silences::text(page).await;
    assert!(page.contains("set `http.token` in the configuration to see here what is open"), "{page}");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, failed) = kubeherald(&vars, &["reload", "--url", &format!("http://{free}")]).await;
    assert_eq!(code, 1);
    for part in [&format!("cannot reach the bot at http://{free}"), "refused", "is it running", "--url"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
}

/// The crate is built without `axum::serve`.
async fn serve(listener: TcpListener, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).await.ok();
        });
    }
}

/// Who asks with a token must not be led astray.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_goes_to_one_address_only() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/caught", elsewhere.local_addr().unwrap());
    let trap = Router::new().fallback(move |request: axum::extract::Request| {
        record.lock().unwrap().push(request.uri().to_string());
        async { "{}" }
    });
    tokio::spawn(async move { serve(elsewhere, trap).await });
    let moved = Router::new()
        .route("/-/reload", axum::routing::post(move || async move { Redirect::temporary(&target) }))
        .route("/page/-/reload", axum::routing::post(|| async { "<html>hello" }))
        .route(
            "/down/-/reload",
            axum::routing::post(|| async {
                (StatusCode::BAD_GATEWAY, "<html>no upstream".to_owned() + TOKEN).into_response()
            }),
        )
        .route(
            "/echo/-/reload",
            axum::routing::post(|| async {
                let error = json!({ "error": format!("what is {TOKEN}?") });
                (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { serve(listener, moved).await });
    let vars = [("KUBEHERALD_TOKEN", TOKEN), ("http_proxy", url.as_str()), ("HTTP_PROXY", url.as_str())];
    let reload = |url: String| async move { kubeherald(&vars, &["reload", "--url", &url]).await };
    let (code, _, failed) = reload(url.clone()).await;
    assert!(code == 1 && failed.contains("points elsewhere (status 307)"), "{failed}");
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new(), "the token was carried on");
    let (code, _, failed) = reload(format!("{url}/page")).await;
    assert!(code == 1 && failed.contains("is no kubeherald: no JSON"), "{failed}");
    let (code, _, failed) = reload(format!("{url}/down")).await;
    assert!(code == 1 && failed.contains("is no kubeherald, or an older one: status 502"), "{failed}");
    let (code, _, failed) = reload(format!("{url}/echo/")).await;
    assert!(code == 1 && failed.contains("what is ***?"), "{failed}");

    // Nobody answers at an address that is kept for documentation; the warning comes before.
    let (_, _, warned) = reload("http://name.invalid:1".to_owned()).await;
    assert!(warned.contains("warning: the token goes to name.invalid without encryption"), "{warned}");
    assert!(warned.contains("cannot reach the bot"), "{warned}");
}
