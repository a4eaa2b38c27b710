//! What was reached. A fault that never happens, or a reason that is never given, proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::json;

use super::plan::{Annotation, ApiFault, DiskFault, Edge, Hostile, Loss, ReceiverFault, Seam, Story, What};
use super::record::Record;

#[derive(Debug, Default)]
pub struct Coverage {
    /// How often each kind of thing happened.
    pub met: BTreeMap<String, u64>,
    /// How often each reason was given, by the history of the bot.
    pub reasons: BTreeMap<String, u64>,
}

/// Reasons that a simulated run cannot lead to, and why.
const NOT_REACHED: &[(&str, &str)] = &[
    ("schedule", "no receiver has a digest"),
    ("handed_over", "no receiver has a fallback"),
    ("standing", "the first look is over before a story has shown anything"),
    ("storm", "about one seed in a thousand reaches it, so 2,000 may leave it out"),
    ("config_broken", "every configuration that is handed in is valid"),
    ("config_mended", "every configuration that is handed in is valid"),
    ("over_limit", "no plan has as many incidents"),
    ("limit_reached", "no plan has as many incidents"),
    ("limit_lifted", "no plan has as many incidents"),
    ("not_queued", "it must never happen: where it does, the check `fate` fails"),
    ("store_set_aside", "no plan damages the file itself"),
    ("not_yet_for", "it is in the live state, not in the history"),
    ("group_wait", "it is in the live state, not in the history"),
    ("below_count", "it is in the live state, not in the history"),
    ("state_unknown", "it takes hours of blindness"),
    ("grew", "a story has one object"),
    ("escalated", "a story keeps its severity"),
];

impl Coverage {
    pub fn add(&mut self, record: &Record) {
        for (label, count) in &record.met {
            *self.met.entry(label.clone()).or_default() += count;
        }
        for row in &record.history {
            *self.reasons.entry(row.reason.clone()).or_default() += 1;
        }
    }

    /// Kinds of faults, stories and reasons that were never reached.
    pub fn missing(&self) -> Vec<String> {
        let mut out: Vec<String> =
            every().into_iter().filter(|label| !self.met.contains_key(label)).collect();
        let excused: BTreeSet<&str> = NOT_REACHED.iter().map(|(reason, _)| *reason).collect();
        for reason in kubeherald::message::Reason::ALL {
            let name = reason.as_str();
            if !excused.contains(name) && !self.reasons.contains_key(name) {
                out.push(format!("reason/{name}"));
            }
        }
        out
    }
}

/// The label of everything that the generator can plan.
fn every() -> Vec<String> {
    let mut all: Vec<What> = Vec::new();
    all.extend(Story::ALL.map(|story| What::Story { story, target: 0, lasts: 0 }));
    all.extend(ApiFault::ALL.map(|fault| What::Api { fault, resources: Vec::new(), lasts: 0 }));
    all.extend(ReceiverFault::ALL.map(|fault| What::Receiver { receiver: String::new(), fault, lasts: 0 }));
    all.extend(DiskFault::ALL.map(|fault| What::Disk { fault, lasts: 0 }));
    all.extend(Hostile::ALL.map(|hostile| What::Hostile { hostile, target: 0 }));
    for seam in Seam::ALL {
        for edge in [Edge::Before, Edge::After] {
            all.push(What::Kill { seam, nth: 1, edge, down: 0, loss: Loss::Process });
        }
    }
    for annotation in [Annotation::Mute, Annotation::SilenceUntil, Annotation::MuteNode] {
        all.push(What::Annotate { target: 0, annotation, lasts: 0 });
    }
    all.extend([
        What::EtcdRestore { back: 0 },
        What::Rbac { resources: Vec::new(), lasts: 0 },
        What::Compact,
        What::ClockStep { by: -1 },
        What::ClockStep { by: 1 },
        What::ClockDrift { ppm: 1, lasts: 0 },
        What::Suspend { lasts: 0 },
        What::Stop { down: 0 },
        What::Reload { without: Vec::new() },
        What::Reload { without: vec![String::new()] },
        What::Silence { target: 0, lasts: 0 },
    ]);
    all.iter().map(What::label).collect()
}

/// A plan as it is kept.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// For people who keep it.
pub fn written(plan: &super::plan::Plan) -> String {
    let mut text = serde_json::to_string_pretty(&json!(plan)).unwrap_or_default();
    text.push('\n');
    text
}
