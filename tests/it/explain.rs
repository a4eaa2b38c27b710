//! `kubeherald explain`, beside a bot that watches the simulated API server, and on stores that
//! were written by hand.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::run::{Played, end};

fn explain(store: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_kubeherald"))
        .env_clear()
        .arg("explain")
        .args(args)
        .args(["--store".as_ref(), store.as_os_str()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn json(store: &Path, args: &[&str]) -> Value {
    let (code, stdout, stderr) = explain(store, &[args, &["--format", "json"]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look() {
    for name in ["crashloop", "node-down", "quiet", "evict", "jobs", "scheduling", "storm"] {
        let mut played = Played::new(name).await;
        let stop = CancellationToken::new();
        let task = played.start(&stop);
        played.play(1.0).await;
        played.then().await;
        let store = played.dir.path().join("state.db");
        let conn = rusqlite::Connection::open(&store).unwrap();
        let count = |sql: &str| conn.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
        eprintln!("== {name}: history {} told {} pending {} objects {} incidents {} ids {}", count("select count(*) from history"), count("select count(*) from history where decision is not null"), count("select count(*) from pending"), count("select count(*) from incident_objects"), count("select count(*) from incidents"), count("select count(distinct incident) from incident_objects"));
        let mut q = conn.prepare("select kind||'/'||name, incident from incident_objects order by id limit 40").unwrap();
        let names: Vec<(String, String)> = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().map(Result::unwrap).collect();
        let mut q = conn.prepare("select coalesce(decision,'-')||' '||reason||' '||rule||' '||workload||' '||detail from history order by id limit 60").unwrap();
        for l in q.query_map([], |r| r.get::<_, String>(0)).unwrap() { eprintln!("   {}", l.unwrap().chars().take(230).collect::<String>()); }
        for (n, _) in names.iter().take(6) {
            let (code, out, err) = explain(&store, &[n]);
            eprintln!("--- {n} {code}\n{out}{err}");
        }
        end(stop, task).await;
    }
}
