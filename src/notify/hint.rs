//! What to do about a connection that does not come about, by what libraries say of it.

/// Signs in an error's text, in lower case, and the advice. The first that is found is given.
const HINTS: &[(&[&str], &str)] = &[
    (&["notvalidforname", "not valid for name"], "the certificate is for another name: check the address"),
    (
        &["certificate expired", "expired:", "certexpired"],
        "the certificate has expired: renew it, or check this machine's clock",
    ),
    (&["not valid yet", "notvalidyet"], "the certificate is not valid yet: check this machine's clock"),
    (
        &["unknownissuer", "unknown issuer", "not trusted"],
        "the certificate is signed by an unknown authority: if it is right, name that authority's certificate in `ca`",
    ),
    (
        &["badsignature"],
        "it is signed with another key than the authority of that name trusted here: is `ca` out of date?",
    ),
    (
        &["causedasendentity"],
        "the certificate is an authority's own and not a server's: issue one for the server",
    ),
    (
        &["certificaterequired", "certificate required"],
        "it asks for a client certificate: configure `client_cert` and `client_key`",
    ),
    (
        &["invalidcontenttype", "corrupt message"],
        "that port does not speak TLS: check the port, and how it is encrypted",
    ),
    (
        &["handshakefailure", "handshake eof", "handshake_failure"],
        "it broke the TLS handshake off: check the port, and what it accepts",
    ),
    (&["failed to lookup address", "name or service not known", "dns error"], "check the name of the host"),
    (
        &["no compatible authentication mechanism"],
        "it offers neither PLAIN nor LOGIN: check the port and `tls`, or leave out `username`",
    ),
    (&["invalid http"], "that is no HTTP server: check the address and the port"),
    (&["connection refused"], "nothing listens there: check the address and the port"),
];

/// What to do about it; empty where only waiting helps.
pub(super) fn of(error: &str) -> &'static str {
    let error = error.to_lowercase();
    HINTS
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| error.contains(sign)))
        .map_or("", |(_, advice)| *advice)
}
