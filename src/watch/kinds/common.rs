//! What objects of several kinds have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::watch::decode::fields::{KEY, Message, REASON, Text, WORD};
use crate::watch::decode::part;

part! {
    Condition {
        r#type: Text<KEY>, status: Text<WORD>, reason: Option<Text<REASON>>, message: Option<Message>,
        last_transition_time: Option<Time>,
    }
}
