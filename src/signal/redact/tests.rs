use proptest::prelude::*;

use super::*;

/// What goes in, and what must come out.
const MASKED: &[(&str, &str)] = &[
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P end", "jwt [masked] end"),
    ("Bearer abc123.def-456", "Bearer [masked]"),
    ("Authorization: Bearer hunterhunter", "Authorization: Bearer [masked]"),
    ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [masked]"),
    (r#"{"Authorization":"token 0123abc"}"#, r#"{"Authorization":"token [masked]"}"#),
    (
        "curl -u x https://bob:s3cret@registry.example.com/v2/",
        "curl -u x https://bob:[masked]@registry.example.com/v2/",
    ),
    (
        "postgres://app:p@ss/w0rd@db.shop:5432/shop?sslmode=off",
        "postgres://app:[masked]@db.shop:5432/shop?sslmode=off",
    ),
    ("mysql://root:hunter@db/x", "mysql://root:[masked]@db/x"),
    ("mongodb+srv://u:pw@cluster0.example.net/test", "mongodb+srv://u:[masked]@cluster0.example.net/test"),
    ("redis://:hunter2@cache:6379/0", "redis://:[masked]@cache:6379/0"),
    ("amqp://guest:guest@rabbit:5672/", "amqp://guest:[masked]@rabbit:5672/"),
    ("root:toor@tcp(db:3306)/shop", "root:[masked]@tcp(db:3306)/shop"),
    ("jdbc:mysql://db/shop?user=a&password=b&x=y", "jdbc:mysql://db/shop?user=a&password=[masked]&x=y"),
    (
        "host=db user=app password=hunter sslmode=disable",
        "host=db user=app password=[masked] sslmode=disable",
    ),
    ("Server=db;User Id=sa;Password=P4ss!;Encrypt=no", "Server=db;User Id=sa;Password=[masked];Encrypt=no"),
    (
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9vYmFy+/==;EndpointSuffix=x",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=[masked];EndpointSuffix=x",
    ),
    ("DB_PASSWORD=correct horse", "DB_PASSWORD=[masked] horse"),
    ("DB_PASSWORD=a&b,c;d", "DB_PASSWORD=[masked]"),
    ("DB_PASS=x", "DB_PASS=[masked]"),
    ("password = \"correct horse \\\" battery\" next", "password = \"[masked]\" next"),
    ("passwd: hunter2", "passwd: [masked]"),
    ("password: hunter\nuser: bob", "password: [masked]\nuser: bob"),
    (r#"{"user":"bob","password":"hunter","n":1}"#, r#"{"user":"bob","password":"[masked]","n":1}"#),
    (r#"msg="{\"client_secret\":\"a b\",\"n\":1}""#, r#"msg="{\"client_secret\":\"[masked]\",\"n\":1}""#),
    ("api_key=abc&user=1", "api_key=[masked]&user=1"),
    ("x-api-key: 9f8e7d6c", "x-api-key: [masked]"),
    ("GET /v1?access_token=abc123&page=2", "GET /v1?access_token=[masked]&page=2"),
    ("run --token abc123 --verbose", "run --token [masked] --verbose"),
    ("run --db-password=hunter -v", "run --db-password=[masked] -v"),
    ("token: s3cr3t", "token: [masked]"),
    ("secret=creds", "secret=[masked]"),
    ("SECRET_KEY_BASE=00ff", "SECRET_KEY_BASE=[masked]"),
    ("key AKIAIOSFODNN7EXAMPLE denied", "key [masked] denied"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = [masked]"),
    ("push ghp_0123456789abcdefghijABCDEFGHIJ012345 failed", "push [masked] failed"),
    ("github_pat_11ABCDEFG0abcdefghij_xyz", "[masked]"),
    ("glpat-abcdefghij1234567890", "[masked]"),
    ("xoxb-123456789012-abcdefABCDEF", "[masked]"),
    ("https://hooks.slack.com/services/T000/B000/XXXX", "https://hooks.slack.com/services/[masked]"),
    ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "[masked]"),
    ("npm_abcdefghijklmnopqrstuvwxyz0123456789", "[masked]"),
    ("AIzaSyA-0123456789abcdefghijklmnopqrstuv", "[masked]"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nnext",
        "-----BEGIN RSA PRIVATE KEY-----[masked]-----END RSA PRIVATE KEY-----\nnext",
    ),
    ("-----BEGIN PRIVATE KEY-----\nMIIEvQ", "-----BEGIN PRIVATE KEY-----[masked]"),
    (
        "https://store.blob.core.windows.net/c/b?sv=2022&sig=Zm9vYmFyYmF6%3D",
        "https://store.blob.core.windows.net/c/b?sv=2022&sig=[masked]",
    ),
    (
        r#"{"auths":{"r.example.com":{"auth":"dXNlcjpwYXNz"}}}"#,
        r#"{"auths":{"r.example.com":{"auth":"[masked]"}}}"#,
    ),
    ("Set-Cookie: session=abcdef; Path=/", "Set-Cookie: [masked]"),
    (
        "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2",
        "https://[masked]@o1.ingest.sentry.io/2",
    ),
];

/// What Kubernetes and its programs say about secrets without telling one.
const KEPT: &[&str] = &[
    "",
    "back-off 5m0s restarting failed container=app pod=checkout-6d4c9b7f5-2xkqz_shop(0b9e8f3c-5a51-4d0e-9d2e-0f1a2b3c4d5e)",
    "registry.example.com/shop/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "docker-pullable://registry:5000/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "containerd://3f4e1c2b9a8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f",
    "secret \"creds\" not found",
    "Error: secret \"creds-v2\" not found",
    "couldn't find key password in Secret shop/creds",
    "references non-existent secret key: tls.crt",
    "secrets \"creds\" is forbidden: User \"system:serviceaccount:shop:default\" cannot get resource \"secrets\"",
    "MountVolume.SetUp failed for volume \"kube-api-access-xyz\" : failed to fetch token: pod \"web-7d4b9c9f5-2xkqz\" not found",
    "MountVolume.SetUp failed for volume \"kube-api-access-4x7kq\" : failed to sync configmap cache: timed out waiting",
    "MountVolume.SetUp failed for volume \"creds\" : references non-existent secret key: password",
    "failed to fetch serviceaccount token: serviceaccounts \"default\" not found",
    "failed to get token: rpc error: code = Unavailable",
    "failed to get token: Get \"https://10.0.0.1:443/api\": dial tcp 10.0.0.1:443: connect: connection refused",
    "invalid access token: signature is invalid",
    "Unable to authenticate the request: [invalid bearer token, Token has been invalidated]",
    "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
    "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
    "WWW-Authenticate: Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\"",
    "no basic auth credentials",
    "basic authentication is required",
    "FATAL: password authentication failed for user \"app\"",
    "password: authentication failed for user",
    "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
    "automountServiceAccountToken: false",
    "the token: expired",
    "PWD=/app",
    "resourceVersion: 84729174, uid 0b9e8f3c-5a51-4d0e-9d2e-0f1a2b3c4d5e",
    "sk-frontend-checkout-6d4c9b7f5-2xkqz is not ready",
    "pypi-mirror-6d4c9b7f5-2xkqz",
    "dial tcp: lookup token-service.auth.svc.cluster.local: no such host",
    "Get \"http://10.1.2.3:8080/healthz\": context deadline exceeded",
    "http: named cookie not present",
    "configmap references key api-key which does not exist",
    "panic: open /etc/checkout/token: no such file or directory",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
];

#[test]
fn every_pattern_compiles() {
    for (source, _) in SOURCES {
        Regex::new(source).unwrap();
    }
    assert!(HINTS.is_some() && SET.is_some());
    assert_eq!(PATTERNS.len(), SOURCES.len());
}

#[test]
fn secrets_are_masked_and_their_labels_stay() {
    let wrong: Vec<_> = MASKED.iter().filter(|(text, want)| redact(text) != *want).collect();
    for (text, want) in &wrong {
        println!("{text}\n  got    {}\n  wanted {want}", redact(text));
    }
    assert!(wrong.is_empty());
}

#[test]
fn what_kubernetes_says_stays_readable() {
    for text in KEPT {
        assert_eq!(redact(text), *text);
    }
}

#[test]
fn healthy_text_is_not_copied() {
    assert!(matches!(redact("0/3 nodes are available: 3 Insufficient cpu."), Cow::Borrowed(_)));
}

#[test]
fn ones_own_patterns_are_applied_too() {
    let own = Redactor::new(vec![
        compile(r"ACME-[0-9]{6}").unwrap(),
        compile(r"pin (?P<secret>\d+)").unwrap(),
        compile("(x)?never").unwrap(),
    ]);
    assert_eq!(
        own.redact("ACME-123456, pin 77, password=a, ACME-1234"),
        "[masked], pin [masked], password=[masked], ACME-1234"
    );
    assert_eq!(compile("a*").unwrap_err(), PatternError::MatchesNothing);
    assert_eq!(compile("(").unwrap_err().to_string(), "unclosed group");
    assert!(matches!(compile(r"\w{1000}{100}"), Err(PatternError::Syntax(_))));
}

#[test]
fn text_that_was_cut_does_not_end_inside_a_secret() {
    let own = Redactor::new(vec![compile(r"ACME-[0-9]{6}").unwrap()]);
    let mut text = crate::signal::text::clean(&format!("{}ACME-123456", "x ".repeat(1020)));
    assert!(text.ends_with('…'));
    own.kept(&mut text);
    assert!(text.ends_with("x …") && !text.contains("ACME"), "{text}");
    let mut short: Arc<str> = "code ACME-123456".into();
    own.kept(&mut short);
    assert_eq!(&*short, "code [masked]");
}

#[test]
fn only_so_much_is_looked_at_and_the_rest_is_not_passed_on() {
    let text = format!("{} password=hunter2", "a".repeat(10 * MAX_INPUT));
    let out = redact(&text);
    assert!(out.len() <= MAX_INPUT && !out.contains("hunter2"));
}

/// Texts made of what the patterns look for, put together at random.
fn nasty() -> impl Strategy<Value = String> {
    let parts: Vec<String> = MASKED
        .iter()
        .map(|(text, _)| (*text).to_owned())
        .chain(
            [
                "password",
                "=",
                ": ",
                "\"",
                "'",
                "\\\"",
                "\\",
                "token",
                "secret",
                "Bearer ",
                "[masked]",
                "[",
                "]",
                "://",
                "u:",
                "@",
                "/",
                "a1",
                "é",
                "\n",
                " ",
                ",",
                "&",
                ";",
                "eyJ",
                ".",
                "Authorization",
                "Basic ",
                "-----BEGIN PRIVATE KEY-----",
                "-----END PRIVATE KEY-----",
                "sig=",
                "cookie:",
                "{",
                "}",
                "--",
            ]
            .map(str::to_owned),
        )
        .collect();
    let part = prop_oneof![3 => proptest::sample::select(parts), 1 => "\\PC{0,12}"];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masking_twice_is_masking_once(text in nasty()) {
        let once = redact(&text).into_owned();
        prop_assert_eq!(redact(&once), once.as_str());
    }

    #[test]
    fn nothing_panics_and_output_is_bounded(text in "(?s).{0,400}") {
        let out = redact(&text);
        prop_assert!(out.len() <= text.len() * (MASK.len() + 1));
        prop_assert!(crate::signal::text::clean(&text).len() <= crate::signal::text::MAX_TEXT);
    }
}

#[test]
fn all_texts_about_the_end_of_a_run_are_masked() {
    let own = Redactor::new(vec![compile(r"ACME-[0-9]{6}").unwrap()]);
    let mut exit = crate::signal::Exit {
        message: Some("ACME-123456 is unknown".into()),
        ended_by: Some("Liveness probe failed: ACME-123456".into()),
        ..crate::signal::Exit::default()
    };
    own.exit(&mut exit);
    let shown = format!("{exit:?}");
    assert!(!shown.contains("ACME-") && shown.matches("[masked]").count() == 2, "{shown}");
}
