//! Reads a mail that was taken: headers and parts, as a mail program shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ReceivedMail;

impl ReceivedMail {
    /// The first header of that name, unfolded and decoded.
    pub fn header(&self, name: &str) -> Option<String> {
        let (head, _) = split(&self.raw);
        header(head, name).map(|value| decode_words(&value))
    }

    /// The text of the part of this type (`text/html`), decoded.
    pub fn part(&self, kind: &str) -> Option<String> {
        let (head, body) = split(&self.raw);
        find(head, body, kind)
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_once("\r\n\r\n").unwrap_or((text, ""))
}

/// A header with its continuation lines.
fn header(head: &str, name: &str) -> Option<String> {
    let mut found: Option<String> = None;
    for line in head.split("\r\n") {
        match &mut found {
            Some(value) if line.starts_with([' ', '\t']) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            Some(_) => break,
            None => {
                if let Some((key, value)) = line.split_once(':')
                    && key.eq_ignore_ascii_case(name)
                {
                    found = Some(value.trim().to_owned());
                }
            }
        }
    }
    found
}

fn find(head: &str, body: &str, kind: &str) -> Option<String> {
    let content = header(head, "Content-Type").unwrap_or_else(|| String::from("text/plain"));
    if content.to_ascii_lowercase().starts_with("multipart/") {
        let boundary = content.split(';').find_map(|p| p.trim().strip_prefix("boundary="))?.trim_matches('"');
        let mark = format!("--{boundary}");
        return body.split(&mark).skip(1).take_while(|part| !part.starts_with("--")).find_map(|part| {
            let (head, body) = split(part.trim_start_matches("\r\n"));
            find(head, body.strip_suffix("\r\n").unwrap_or(body), kind)
        });
    }
    if !content.to_ascii_lowercase().starts_with(kind) {
        return None;
    }
    let encoding = header(head, "Content-Transfer-Encoding").unwrap_or_default().to_ascii_lowercase();
    let bytes = match encoding.as_str() {
        "quoted-printable" => quoted_printable(body, false),
        "base64" => base64(body),
        _ => body.as_bytes().to_vec(),
    };
    Some(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
}

/// `=?utf-8?b?4oCT?=` and the like (RFC 2047).
fn decode_words(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some((before, word)) = rest.split_once("=?") {
        let mut fields = word.splitn(3, '?');
        let parts = (fields.next(), fields.next(), fields.next().and_then(|text| text.split_once("?=")));
        let (Some(_), Some(encoding), Some((coded, behind))) = parts else { break };
        // The space between two encoded words is none.
        if !(after_word && before.trim().is_empty()) {
            out.push_str(before);
        }
        let bytes =
            if encoding.eq_ignore_ascii_case("b") { base64(coded) } else { quoted_printable(coded, true) };
        out.push_str(&String::from_utf8_lossy(&bytes));
        after_word = true;
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn quoted_printable(text: &str, in_header: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'=' => match (bytes.next(), bytes.next()) {
                (Some(b'\r'), Some(b'\n')) => {}
                (Some(high), Some(low)) => {
                    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    if let (Some(high), Some(low)) = (digit(high), digit(low)) {
                        out.push(high * 16 + low);
                    }
                }
                _ => {}
            },
            b'_' if in_header => out.push(b' '),
            other => out.push(other),
        }
    }
    out
}

/// Bodies are folded into lines.
fn base64(text: &str) -> Vec<u8> {
    let folded: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(folded).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_encoded_and_nested() {
        let raw = "Subject: [critical] a: b\r\n =?utf-8?b?4oCT?= =?utf-8?q?_3_of?= 12\r\nContent-Type: multipart/alternative;\r\n boundary=\"x.y\"\r\n\r\n--x.y\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=E2=80=93b =\r\nc\r\n--x.y\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+4oCTPC9i\r\nPg==\r\n--x.y--\r\n";
        let mail = ReceivedMail {
            at: jiff::Timestamp::UNIX_EPOCH,
            from: String::new(),
            to: Vec::new(),
            raw: raw.into(),
            tls: false,
            auth: Vec::new(),
        };
        assert_eq!(mail.header("subject").as_deref(), Some("[critical] a: b – 3 of 12"));
        assert_eq!(mail.part("text/plain").as_deref(), Some("a–b c"));
        assert_eq!(mail.part("text/html").as_deref(), Some("<b>–</b>"));
        assert_eq!(mail.part("text/calendar"), None);
    }
}
