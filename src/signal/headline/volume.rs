//! Volumes: what a driver, `mount` or a cloud said.

use std::sync::LazyLock;

use regex::Regex;

use super::plain;

static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // Names that a provisioner or the kubelet made up tell nobody anything.
    Regex::new(r"^(?:pvc-[0-9a-f-]+|kube-api-access-[a-z0-9]{5}|default-token-[a-z0-9]{5}|.*[0-9a-f]{8}-[0-9a-f]{4}-.*)$").ok()
});
static CLOUD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?:Message=|"message": )"([^"]+?)\.?""#).ok());

/// Which volume it is, where its name is somebody's: `MountVolume.SetUp failed for volume "creds" : …`.
pub fn name(why: &str) -> Option<&str> {
    let name = match why.split_once("unmounted volumes=[") {
        Some((_, rest)) => rest.split([']', ' ', ',']).next()?,
        None => why.split_once("for volume \"")?.1.split('"').next()?,
    };
    let made_up = NAME.as_ref().is_some_and(|pattern| pattern.is_match(name));
    (!name.is_empty() && !made_up).then_some(name)
}

/// The error of a mount or an attachment.
pub(super) fn line(why: &str) -> String {
    if why.contains("unmounted volumes=[") {
        return "timed out".into();
    }
    if let Some((_, rest)) = why.split_once("Multi-Attach error for volume \"") {
        return match rest.split_once("already used by ") {
            Some((_, pods)) if pods.starts_with("pod(s) ") => {
                let pods = pods.trim_start_matches("pod(s) ");
                format!("still attached to another node, for {}", plain::plain(pods))
            }
            _ => "still attached to another node".into(),
        };
    }
    let error = match why.split_once("for volume \"").and_then(|(_, rest)| rest.split_once('"')) {
        Some((_, error)) => error.trim_start_matches([' ', ':']),
        None => why,
    };
    let error = printed(error).unwrap_or(error);
    let error = match CLOUD.as_ref().and_then(|cloud| cloud.captures_iter(error).last()) {
        // The first sentence says it; what to do about it comes after.
        Some(found) => found.get(1).map_or("", |said| said.as_str().split(". ").next().unwrap_or_default()),
        None => error,
    };
    let error = error.rsplit_once("rbd error output: ").map_or(error, |(_, said)| said);
    let error = error.rsplit_once(" api error ").map_or(error, |(_, said)| said);
    let error = error.strip_prefix("mount.nfs: ").or_else(|| error.strip_prefix("mount: ")).unwrap_or(error);
    let error = error.rsplit_once(" err ServerFaultCode: ").map_or(error, |(_, said)| said);
    let said = plain::innermost(error);
    match said.as_str() {
        "context deadline exceeded" => "the volume's driver does not answer in time".into(),
        _ => said,
    }
}

/// What `mount` said stands below the command that was tried, and may have been run by another one.
fn printed(error: &str) -> Option<&str> {
    let (_, output) = error.rsplit_once("Output: ")?;
    let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.find(|line| !line.starts_with("Running scope as unit"))
}

/// Why a claim gets no volume.
pub(super) fn claim(why: &str) -> String {
    let error = match why.split_once("provision volume with StorageClass \"") {
        Some((_, rest)) => rest.split_once("\": ").map_or(rest, |(_, error)| error),
        None => why,
    };
    // The details of LINSTOR: the last message is the error.
    let error = error.rsplit_once("Message: '").map_or(error, |(_, said)| said);
    let error = error.split("'; Details: ").next().unwrap_or(error);
    plain::innermost(error.lines().next().unwrap_or_default())
}
