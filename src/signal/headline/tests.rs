//! What `tests/data/messages` does not show, and that any text is survived.

use super::*;

#[track_caller]
fn says(cause: Cause, why: &str, expected: &str) {
    assert_eq!(line(cause, why, None), expected, "{why}");
}

#[test]
fn the_reason_of_a_waiting_container_is_no_explanation() {
    for reason in ["ErrImagePull", "ImagePullBackOff", "CreateContainerError", "RunContainerError"] {
        for cause in [Cause::ImagePullBackOff, Cause::CreateContainerError, Cause::CreateContainerConfigError]
        {
            says(cause, reason, "");
        }
    }
}

#[test]
fn a_registry_is_named_by_its_answer_or_else_by_the_image() {
    let pull = |why: &str, image: &str| line(Cause::ImagePullBackOff, why, Some(image));
    let refused =
        "failed to do request: Head \"https://mirror.example.com:5000/v2/app\": connect: connection refused";
    assert_eq!(pull(refused, "registry.example.com/app:1"), "mirror.example.com:5000: connection refused");
    assert_eq!(
        pull("no basic auth credentials", "registry.example.com/app:1"),
        "no credentials for registry.example.com"
    );
    assert_eq!(pull("no basic auth credentials", "shop/app:1"), "no credentials for Docker Hub");
    assert_eq!(
        line(Cause::ImagePullBackOff, "no basic auth credentials", None),
        "no credentials for the registry"
    );
}

#[test]
fn images_are_named_as_people_name_them() {
    for (image, short) in [
        ("registry.example.com:5000/shop/api:5.5.0-rc", "api:5.5.0-rc"),
        ("api@sha256:0123", "api"),
        ("api:1@sha256:0123", "api:1"),
        ("api:", "api"),
        ("", ""),
    ] {
        assert_eq!(short_image(image), short);
    }
}

#[test]
fn made_up_names_of_volumes_are_not_told() {
    let name = |volume: &str| {
        let why = format!("MountVolume.SetUp failed for volume \"{volume}\" : denied");
        volume::name(&why).map(str::to_owned)
    };
    assert_eq!(name("creds").as_deref(), Some("creds"));
    assert_eq!(name("pvc-0b1c7a2e-5d3f-4a6b-8c9d-0e1f2a3b4c5d"), None);
    assert_eq!(name("kube-api-access-x7k2p"), None);
    assert_eq!(volume::name("unmounted volumes=[data logs], unattached volumes=[]"), Some("data"));
}

#[test]
fn a_job_that_waited_says_for_what() {
    says(
        Cause::JobFailed,
        "Job report-1: Job was active longer than specified deadline (activeDeadlineSeconds: 300); until then pod \
         import-x: CreateContainerConfigError: secret \"import\" not found",
        "secret \"import\" not found",
    );
}

#[test]
fn what_says_nothing_more_is_no_line() {
    says(Cause::NodeNotReady, "starting up.", "starting up");
    says(Cause::NodePressure, "kubelet has disk pressure", "");
    says(Cause::Rebooted, "boot id is now 4", "");
}

#[test]
fn any_text_is_survived() {
    let texts = [
        "",
        "\"",
        ": ",
        "\u{fffd}",
        "5/ nodes are available: ",
        "x for volume \"",
        "x for volume \"y\" : ",
        "for sandbox \"",
        "[]",
        " low on resource: ",
        "é: dial tcp é",
        "; until then ",
        "desc = ",
        "reason:NetworkPluginNotReady message:",
        "(failed indexes: ",
        " lifecycle hook ( failed - error: ",
        "exceeded quota: a, requested: b, used: c, limited: d",
        "Multi-Attach error for volume \"",
        "unmounted volumes=[",
        "Failed to create pod sandbox: ",
        "error killing pod: failed to \"KillContainer\" for \"",
        "Readiness probe failed: Get \"http://",
        "provision volume with StorageClass \"",
        "Container  matching FailJob rule",
    ];
    for a in texts {
        for b in texts {
            let text = format!("{a}{b}").repeat(20);
            for cause in Cause::ALL {
                let line = line(*cause, &text, Some(&text));
                assert!(!line.contains('\n') && !line.ends_with(' '), "{line:?}");
            }
            assert!(failed_indexes(&text).is_none_or(|list| text.contains(list)));
        }
    }
}
