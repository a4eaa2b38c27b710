//! What a watch event costs: decoding alone, and the whole way to a decision.
//!
//! `cargo bench` prints both, and their ratio; the budget is 2. Recordings are decoded from memory,
//! so that reading and unpacking files is not measured.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench prints"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use kubeherald::app::pipeline::{Output, Pipeline, Start};
use kubeherald::config::load;
use kubeherald::recording::{Line, RecordingFile, changes};
use kubeherald::watch::Kind;

/// How often each recording is run through; the fastest run counts.
const ROUNDS: u32 = 15;

fn fastest(mut run: impl FnMut()) -> Duration {
    (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn main() {
    let config = load(None, &[]).expect("the shipped rules load").config;
    println!("{:<12} {:>7} {:>12} {:>12} {:>6}", "recording", "events", "decode", "to decision", "ratio");
    let (mut all_decode, mut all_whole) = (Duration::ZERO, Duration::ZERO);
    for name in ["crashloop", "evict", "imagepull", "jobs", "node-down", "oom", "probes", "quiet", "storm"] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/recordings/{name}.jsonl.gz"));
        let lines: Vec<Line> =
            RecordingFile::open(&path).expect("opens").map(|line| line.expect("reads")).collect();
        let decode = fastest(|| {
            for change in changes(lines.iter().cloned().map(Ok)) {
                black_box(change.expect("decodes"));
            }
        });
        let whole = fastest(|| {
            let start = Start { first: true, ..Start::default() };
            let (mut pipeline, _) = Pipeline::new(&config, &Kind::ALL, lines[0].at, start);
            let mut out = Output::default();
            for change in changes(lines.iter().cloned().map(Ok)) {
                let (at, change) = change.expect("decodes");
                pipeline.feed(at, change, &mut out);
            }
            black_box(out);
        });
        let each = |d: Duration| format!("{:.2} µs", d.as_secs_f64() * 1e6 / lines.len() as f64);
        println!(
            "{name:<12} {:>7} {:>12} {:>12} {:>6.2}",
            lines.len(),
            each(decode),
            each(whole),
            whole.as_secs_f64() / decode.as_secs_f64()
        );
        all_decode += decode;
        all_whole += whole;
    }
    println!("all: {:.2} times the cost of decoding", all_whole.as_secs_f64() / all_decode.as_secs_f64());
}
