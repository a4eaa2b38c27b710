//! The helpers a template may call, and the escape functions.

use handlebars::Handlebars;

use super::Escaping;
use crate::message::text::words;

use calls::{cut, duration, plural, time};

/// All are macro helpers: what they return is a value and is escaped like one.
mod calls {
    use handlebars::handlebars_helper;
    use jiff::Timestamp;

    use crate::message::text::words;

    handlebars_helper!(duration: |seconds: i64| words::duration(seconds));
    handlebars_helper!(time: |at: str| at.parse::<Timestamp>().map_or_else(|_| at.to_owned(), words::time_of_day));
    handlebars_helper!(plural: |count: u64, word: str| words::plural(count, word));
    handlebars_helper!(cut: |text: str, max: u64| words::cut_chars(text, usize::try_from(max).unwrap_or(usize::MAX)));
}

/// The names a template may call, for messages.
pub const NAMES: &[&str] = &[
    "and", "cut", "duration", "each", "eq", "gt", "gte", "if", "len", "lookup", "lt", "lte", "ne", "not",
    "or", "plural", "time", "unless", "with",
];

/// A registry with the helpers and the escaping of one format.
pub fn registry(format: Escaping) -> Handlebars<'static> {
    let mut hbs = Handlebars::new();
    hbs.set_strict_mode(true);
    // Partials keep the lines they have: indenting them would change preformatted text.
    hbs.set_prevent_indent(true);
    // `log` writes foreign text to our log; `raw` is of no use where nothing is a template.
    hbs.unregister_helper("log");
    hbs.unregister_helper("raw");
    hbs.register_helper("duration", Box::new(duration));
    hbs.register_helper("time", Box::new(time));
    hbs.register_helper("plural", Box::new(plural));
    hbs.register_helper("cut", Box::new(cut));
    hbs.register_escape_fn(escape(format));
    hbs
}

/// The escape function of a format.
pub fn escape(format: Escaping) -> fn(&str) -> String {
    match format {
        Escaping::Slack => mrkdwn,
        Escaping::Html => html,
        Escaping::Text => text,
        Escaping::Header => header,
        Escaping::Markdown => markdown,
        Escaping::Apart => apart,
    }
}

/// A zero-width space: unseen, but it separates a formatting character from the word beside it.
const APART: char = '\u{200b}';

/// Makes foreign text inert in Slack's mrkdwn.
///
/// Slack asks for `&`, `<` and `>` as entities, which takes mentions and links away
/// (<https://docs.slack.dev/messaging/formatting-message-text#escaping>). It has no escape for
/// `*bold*`, `_italic_`, `~strike~`, `` `code` `` or a quoting `>`: backticks become a look-alike,
/// and the others get an unseen space beside them wherever they could open or close.
pub fn mrkdwn(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    let mut before = None;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '`' => out.push('\u{2cb}'),
            '*' | '_' | '~' => {
                // Inside a word (`my_app`) they format nothing and stay as they are, so that names
                // can be copied.
                let inside = before.is_some_and(char::is_alphanumeric)
                    && chars.peek().is_some_and(|c| c.is_alphanumeric());
                if inside {
                    out.push(c);
                } else {
                    out.push(APART);
                    out.push(c);
                    out.push(APART);
                }
            }
            // `@here` and `#channel` are links only with `link_names`, which is never set; `:smile:`
            // becomes a picture, which harms nobody.
            c => push_visible(&mut out, c),
        }
        before = Some(c);
    }
    out
}

/// Makes foreign text inert in Markdown: every sign that formats, links or quotes gets a backslash,
/// and an unseen space takes `@everyone` and `@channel` apart, which a backslash would not.
pub fn markdown(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '~' | '|' | '>' | '#' | '[' | ']' | '<' => {
                out.push('\\');
                out.push(c);
            }
            '@' => {
                out.push(c);
                out.push(APART);
            }
            c => push_visible(&mut out, c),
        }
    }
    out
}

/// Makes foreign text inert where there is no way to escape: unseen spaces keep the signs from being
/// read together, backticks become a look-alike.
pub fn apart(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    let mut before = None;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let first = matches!(before, None | Some('\n' | '\t' | ' '));
        match c {
            '`' => out.push('\u{2cb}'),
            // `<users/all>`, `<@name>`, `<at id=…>`, `<font …>`, `<https://…|text>`, `[text](https://…)`
            '<' | '@' | ']' => {
                out.push(c);
                out.push(APART);
            }
            '#' | '>' if first => {
                out.push(APART);
                out.push(c);
            }
            '*' | '_' | '~' => {
                let inside = before.is_some_and(char::is_alphanumeric)
                    && chars.peek().is_some_and(|c| c.is_alphanumeric());
                if inside {
                    out.push(c);
                } else {
                    out.extend([APART, c, APART]);
                }
            }
            c => push_visible(&mut out, c),
        }
        before = Some(c);
    }
    out
}

/// Makes foreign text inert in HTML, in text and in quoted attribute values.
pub fn html(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 16);
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => push_visible(&mut out, c),
        }
    }
    out
}

/// Plain text: only what would make it show something else than is there is taken out.
pub fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    value.chars().for_each(|c| push_visible(&mut out, c));
    out
}

/// One line: nothing can start another header.
pub fn header(value: &str) -> String {
    words::one_line(value, crate::message::text::MAX_TITLE)
}

/// Replaces control characters and bidirectional overrides; the carriage return of a CRLF goes.
fn push_visible(out: &mut String, c: char) {
    match c {
        '\n' | '\t' => out.push(c),
        '\r' => {}
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => out.push('\u{fffd}'),
        c if c.is_control() => out.push('\u{fffd}'),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mrkdwn_neither_mentions_nor_links_nor_formats() {
        assert_eq!(mrkdwn("<!channel> & <https://x|y>"), "&lt;!channel&gt; &amp; &lt;https://x|y&gt;");
        assert_eq!(mrkdwn("```x```"), "ˋˋˋxˋˋˋ");
        assert_eq!(mrkdwn("*b*"), "\u{200b}*\u{200b}b\u{200b}*\u{200b}");
        assert_eq!(mrkdwn("my_app_1"), "my_app_1", "names stay as they are");
    }

    #[test]
    fn markdown_neither_mentions_nor_links_nor_formats() {
        assert_eq!(
            markdown("@everyone <@1> my_app [a](b)"),
            "@\u{200b}everyone \\<@\u{200b}1\\> my\\_app \\[a\\](b)"
        );
        assert_eq!(markdown("\\*"), "\\\\\\*");
        assert_eq!(
            apart("<users/all> [a](b) my_app `x`"),
            "<\u{200b}users/all> [a]\u{200b}(b) my_app \u{2cb}x\u{2cb}"
        );
        assert_eq!(apart("# *b*"), "\u{200b}# \u{200b}*\u{200b}b\u{200b}*\u{200b}");
    }

    #[test]
    fn html_and_headers_stay_what_they_are() {
        assert_eq!(html("<script>\"'&\u{202e}"), "&lt;script&gt;&quot;&#39;&amp;\u{fffd}");
        assert_eq!(header("a\r\nBcc: x"), "a Bcc: x");
        assert_eq!(text("a\r\n\u{1b}[31mb"), "a\n\u{fffd}[31mb");
    }
}
