//! A simulated cluster in a process of its own, for `benches/light.sh`: the recorded quiet life of a real
//! one, played over and over in many namespaces at a given rate.
//!
//! `cargo run --release --example cluster -- PORT NAMESPACES UPDATES_PER_SECOND` serves until it is killed. It speaks
//! plain HTTP: what TLS costs is in neither side of a comparison.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a bench prints")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use kubeherald::recording::{Line, LineKind, RecordingFile};
use kubeherald::testkit::ApiServer;
use serde_json::value::RawValue;

/// So often a second a share of the updates is written.
const TICKS: u64 = 50;
/// The namespace of the recording whose life is played.
const LIVELY: &str = "s-quiet";

/// The line as it would be of another namespace. UIDs differ in their first eight digits.
fn of_namespace(line: &Line, namespace: u64) -> Line {
    let mut text = line.object.get().replace(LIVELY, &format!("{LIVELY}-{namespace}"));
    let key = "\"uid\":\"";
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(key)) {
        let begin = from + at + key.len();
        if text.get(begin..begin + 8).is_some_and(|id| id.bytes().all(|b| b.is_ascii_hexdigit())) {
            text.replace_range(begin..begin + 8, &format!("{namespace:08x}"));
        }
        from = begin;
    }
    Line { object: RawValue::from_string(text).expect("still JSON"), ..line.clone() }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let [port, namespaces, rate] = args[..] else {
        println!("cluster: needs PORT NAMESPACES UPDATES_PER_SECOND");
        return;
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a port")));
    let server = ApiServer::start_on(address).await.expect("the port is free");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings/quiet.jsonl.gz");
    let lines: Vec<Line> = RecordingFile::open(&path).expect("opens").map(|l| l.expect("reads")).collect();
    let synced = lines.iter().position(|line| line.kind == LineKind::Synced).expect("it has a beginning");
    let (initial, life) = lines.split_at(synced);
    for line in initial {
        server.play(line).expect("it is an object");
    }
    let life: Vec<&Line> = life.iter().filter(|line| line.object.get().contains(LIVELY)).collect();
    println!("serves {} with {namespaces} namespaces, {rate} updates a second", server.url());

    let once = || life.iter().flat_map(|line| (0..namespaces).map(move |n| of_namespace(line, n)));
    for line in once() {
        server.play(&line).expect("it is an object");
    }
    let mut updates = std::iter::repeat_with(once).flatten();
    let mut tick = tokio::time::interval(Duration::from_millis(1000 / TICKS));
    let mut owed = 0;
    loop {
        tick.tick().await;
        owed += rate;
        for line in updates.by_ref().take(usize::try_from(owed / TICKS).expect("few")) {
            server.play(&line).expect("it is an object");
        }
        owed %= TICKS;
    }
}
