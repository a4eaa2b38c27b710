//! What went wrong between kubeherald and the API server, in words for people.

use std::error::Error;
use std::io::ErrorKind;

use kube::client::AuthError;
use kube::core::Status;

use crate::signal::text;

/// The longest error text kept, in bytes.
const MAX_ERROR: usize = 300;
/// How far down a chain of causes is looked: a bound, should it be a circle.
const MAX_CAUSES: usize = 16;
/// What is printed and kept of what a login command wrote, in bytes.
const MAX_LOGIN: usize = 200;

/// One line: what the server said, or why there is no answer. Credentials are never in it, nor what a login
/// command wrote to its standard output.
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => refused(status),
        kube::Error::SerdeError(error) => {
            cut(&format!("the answer is not what a Kubernetes API server sends: {error}"))
        }
        _ => no_answer(error),
    }
}

/// What the API server answered instead of what was asked for.
pub fn refused(status: &Status) -> String {
    cut(&format!("{}: {}", status.code, status.message))
}

/// Why there was no answer at all.
pub fn no_answer(error: &(dyn Error + 'static)) -> String {
    if let Some(auth) = causes(error).find_map(|e| e.downcast_ref::<AuthError>()) {
        return cut(&login(auth));
    }
    let io = causes(error).filter_map(|e| e.downcast_ref::<std::io::Error>()).last();
    match io.map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => return "connection refused".to_owned(),
        Some(ErrorKind::TimedOut) => return "no answer in time".to_owned(),
        _ => {}
    }
    // The innermost cause says most ("invalid peer certificate: UnknownIssuer").
    let mut said = causes(error).last().map(ToString::to_string).unwrap_or_default();
    said.truncate(said.find(" (os error").unwrap_or(said.len()));
    cut(&said)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
    .take(MAX_CAUSES)
}

/// The command that a kubeconfig names for logging in may write tokens to its standard output.
fn login(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { cmd, out } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = text::cut(said.trim(), MAX_LOGIN).into_owned();
            format!("the login command `{cmd}` of the kubeconfig failed ({}): {said}", out.status)
        }
        AuthError::AuthExecStart(error) => {
            format!("the login command of the kubeconfig cannot be started: {error}")
        }
        AuthError::AuthExecParse(_) => "the login command of the kubeconfig wrote no credentials".to_owned(),
        AuthError::ReadTokenFile(error, path) => {
            format!("cannot read the token file {}: {error}", path.display())
        }
        other => format!("cannot log in: {other}"),
    }
}

fn cut(said: &str) -> String {
    text::cut(&text::clean(said).replace('\n', " "), MAX_ERROR).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line() {
        let message = "pods is forbidden: User \"me\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
        let status = Box::new(Status::failure(message, "Forbidden").with_code(403));
        assert_eq!(describe(&kube::Error::Api(status)), format!("403: {message}"));
        let status = Box::new(Status::failure("etcd\nis down", "Internal").with_code(500));
        assert_eq!(describe(&kube::Error::Api(status)), "500: etcd is down");
    }

    #[test]
    fn without_an_answer_the_innermost_cause_is_said_and_no_type_of_ours() {
        let service = |error: std::io::Error| describe(&kube::Error::Service(error.into()));
        assert_eq!(service(ErrorKind::ConnectionRefused.into()), "connection refused");
        assert_eq!(service(ErrorKind::TimedOut.into()), "no answer in time");
        let tls = std::io::Error::other("invalid peer certificate: UnknownIssuer");
        assert_eq!(service(tls), "invalid peer certificate: UnknownIssuer");
        let json = serde_json::from_str::<u8>("<html>").unwrap_err();
        let said = describe(&kube::Error::SerdeError(json));
        assert!(said.starts_with("the answer is not what a Kubernetes API server sends: expected"), "{said}");
    }

    #[test]
    fn a_login_command_that_fails_is_named_and_its_output_is_not() {
        use std::os::unix::process::ExitStatusExt as _;
        let out = Box::new(std::process::Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: b"token-SECRET".to_vec(),
            stderr: b"session expired\n".to_vec(),
        });
        let error = kube::Error::Service(AuthError::AuthExecRun { cmd: "aws".into(), out }.into());
        let said = describe(&error);
        assert_eq!(
            said,
            "the login command `aws` of the kubeconfig failed (exit status: 1): session expired"
        );
    }
}
