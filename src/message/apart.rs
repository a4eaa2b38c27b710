//! A summary as messages about one incident each, for receivers that open and close something for
//! each incident.

use super::{Decision, IncidentView, Notification, Reason, text};

impl Notification {
    /// The incidents of a summary, each as a message of its own with a key of its own, in the order of
    /// the summary; what is no summary comes back as it is.
    pub fn apart(&self) -> Vec<Self> {
        if !self.decision.is_summary() {
            return vec![self.clone()];
        }
        text::root_causes_first(&self.incidents).into_iter().map(|incident| self.alone(incident)).collect()
    }

    fn alone(&self, i: &IncidentView) -> Self {
        let (decision, reason) = if i.ended_at.is_some() {
            match i.end_reason.unwrap_or(Reason::Recovered) {
                reason @ (Reason::StateUnknown | Reason::RuleRemoved | Reason::OverLimit) => {
                    (Decision::Expired, reason)
                }
                reason => (Decision::Resolved, reason),
            }
        } else if i.flaps > 0 {
            (Decision::Reopened, self.reason)
        } else {
            (Decision::First, self.reason)
        };
        Self {
            key: format!("{}-{}", self.key, i.id),
            receiver: self.receiver.clone(),
            decision,
            reason,
            at: self.at,
            cluster: self.cluster.clone(),
            severity: i.severity,
            title: text::title_for(decision, reason, i),
            text: text::text(&self.cluster, decision, reason, i, self.at),
            seq: i.seq,
            incidents: vec![i.clone()],
            incidents_total: 1,
            digest: None,
            late_s: None,
        }
    }
}
