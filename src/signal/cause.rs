//! The closed list of causes and of severities.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The stable name of what is wrong, whatever source told it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Cause { $($(#[$doc])* $name),+ }

        impl Cause {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name used in rules, metrics and messages.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

causes! {
    /// A container (also an init container or sidecar) ends again and again.
    CrashLoopBackOff,
    /// An image cannot be pulled: wrong name, missing, refused, registry down.
    ImagePullBackOff,
    /// A container's configuration names something that is not there.
    CreateContainerConfigError,
    /// The runtime could not create the container.
    CreateContainerError,
    /// The runtime could not start the container.
    RunContainerError,
    /// The kernel ended a container at its memory limit.
    OOMKilled,
    /// The kubelet evicted a pod (pressure, ephemeral storage, emptyDir), never a drain.
    Evicted,
    /// A volume cannot be mounted.
    FailedMount,
    /// A volume cannot be attached to the node.
    FailedAttachVolume,
    /// No node fits the pod.
    FailedScheduling,
    /// A container does not come into being and no Event explains it.
    ContainerStuck,
    /// Probes fail with an effect: restarts, or a pod that stays unready.
    Unhealthy,
    /// The kubelet refused the pod (`NodePorts`, `OutOfcpu`, `NodeAffinity`, …).
    PodRejected,
    /// A node's `Ready` condition is `False` or `Unknown`.
    NodeNotReady,
    /// Memory, disk or PID pressure, or no network, on a node.
    NodePressure,
    /// Any other node condition that reports a problem (node-problem-detector).
    NodeCondition,
    /// A node booted anew.
    Rebooted,
    /// A Job failed for good.
    JobFailed,
    /// A Deployment's rollout passed its progress deadline.
    RolloutStuck,
    /// A controller cannot create pods (quota, admission).
    FailedCreate,
    /// A volume claim cannot be provisioned or bound.
    ProvisioningFailed,
    /// A pod or a namespace was deleted and is still there, past its grace period.
    StuckTerminating,
    /// A pod without a controller ended with an error, or at its own deadline.
    PodFailed,
    /// A raw Event, for rules on Event reasons.
    Event,
}

impl Cause {
    /// Is it a node that has the problem?
    pub const fn is_node(self) -> bool {
        matches!(self, Self::NodeNotReady | Self::NodePressure | Self::NodeCondition | Self::Rebooted)
    }

    /// A point in time rather than a state: it happened, and it is over when it has not happened
    /// again for a while, whether its object still exists or not.
    pub const fn is_point(self) -> bool {
        matches!(self, Self::Evicted | Self::PodRejected | Self::Rebooted | Self::Event)
    }

    /// A container that runs and ends by turns: running for a moment is no recovery.
    pub const fn is_run(self) -> bool {
        matches!(
            self,
            Self::CrashLoopBackOff
                | Self::OOMKilled
                | Self::Unhealthy
                | Self::RunContainerError
                | Self::CreateContainerError
        )
    }

    /// A run of a container has ended where it shows, or has in most cases: there is a log to read.
    pub const fn has_log(self) -> bool {
        matches!(
            self,
            Self::CrashLoopBackOff | Self::OOMKilled | Self::JobFailed | Self::Unhealthy | Self::PodFailed
        )
    }

    /// A problem that shows by turns: that it is out of sight for a moment means nothing.
    pub const fn loops(self) -> bool {
        matches!(
            self,
            Self::CrashLoopBackOff
                | Self::OOMKilled
                | Self::RunContainerError
                | Self::CreateContainerError
                | Self::ImagePullBackOff
                | Self::NodeNotReady
        )
    }

    /// A pod that does not get to run.
    pub const fn is_start(self) -> bool {
        matches!(
            self,
            Self::ImagePullBackOff
                | Self::CreateContainerConfigError
                | Self::CreateContainerError
                | Self::FailedMount
                | Self::FailedAttachVolume
                | Self::FailedScheduling
                | Self::ContainerStuck
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no cause of the closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cause")]
pub struct UnknownCause(pub String);

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|c| c.as_str() == s).ok_or_else(|| UnknownCause(s.to_owned()))
    }
}

/// How bad it is. Ordered: `info < warning < critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing, nobody needs to act.
    Info,
    /// Needs somebody, not at once.
    Warning,
    Critical,
}

impl Severity {
    /// The name used in rules, metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_survives_its_name() {
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse::<Cause>(), Ok(*cause));
        }
        assert_eq!("crashloopbackoff".parse::<Cause>(), Err(UnknownCause("crashloopbackoff".into())));
    }
}
