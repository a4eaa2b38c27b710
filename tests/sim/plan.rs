//! What happens in one run: data, so that the plan of a failure can be shrunk, read and kept.

use serde::{Deserialize, Serialize};

/// Virtual milliseconds since the world began.
pub type Ms = u64;

pub const SECOND: Ms = 1000;
pub const MINUTE: Ms = 60 * SECOND;
pub const HOUR: Ms = 60 * MINUTE;

/// One run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the plan shows, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Names the draws of everything that the plan leaves to chance: latencies, names, jitter.
    pub seed: u64,
    /// From this moment on nothing new goes wrong and every fault is over.
    pub healed: Ms,
    /// When the run ends.
    pub ends: Ms,
    pub items: Vec<Item>,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub at: Ms,
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A workload or node goes through a story.
    Story { story: Story, target: usize, lasts: Ms },
    /// The API server misbehaves towards requests for these resources (`pods`); empty: all.
    Api { fault: ApiFault, resources: Vec<String>, lasts: Ms },
    /// The cluster goes back to what it was `back` ago, versions included.
    EtcdRestore { back: Ms },
    /// These resources may not be read for a while.
    Rbac { resources: Vec<String>, lasts: Ms },
    /// The server forgets its history of writes.
    Compact,
    /// A receiver misbehaves.
    Receiver { receiver: String, fault: ReceiverFault, lasts: Ms },
    /// The wall clock of the bot's node jumps by so many milliseconds.
    ClockStep { by: i64 },
    /// The wall clock runs too fast (or slow) by parts per million.
    ClockDrift { ppm: i32, lasts: Ms },
    /// The machine sleeps: the world goes on, the monotonic clock does not.
    Suspend { lasts: Ms },
    /// The disk misbehaves.
    Disk { fault: DiskFault, lasts: Ms },
    /// The process is killed at its `nth` operation at this seam from now on, and starts again later.
    Kill { seam: Seam, nth: u64, edge: Edge, down: Ms, loss: Loss },
    /// The process is stopped in order, and starts again later.
    Stop { down: Ms },
    /// This variant of the configuration is in force from now on.
    Reload { without: Vec<String> },
    /// Somebody silences a target over the API.
    Silence { target: usize, lasts: Ms },
    /// A tenant annotates what belongs to them.
    Annotate { target: usize, annotation: Annotation, lasts: Ms },
    /// Somebody who may write Events in one namespace abuses that.
    Hostile { hostile: Hostile, target: usize },
}

/// Stories of failures as a cluster shows them. Those below `Blip` must stay untold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Story {
    CrashLoop,
    OomKill,
    Eviction,
    ImagePull,
    MissingConfig,
    NoNode,
    NoVolume,
    /// A quota is full; known from Events alone.
    Quota,
    /// The same, gone for a while and come back: the Event counts on from its first time.
    QuotaAgain,
    StuckRollout,
    FailedJob,
    NodeLost,
    SystemOom,
    Blip,
    RestartOnce,
    Drain,
    KubeletRestart,
}

impl Story {
    pub const ALL: [Self; 17] = [
        Self::CrashLoop,
        Self::OomKill,
        Self::Eviction,
        Self::ImagePull,
        Self::MissingConfig,
        Self::NoNode,
        Self::NoVolume,
        Self::Quota,
        Self::QuotaAgain,
        Self::StuckRollout,
        Self::FailedJob,
        Self::NodeLost,
        Self::SystemOom,
        Self::Blip,
        Self::RestartOnce,
        Self::Drain,
        Self::KubeletRestart,
    ];

    /// Does it happen to a node rather than to a workload?
    pub const fn is_node(self) -> bool {
        matches!(self, Self::NodeLost | Self::SystemOom | Self::KubeletRestart)
    }
}

/// What the API server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiFault {
    /// Nothing listens; open connections are reset.
    Down,
    /// Connections are reset at a request.
    Reset,
    Status429,
    Status500,
    Status503,
    /// Watches are answered 410 inside their stream.
    Gone,
    /// Watches are answered 200 and closed at once.
    EmptyWatch,
    /// Bodies end in the middle.
    Cut,
    /// Headers come, then nothing.
    Silence,
    /// Not even headers come.
    Hang,
    /// A proxy's page in place of an answer.
    Garbage,
}

impl ApiFault {
    pub const ALL: [Self; 11] = [
        Self::Down,
        Self::Reset,
        Self::Status429,
        Self::Status500,
        Self::Status503,
        Self::Gone,
        Self::EmptyWatch,
        Self::Cut,
        Self::Silence,
        Self::Hang,
        Self::Garbage,
    ];
}

/// What a receiver does wrong. Where it is said that a message was taken, it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverFault {
    Status429,
    Status500,
    Status503,
    /// The credentials are being rotated: 401, or 535 from a mail server.
    Unauthorized,
    /// The same with 403.
    Forbidden,
    /// This message is refused for good: 400, or 554.
    Refused,
    /// Nothing is said.
    Hang,
    /// The message is taken, nothing is said.
    HangTaken,
    /// The connection is reset.
    Reset,
    /// The message is taken, then the connection is reset.
    ResetTaken,
    /// The message is taken, and the answer breaks off behind its status.
    HalfAnswer,
    /// Every answer takes seconds.
    Slow,
    /// One recipient of several is unknown. Mail only.
    OneRecipient,
}

impl ReceiverFault {
    pub const ALL: [Self; 13] = [
        Self::Status429,
        Self::Status500,
        Self::Status503,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Refused,
        Self::Hang,
        Self::HangTaken,
        Self::Reset,
        Self::ResetTaken,
        Self::HalfAnswer,
        Self::Slow,
        Self::OneRecipient,
    ];
}

/// What the disk does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFault {
    /// No space is left.
    Full,
    /// Writes fail.
    WriteError,
    /// Flushes fail; what they were to keep is lost.
    FlushError,
    /// Flushes fail, although everything was kept.
    FlushLies,
}

impl DiskFault {
    pub const ALL: [Self; 4] = [Self::Full, Self::WriteError, Self::FlushError, Self::FlushLies];
}

/// Where the bot meets the world. Between two operations at a seam nothing can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seam {
    /// Any of them.
    Any,
    Api,
    Receiver,
    Mail,
    Disk,
    /// A moment of time, whatever is being done.
    Clock,
}

impl Seam {
    pub const ALL: [Self; 6] = [Self::Any, Self::Api, Self::Receiver, Self::Mail, Self::Disk, Self::Clock];
}

/// On which side of the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    Before,
    After,
}

/// What of the writes that were not flushed survives a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// All of them: the process ended, the machine did not.
    #[default]
    Process,
    /// None of them.
    Power,
    /// The first ones, the last of these torn.
    Torn,
    /// Any part of any of them.
    Scattered,
}

/// Who annotates what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Annotation {
    /// `mute: "true"` on the Deployment.
    Mute,
    /// `silence-until` on the Deployment.
    SilenceUntil,
    /// `mute: "true"` on the node.
    MuteNode,
}

/// What somebody with few rights tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hostile {
    /// An Event in one namespace about a ReplicaSet of another.
    ForgedEvent,
    /// An Event about a node from a namespace of a tenant.
    ForgedNodeEvent,
    /// Names of 900 KB, reasons of 300 KB.
    HugeEvent,
    /// Line breaks and a secret in a reason.
    ReasonWithBreaks,
    /// A termination message that carries what could end a part of a mail.
    MailBoundary,
}

impl Hostile {
    pub const ALL: [Self; 5] = [
        Self::ForgedEvent,
        Self::ForgedNodeEvent,
        Self::HugeEvent,
        Self::ReasonWithBreaks,
        Self::MailBoundary,
    ];
}

impl Plan {
    /// The same without any fault: what the bot would say if all went well.
    pub fn without_faults(&self) -> Self {
        let items = self.items.iter().filter(|item| !item.what.is_fault()).cloned().collect();
        Self { items, ..self.clone() }
    }
}

impl What {
    /// Is it something that must not change what is told in the end?
    pub const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Api { .. }
                | Self::Compact
                | Self::Rbac { .. }
                | Self::Receiver { .. }
                | Self::ClockStep { .. }
                | Self::ClockDrift { .. }
                | Self::Suspend { .. }
                | Self::Disk { .. }
                | Self::Kill { .. }
                | Self::Stop { .. }
        )
    }

    /// What the table at the end counts it as: `api/empty_watch`.
    pub fn label(&self) -> String {
        fn word<T: Serialize>(value: &T) -> String {
            serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
        }
        match self {
            Self::Story { story, .. } => format!("story/{}", word(story)),
            Self::Api { fault, .. } => format!("api/{}", word(fault)),
            Self::EtcdRestore { .. } => "api/etcd_restore".into(),
            Self::Rbac { .. } => "api/rbac".into(),
            Self::Compact => "api/compact".into(),
            Self::Receiver { fault, .. } => format!("receiver/{}", word(fault)),
            Self::ClockStep { by } if *by < 0 => "clock/step_back".into(),
            Self::ClockStep { .. } => "clock/step_forward".into(),
            Self::ClockDrift { .. } => "clock/drift".into(),
            Self::Suspend { .. } => "clock/suspend".into(),
            Self::Disk { fault, .. } => format!("disk/{}", word(fault)),
            Self::Kill { seam, edge, .. } => format!("kill/{}_{}", word(edge), word(seam)),
            Self::Stop { .. } => "kill/stopped_in_order".into(),
            Self::Reload { without } if without.is_empty() => "reload/rule_returns".into(),
            Self::Reload { .. } => "reload/rule_removed".into(),
            Self::Silence { .. } => "silence/api".into(),
            Self::Annotate { annotation, .. } => format!("silence/{}", word(annotation)),
            Self::Hostile { hostile, .. } => format!("hostile/{}", word(hostile)),
        }
    }
}
