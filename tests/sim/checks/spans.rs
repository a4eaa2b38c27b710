//! Spans of time, and taking some from others.

use super::super::plan::{ApiFault, MINUTE, Ms, SECOND, What};
use super::super::record::LifeEnd;
use super::Case;

pub type Span = (Ms, Ms);

/// After a start the bot has listed everything by then.
const SETTLE: Ms = 30 * SECOND;
/// After a fault of the API server every watch has been tried again by then.
const RETRIED: Ms = 45 * SECOND;
/// The same after a kind could not be read: it is asked for seldom.
const ALLOWED: Ms = 5 * MINUTE + 30 * SECOND;
/// A silent connection is given up by then.
const NOTICED: Ms = 3 * MINUTE;

/// What is left of `from` without `cuts`.
pub fn without(from: &[Span], cuts: &[Span]) -> Vec<Span> {
    let mut left = from.to_vec();
    for (begin, end) in cuts {
        left = left
            .into_iter()
            .flat_map(|(a, b)| [(a, b.min(*begin)), (a.max(*end), b)])
            .filter(|(a, b)| a < b)
            .collect();
    }
    left
}

pub fn longest(spans: &[Span]) -> Ms {
    spans.iter().map(|(a, b)| b - a).max().unwrap_or(0)
}

impl Case<'_> {
    /// When the bot lived long enough to know everything.
    pub fn up(&self) -> Vec<Span> {
        self.record.lives.iter().map(|life| (life.from + SETTLE, life.to)).filter(|(a, b)| a < b).collect()
    }

    /// When the bot was not there at all, or its machine slept.
    pub fn away(&self) -> Vec<Span> {
        let mut out = Vec::new();
        let mut last = 0;
        for life in &self.record.lives {
            out.push((last, life.from));
            last = life.to;
            if life.end == LifeEnd::Over {
                break;
            }
        }
        for item in &self.plan.items {
            if let What::Suspend { lasts } = item.what {
                out.push((item.at, item.at + lasts));
            }
        }
        out
    }

    /// When nothing could be seen of a resource, or not yet again.
    pub fn blind(&self, resource: &str) -> Vec<Span> {
        let mut out = Vec::new();
        for item in &self.plan.items {
            let at = item.at;
            match &item.what {
                What::Api { fault, resources, lasts }
                    if resources.is_empty() || resources.iter().any(|of| of == resource) =>
                {
                    let more = match fault {
                        _ if fault.is_silent() => NOTICED,
                        ApiFault::Garbage => ALLOWED,
                        _ => RETRIED,
                    };
                    out.push((at, at + lasts + more));
                }
                What::Rbac { resources, lasts } if resources.iter().any(|of| of == resource) => {
                    out.push((at, at + lasts + ALLOWED));
                }
                What::EtcdRestore { .. } => out.push((at, at + NOTICED)),
                What::Suspend { lasts } => out.push((at, at + lasts + RETRIED)),
                _ => {}
            }
        }
        out
    }
}
