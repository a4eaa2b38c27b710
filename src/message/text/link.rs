//! Links that others wrote: what may be put behind a click, and where it leads.

/// The longest link, in bytes.
const MAX: usize = 2000;

/// May this be put behind a link? Nothing but http(s), nothing that could end the link, and nothing that hides
/// the host it leads to.
pub fn is_web_link(url: &str) -> bool {
    url.len() <= MAX
        && !url.contains(['<', '>', '|', '"', '\\'])
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
        && host(url).is_some()
}

/// The host of an http(s) URL, with its port: `wiki.example.com`. `None`: it has none, or one that looks like
/// another (`https://example.com@evil.example`, letters that resemble Latin ones).
pub fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    (!host.is_empty() && host.bytes().all(plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_where_it_says() {
        for good in ["https://wiki.example.com/x?y=z#a", "http://10.0.0.1:8080", "https://[::1]/x"] {
            assert!(is_web_link(good), "{good}");
        }
        assert_eq!(host("https://wiki.example.com:8443/x"), Some("wiki.example.com:8443"));
        for bad in [
            "javascript:alert(1)",
            "ftp://x",
            "https://",
            "https:///x",
            "https://a b",
            "https://x|y",
            "https://x\">",
            "https://example.com@evil.example/",
            "https://exаmple.com/",
            "//x",
        ] {
            assert!(!is_web_link(bad), "{bad}");
        }
        assert!(!is_web_link(&format!("https://x/{}", "y".repeat(3000))));
    }
}
