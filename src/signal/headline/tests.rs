use super::*;

const IMAGE: &str = "registry.example.com/shop/checkout:1";

/// What containerd puts in front of each error.
fn containerd(error: &str) -> String {
    format!(
        "rpc error: code = Unknown desc = failed to pull and unpack image \"{IMAGE}\": failed to resolve reference \"{IMAGE}\": {error}"
    )
}

#[test]
fn an_image_that_cannot_be_pulled_says_why() {
    let head = "failed to do request: Head \"https://registry.example.com/v2/shop/checkout/manifests/1\": ";
    for (error, said) in [
        ("registry.example.com/shop/checkout:1: not found", "there is no such image"),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://registry.example.com/token: 401 Unauthorized",
            "the registry rejects the credentials (401)",
        ),
        (
            "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            "no such repository, or no permission to pull from it",
        ),
        (
            "unexpected status from HEAD request to https://registry.example.com/v2: 403 Forbidden",
            "the registry refuses (403)",
        ),
        (&format!("{head}dial tcp 203.0.113.7:443: i/o timeout"), "the registry does not answer in time"),
        (
            &format!("{head}dial tcp 203.0.113.7:443: connect: connection refused"),
            "the registry refuses the connection",
        ),
        (
            &format!("{head}dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host"),
            "DNS does not know the registry's name",
        ),
        (
            &format!(
                "{head}tls: failed to verify certificate: x509: certificate signed by unknown authority"
            ),
            "the registry's certificate is signed by an unknown authority",
        ),
        (
            &format!("{head}http: server gave HTTP response to HTTPS client"),
            "the registry speaks HTTP, not HTTPS",
        ),
        (
            "failed to extract layer sha256:6b4: write /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/42/fs/usr/lib/x.so: no space left on device",
            "no space left on the node's disk",
        ),
        (
            "failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit.",
            "the registry's pull rate limit is reached (429)",
        ),
        ("no match for platform in manifest: not found", "the image has no variant for the node's platform"),
    ] {
        let line = of(Cause::ImagePullBackOff, &containerd(error), Some(IMAGE));
        assert_eq!(line.as_deref(), Some(format!("{said}: {IMAGE}").as_str()), "{error}");
    }
    // Something else was not found, in the middle of another error.
    let other = containerd("key not found in keychain while asking for a token");
    assert_eq!(of(Cause::ImagePullBackOff, &other, Some(IMAGE)), None);
    assert_eq!(
        of(Cause::ImagePullBackOff, "manifest unknown", None).as_deref(),
        Some("there is no such image")
    );
}

#[track_caller]
fn says(cause: Cause, why: &str, expected: &str) {
    assert_eq!(of(cause, why, None).as_deref(), Some(expected), "{why}");
}

#[test]
fn the_last_layer_of_a_runtime_says_it() {
    let why = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/bin/nope\": stat /bin/nope: no such file or directory: unknown";
    says(Cause::RunContainerError, why, "exec: \"/bin/nope\": stat /bin/nope: no such file or directory");
    let why = "failed to generate container \"1f6a\" spec: failed to generate spec: no command specified";
    says(Cause::CreateContainerError, why, "no command specified");
    let why = "failed to reserve container name \"app_checkout_shop_0\": name is reserved for \"1f6a\"";
    assert_eq!(of(Cause::CreateContainerError, why, None), None);
}

#[test]
fn a_hook_says_its_error() {
    let exec = "Exec lifecycle hook ([sh -c exit 7]) for Container \"app\" in Pod \"checkout_shop(5e)\" failed - error: command 'sh -c exit 7' exited with 7: , message: \"\"";
    says(Cause::RunContainerError, exec, "postStart hook failed: command 'sh -c exit 7' exited with 7");
    let http = "HTTP lifecycle hook (/warm) for Container \"app\" in Pod \"checkout_shop(5e)\" failed - error: Get \"http://10.244.1.5:8080/warm\": dial tcp 10.244.1.5:8080: connect: connection refused, message: \"\"";
    says(
        Cause::RunContainerError,
        http,
        "postStart hook failed: Get \"http://10.244.1.5:8080/warm\": connection refused",
    );
}

#[test]
fn a_volume_says_its_error_before_its_name() {
    for (why, expected) in [
        (
            "MountVolume.SetUp failed for volume \"creds\" : secret \"checkout-creds\" not found",
            "secret \"checkout-creds\" not found (volume creds)",
        ),
        (
            "MountVolume.MountDevice failed for volume \"pvc-0b1c\" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name ebs.csi.aws.com not found in the list of registered CSI drivers",
            "driver name ebs.csi.aws.com not found in the list of registered CSI drivers (volume pvc-0b1c)",
        ),
        (
            "MountVolume.SetUp failed for volume \"data\" : mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs 10.0.0.9:/export /var/lib/kubelet\nOutput: mount.nfs: access denied by server while mounting 10.0.0.9:/export",
            "mount.nfs: access denied by server while mounting 10.0.0.9:/export (volume data)",
        ),
    ] {
        says(Cause::FailedMount, why, expected);
    }
    for (why, expected) in [
        (
            "Multi-Attach error for volume \"pvc-0b1c\" Volume is already used by pod(s) checkout-1",
            "Volume is already used by pod(s) checkout-1 (volume pvc-0b1c)",
        ),
        (
            "AttachVolume.Attach failed for volume \"pvc-0b1c\" : rpc error: code = Internal desc = Could not attach volume \"vol-0f2\" to node \"i-0a\"",
            "Could not attach volume \"vol-0f2\" to node \"i-0a\" (volume pvc-0b1c)",
        ),
    ] {
        says(Cause::FailedAttachVolume, why, expected);
    }
}

#[test]
fn what_a_pod_asks_for_stands_before_taints_and_preemption() {
    says(
        Cause::FailedScheduling,
        "0/5 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 1 node(s) were unschedulable, 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.",
        "0/5 nodes are available: 3 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 1 node(s) were unschedulable",
    );
    says(
        Cause::FailedScheduling,
        "0/3 nodes are available: persistentvolumeclaim \"data\" not found. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        "0/3 nodes are available: persistentvolumeclaim \"data\" not found",
    );
    says(
        Cause::FailedScheduling,
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports",
    );
    assert_eq!(of(Cause::FailedScheduling, "0/3 nodes are available: 3 Insufficient cpu.", None), None);
    let taints =
        "0/2 nodes are available: 1 node(s) had untolerated taints {a: , b: }, 1 Insufficient memory.";
    says(
        Cause::FailedScheduling,
        taints,
        "0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taints {a: , b: }",
    );
}

#[test]
fn a_sandbox_says_what_its_network_said() {
    let setup = "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"9b1f\": plugin type=\"calico\" failed (add): error getting ClusterInformation: connection is unauthorized";
    let said =
        "plugin type=\"calico\" failed (add): error getting ClusterInformation: connection is unauthorized";
    says(Cause::ContainerStuck, setup, said);
    let kill = "error killing pod: failed to \"KillPodSandbox\" for \"5e\" with KillPodSandboxError: \"rpc error: code = Unknown desc = failed to destroy network for sandbox \\\"9b1f\\\": plugin type=\\\"calico\\\" failed (delete): connection is unauthorized\"";
    says(Cause::StuckTerminating, kill, "plugin type=\"calico\" failed (delete): connection is unauthorized");
    let stop = "error killing pod: failed to \"KillContainer\" for \"app\" with KillContainerError: \"rpc error: code = DeadlineExceeded desc = an error occurs during waiting for container \\\"1f\\\" to be killed\"";
    says(Cause::StuckTerminating, stop, "an error occurs during waiting for container \"1f\" to be killed");
    let plugin = "network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";
    says(Cause::ContainerStuck, plugin, "Network plugin returns error: cni plugin not initialized");
    says(Cause::NodeNotReady, plugin, "Network plugin returns error: cni plugin not initialized");
}

#[test]
fn the_rest_is_cut_to_what_somebody_can_act_on() {
    for (cause, why, expected) in [
        (
            Cause::Unhealthy,
            "Readiness probe failed: Get \"http://10.244.1.5:8080/healthz\": dial tcp 10.244.1.5:8080: connect: connection refused",
            "Readiness probe failed: Get \"http://10.244.1.5:8080/healthz\": connection refused",
        ),
        (
            Cause::Evicted,
            "The node was low on resource: ephemeral-storage. Threshold quantity: 10120387530, available: 9832748Ki. Container app was using 21Gi, request is 0, has larger consumption of ephemeral-storage. ",
            "The node was low on resource: ephemeral-storage. Container app was using 21Gi, request is 0, has larger consumption of ephemeral-storage",
        ),
        (
            Cause::PodRejected,
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 4000, used: 3950, capacity: 4000",
            "Node didn't have enough resource: cpu, requested: 4000, used: 3950, capacity: 4000",
        ),
        (
            Cause::FailedCreate,
            "pods \"checkout-688988776f-abcde\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5",
            "exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5",
        ),
        (
            Cause::FailedCreate,
            "Error creating: Internal error occurred: failed calling webhook \"sidecar-injector.istio.io\": failed to call webhook: Post \"https://istiod.istio-system.svc:443/inject?timeout=10s\": dial tcp 10.96.4.7:443: connect: connection refused",
            "failed calling webhook \"sidecar-injector.istio.io\": connection refused",
        ),
        (
            Cause::FailedCreate,
            "create Pod db-0 in StatefulSet db failed error: pods \"db-0\" is forbidden: error looking up service account shop/db: serviceaccount \"db\" not found",
            "error looking up service account shop/db: serviceaccount \"db\" not found",
        ),
        (
            Cause::ProvisioningFailed,
            "failed to provision volume with StorageClass \"standard\": rpc error: code = ResourceExhausted desc = quota of 20 volumes reached",
            "quota of 20 volumes reached",
        ),
        (
            Cause::NodeNotReady,
            "[container runtime is down, PLEG is not healthy: pleg was last seen active 3m42s ago; threshold is 3m0s]",
            "container runtime is down, PLEG is not healthy: pleg was last seen active 3m42s ago; threshold is 3m0s",
        ),
        (
            Cause::RolloutStuck,
            "ReplicaSet \"checkout-1\" has timed out progressing. Pod checkout-1-x: container app runs but is not ready",
            "Pod checkout-1-x: container app runs but is not ready",
        ),
    ] {
        says(cause, why, expected);
    }
    for (cause, why) in [
        (Cause::NodeNotReady, "Kubelet stopped posting node status."),
        (Cause::ProvisioningFailed, "storageclass.storage.k8s.io \"fast\" not found"),
        (Cause::Unhealthy, "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        (Cause::FailedMount, "Unable to attach or mount volumes: unmounted volumes=[data]"),
        (Cause::CrashLoopBackOff, "rpc error: code = Unknown desc = x"),
    ] {
        assert_eq!(of(cause, why, None), None, "{why}");
    }
}

#[test]
fn any_text_is_survived() {
    let texts = [
        "",
        "\"",
        ": ",
        "\u{fffd}",
        " nodes are available: ",
        "x for volume \"",
        "x for volume \"y\" : ",
        "for sandbox \"",
        "[]",
        " Threshold quantity: ",
        "é: dial tcp é",
        "; until then ",
        "desc = ",
        "reason:NetworkPluginNotReady message:",
        "(failed indexes: ",
        " lifecycle hook ( failed - error: ",
    ];
    for a in texts {
        for b in texts {
            let text = format!("{a}{b}").repeat(50);
            for cause in Cause::ALL {
                let line = of(*cause, &text, Some(&text));
                assert!(line.is_none_or(|line| !line.contains('\n')));
            }
            assert!(failed_indexes(&text).is_none_or(|list| text.contains(list)));
        }
    }
}
