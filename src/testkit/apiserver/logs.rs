//! Logs of containers, as the API server gets them from a kubelet.
//!
//! A kubelet knows runs of containers by their ids, and which of them is the current one: that of the
//! run that ended last, until the next one begins. Then that is `previous`. While a container waits
//! for its next run, `previous` is the run before the last, mostly removed already
//! (`tests/data/protocol/pod-log.http`; `pkg/kubelet/kubelet_pods.go`, `validateContainerLogStatus`).

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::status::Failure;

/// A request for a log.
#[derive(Debug, Default)]
pub(super) struct LogAsk {
    pub namespace: String,
    pub pod: String,
    container: String,
    previous: bool,
    timestamps: bool,
    tail_lines: Option<usize>,
    limit_bytes: Option<usize>,
}

impl LogAsk {
    pub fn read(namespace: &str, pod: &str, query: &str) -> (Self, Result<(), Failure>) {
        let mut ask = Self { namespace: namespace.to_owned(), pod: pod.to_owned(), ..Self::default() };
        let mut valid = Ok(());
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let yes = matches!(value, "1" | "true");
            let mut number = || {
                let number = value.parse();
                if number.is_err() {
                    let why = format!("strconv.ParseInt: parsing \"{value}\": invalid syntax");
                    valid = Err(Failure::bad_request(&why));
                }
                number.ok()
            };
            match key {
                "container" => value.clone_into(&mut ask.container),
                "previous" => ask.previous = yes,
                "timestamps" => ask.timestamps = yes,
                "tailLines" => ask.tail_lines = number(),
                "limitBytes" => ask.limit_bytes = number(),
                _ => valid = Err(Failure::bad_request(&format!("{key} is not simulated"))),
            }
        }
        (ask, valid)
    }
}

/// So many runs of one container are kept; a kubelet keeps two.
const RUNS: usize = 8;

/// One run of a container, and what it wrote.
#[derive(Debug)]
struct Run {
    id: String,
    lines: Vec<(Timestamp, String)>,
}

type Place = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Logs {
    runs: HashMap<Place, Vec<Run>>,
}

impl Logs {
    pub fn put(&mut self, place: Place, id: &str, lines: Vec<(Timestamp, String)>) {
        let runs = self.runs.entry(place).or_default();
        runs.push(Run { id: id.to_owned(), lines });
        if runs.len() > RUNS {
            runs.remove(0);
        }
    }

    pub fn remove(&mut self, id: &str) {
        for run in self.runs.values_mut().flatten().filter(|run| run.id == id) {
            // It is gone from the node; that it was there is known.
            run.lines.clear();
            run.id.push('\0');
        }
    }

    pub fn answer(&self, ask: &LogAsk, pod: &Value) -> Result<String, Failure> {
        let container = container(ask, pod)?;
        let place = (ask.namespace.clone(), ask.pod.clone(), container.clone());
        let runs = self.runs.get(&place).map(Vec::as_slice).unwrap_or_default();
        let id = run_of(ask, pod, &container, runs)?;
        let Some(run) = runs.iter().find(|run| run.id == id) else {
            return Ok(format!("unable to retrieve container logs for {id}"));
        };
        let skipped = ask.tail_lines.map_or(0, |lines| run.lines.len().saturating_sub(lines));
        let mut out = Vec::new();
        for (at, line) in run.lines.iter().skip(skipped) {
            let mut text = String::new();
            if ask.timestamps {
                // Writing to a String cannot fail.
                write!(text, "{at} ").ok();
            }
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        out.truncate(ask.limit_bytes.unwrap_or(usize::MAX));
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
    let names = containers.into_iter().flatten().filter_map(|c| c.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

fn container(ask: &LogAsk, pod: &Value) -> Result<String, Failure> {
    let (main, init) = (names(pod, "containers"), names(pod, "initContainers"));
    if !ask.container.is_empty() {
        if main.contains(&ask.container) || init.contains(&ask.container) {
            return Ok(ask.container.clone());
        }
        let message = format!("container {} is not valid for pod {}", ask.container, ask.pod);
        return Err(Failure::bad_request(&message));
    }
    match main.as_slice() {
        [one] => Ok(one.clone()),
        _ => {
            let mut message = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                ask.pod,
                main.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Failure::bad_request(&message))
        }
    }
}

fn run_of(ask: &LogAsk, pod: &Value, container: &str, runs: &[Run]) -> Result<String, Failure> {
    let statuses = ["containerStatuses", "initContainerStatuses"]
        .iter()
        .filter_map(|list| pod.pointer(&format!("/status/{list}"))?.as_array())
        .flatten();
    let name = &ask.pod;
    let status = statuses
        .into_iter()
        .find(|status| status.get("name").and_then(Value::as_str) == Some(container))
        .ok_or_else(|| {
            Failure::bad_request(&format!("container \"{container}\" in pod \"{name}\" is not available"))
        })?;
    let id = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).filter(|id| !id.is_empty());
    let running = status.pointer("/state/running").is_some();
    let last = id("/lastState/terminated/containerID");
    let ended = id("/state/terminated/containerID").or(last);
    let none = || {
        Failure::bad_request(&format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        ))
    };
    match (ask.previous, running) {
        (true, true) => last.map(str::to_owned).ok_or_else(none),
        (true, false) => {
            // The run before the one that ended last.
            let place = runs.iter().position(|run| Some(run.id.trim_end_matches('\0')) == ended);
            let before = place.and_then(|place| runs.get(place.checked_sub(1)?));
            before.map(|run| run.id.trim_end_matches('\0').to_owned()).ok_or_else(none)
        }
        (false, true) => Ok(id("/containerID").unwrap_or_default().to_owned()),
        (false, false) => ended.map(str::to_owned).ok_or_else(|| {
            let reason = status.pointer("/state/waiting/reason").and_then(Value::as_str).unwrap_or_default();
            let message =
                format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}");
            Failure::bad_request(&message)
        }),
    }
}
