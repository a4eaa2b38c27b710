use super::WatchedKind;
use crate::watch::decode::fields::{NAME, Text, WORD};
use crate::watch::decode::{part, slim};

slim! { PersistentVolumeClaim, "persistentvolumeclaims", "", false {
    spec: ClaimSpec,
    status: ClaimStatus,
} }

part! {
    ClaimSpec { storage_class_name: Option<Text<NAME>> }
    ClaimStatus { phase: Option<Text<WORD>> }
}

impl WatchedKind for PersistentVolumeClaim {}
