//! The bot's own command line, as people who read a message can call it.

use std::sync::Arc;

/// Characters that no shell reads as anything else.
const PLAIN: &[u8] = b"-_./=:,@%+";

/// How people call kubeherald where the call reaches this bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// `kubectl -n kubeherald exec deploy/kubeherald -- kubeherald`
    pub program: Arc<str>,
    /// The bot's configuration file, which says where its API is and has the token.
    pub config: Option<Arc<str>>,
}

impl CommandLine {
    /// The line that silences an incident.
    pub fn silence(&self, incident: &str) -> String {
        let config = self.config.as_deref().map(|path| format!(" --config {}", quoted(path)));
        let what = quoted(&format!("incident={incident}"));
        format!("{} silence add {what} --for 2h{}", self.program, config.unwrap_or_default())
    }
}

/// A word of a shell's command line.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || PLAIN.contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_pasted() {
        let line = |program: &str, config: Option<&str>| {
            CommandLine { program: program.into(), config: config.map(Into::into) }.silence("8c2f6a10")
        };
        assert_eq!(line("kubeherald", None), "kubeherald silence add incident=8c2f6a10 --for 2h");
        assert_eq!(
            line(
                "kubectl -n ops exec deploy/kubeherald -- kubeherald",
                Some("/etc/kubeherald/kubeherald.yaml")
            ),
            "kubectl -n ops exec deploy/kubeherald -- kubeherald silence add incident=8c2f6a10 --for 2h \
             --config /etc/kubeherald/kubeherald.yaml"
        );
        assert!(
            line("kubeherald", Some("/home/o'neill/my bot.yaml"))
                .ends_with(r"--config '/home/o'\''neill/my bot.yaml'")
        );
    }
}
