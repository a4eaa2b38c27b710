//! Containers that the runtime does not create or start.

use std::sync::LazyLock;

use regex::Regex;

use super::{plain, probe};

static EXEC: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"exec: ?"([^"]+)": (?:stat \S+: )?([^:]+)(?:: permission denied\.?)?$"#).ok()
});
static MOUNT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"error mounting "[^"]+" to rootfs at "([^"]+)": .*: ([^:]+)$"#).ok());

/// The error of a container runtime without the prefixes of its layers.
pub fn line(why: &str) -> String {
    // What a hook of the runtime printed comes last.
    let said = why.split_once("stderr: ").map_or(why, |(_, printed)| printed);
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let said = said.split(": unknown: Are you trying to mount").next().unwrap_or(said);
    let said = said.trim().trim_end_matches('.');
    let said = said.strip_suffix(": unknown").unwrap_or(said);
    let said = said.replace(": unknown:", ":");
    if said.contains(" name is reserved for ") || said.contains("is reserved for \"") {
        return "its name is still reserved by an earlier attempt".into();
    }
    if let Some(found) = EXEC.as_ref().and_then(|exec| exec.captures(&said))
        && let (Some(program), Some(error)) = (found.get(1), found.get(2))
    {
        return format!("\"{}\": {}", program.as_str(), error.as_str());
    }
    if let Some(found) = MOUNT.as_ref().and_then(|mount| mount.captures(&said))
        && let (Some(at), Some(error)) = (found.get(1), found.get(2))
    {
        return format!("cannot mount {}: {}", at.as_str(), error.as_str());
    }
    match plain::innermost(&said) {
        short if short.eq_ignore_ascii_case("context deadline exceeded") => {
            "the container runtime does not answer in time".into()
        }
        short => short,
    }
}

/// What a container's configuration lacks.
pub(super) fn config(why: &str) -> String {
    // `… (pod: "checkout-…_shop(5e…)", container: app)`
    let said = why.split(" (pod: \"").next().unwrap_or(why);
    let said = said.replace("container has runAsNonRoot and image ", "runAsNonRoot is set, and the image ");
    plain::innermost(said.lines().next().unwrap_or_default())
}

/// `Exec lifecycle hook ([…]) for Container "app" in Pod "…" failed - error: command '…' exited with 7: , message: ""`
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/lifecycle/handlers.go>).
pub fn hook(why: &str) -> Option<String> {
    let (_, error) =
        why.contains(" lifecycle hook (").then(|| why.split_once(" failed - error: ")).flatten()?;
    let error = error.split(", message: ").next().unwrap_or(error);
    let error = error.lines().next().unwrap_or_default().trim_end_matches([' ', ':']);
    Some(format!("postStart hook failed: {}", probe::asked(error)))
}
