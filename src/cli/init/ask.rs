//! Questions at a terminal.

use std::io;

use anyhow::bail;
use console::Term;
use secrecy::SecretString;

/// Asks a person.
pub trait Ask {
    /// A line without blanks around it. With a default nothing is an answer.
    fn line(&mut self, question: &str, default: Option<&str>) -> Result<String, anyhow::Error>;
    /// A line that is not shown while it is typed; `None`: nothing, where that is an answer.
    fn secret(&mut self, question: &str, optional: bool) -> Result<Option<SecretString>, anyhow::Error>;
    fn say(&mut self, text: &str);
}

/// How often nothing is taken for a slip of the finger.
const TRIES: u32 = 3;

/// The person at this terminal.
pub struct Terminal(Term);

impl Terminal {
    /// `None`: nobody is there to be asked.
    pub fn new() -> Option<Self> {
        use std::io::IsTerminal as _;
        let there = io::stdin().is_terminal() && io::stderr().is_terminal();
        there.then(|| Self(Term::stderr()))
    }
}

impl Ask for Terminal {
    fn line(&mut self, question: &str, default: Option<&str>) -> Result<String, anyhow::Error> {
        for _ in 0..TRIES {
            let shown = default.filter(|default| !default.is_empty());
            let shown = shown.map(|default| format!(" [{default}]")).unwrap_or_default();
            self.0.write_str(&format!("{question}{shown}: "))?;
            let answer = self.0.read_line()?;
            match (answer.trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => self.say("an answer is needed"),
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
        bail!("no answer; nothing was written")
    }

    fn secret(&mut self, question: &str, optional: bool) -> Result<Option<SecretString>, anyhow::Error> {
        for _ in 0..TRIES {
            self.0.write_str(&format!("{question} (not shown while you type): "))?;
            let answer = self.0.read_secure_line()?;
            match (answer.trim(), optional) {
                ("", true) => return Ok(None),
                ("", false) => self.say("an answer is needed"),
                (answer, _) => return Ok(Some(SecretString::from(answer.to_owned()))),
            }
        }
        bail!("no answer; nothing was written")
    }

    fn say(&mut self, text: &str) {
        // Nobody there to read it is no failure.
        drop(self.0.write_line(text));
    }
}
