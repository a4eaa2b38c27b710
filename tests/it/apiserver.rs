//! The simulated API server answers as the recorded real one does (`tests/data/protocol`).

use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use kubeherald::testkit::{ApiServer, Fault, Verb, What};
use serde_json::{Value, json};

/// One exchange of a recorded file.
struct Recorded {
    request: String,
    code: u16,
    /// The documents of the body: one, or one a line of a watch.
    body: Vec<Value>,
}

fn recorded(name: &str) -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/protocol").join(format!("{name}.http"));
    let text = std::fs::read_to_string(path).unwrap().replace('\r', "");
    let exchanges = text.split(">>> GET ").skip(1).map(|exchange| {
        let (head, body) = exchange.split_once("\n\n").unwrap();
        let status = head.lines().find(|l| l.starts_with("HTTP/1.1 ")).unwrap();
        Recorded {
            request: head.lines().next().unwrap().split("   (").next().unwrap().to_owned(),
            code: status.split(' ').nth(1).unwrap().parse().unwrap(),
            body: serde_json::Deserializer::from_str(body).into_iter().map(Result::unwrap).collect(),
        }
    });
    exchanges.collect()
}

async fn get_as(server: &ApiServer, path: &str, accept: &str) -> (u16, Vec<Value>) {
    let request = http::Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
    let response = server.client().unwrap().send(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::Deserializer::from_slice(&body).into_iter().map(Result::unwrap).collect())
}

async fn get(server: &ApiServer, path: &str) -> (u16, Vec<Value>) {
    get_as(server, path, "application/json").await
}

fn pod(name: &str) -> Value {
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "n"}, "status": {"phase": "Running"}})
}

async fn with_pods(count: usize) -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    for i in 0..count {
        server.apply(pod(&format!("p{i}"))).unwrap();
    }
    server
}

#[tokio::test]
async fn failures_have_the_words_of_a_real_server() {
    let server = ApiServer::start().await.unwrap();
    for name in ["list-bad-continue", "watch-bad-rv", "bad-field-selector", "not-found"] {
        for exchange in recorded(name) {
            let (code, body) = get(&server, &exchange.request).await;
            assert_eq!((code, body), (exchange.code, exchange.body), "{name}");
        }
    }
    server.forbid("pods");
    for exchange in recorded("forbidden") {
        let (code, body) = get(&server, &exchange.request).await;
        let text = body[0].to_string().replace("default:kubeherald", "default:probe");
        assert_eq!(
            (code, serde_json::from_str::<Value>(&text).unwrap()),
            (exchange.code, exchange.body[0].clone())
        );
    }
    server.allow("pods");
    let stranger = server.client().unwrap();
    server.require_token("right");
    assert_eq!(get(&server, "/api/v1/pods").await.0, 200);
    let response =
        stranger.send(http::Request::get("/api/v1/pods").body(Body::empty()).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        recorded("unauthorized-anonymous")[0].body[0]
    );
    let request = http::Request::get("/api/v1/pods").header("authorization", "Bearer wrong");
    let response = stranger.send(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 401);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        recorded("unauthorized-bad-token")[0].body[0]
    );
}

#[tokio::test]
async fn version_and_health_are_served_and_nothing_unknown_is() {
    let server = ApiServer::start().await.unwrap();
    let (code, body) = get(&server, "/version").await;
    let (ours, theirs) = (body[0].as_object().unwrap(), recorded("version").remove(0).body.remove(0));
    assert_eq!(code, 200);
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.as_object().unwrap().keys().collect::<Vec<_>>());
    for (path, code) in [
        ("/readyz", 200),
        ("/api/v1/secrets", 404),
        ("/apis/apps/v1/pods", 404),
        ("/api/v1/namespaces/n/nodes", 404),
        ("/api/v1/namespaces/n", 404),
    ] {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(server.client().unwrap().send(request).await.unwrap().status(), code, "{path}");
    }
    let request = http::Request::delete("/api/v1/pods").body(Body::empty()).unwrap();
    assert_eq!(server.client().unwrap().send(request).await.unwrap().status(), 405);
}

#[tokio::test]
async fn pages_are_pinned_to_the_first_ones_version() {
    let server = with_pods(5).await;
    let (code, first) = get(&server, "/api/v1/pods?limit=2").await;
    let theirs = &recorded("list-paged")[0];
    assert_eq!(code, theirs.code);
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&first[0]), keys(&theirs.body[0]));
    assert_eq!(keys(&first[0]["metadata"]), keys(&theirs.body[0]["metadata"]));
    assert!(first[0]["items"][0].get("kind").is_none() && theirs.body[0]["items"][0].get("kind").is_none());
    assert_eq!(first[0]["metadata"]["remainingItemCount"], 3);

    server.delete("Pod", "n", "p3").unwrap();
    server.apply(pod("p9")).unwrap();
    let mut names = vec![];
    let mut page = first[0].clone();
    loop {
        assert_eq!(page["metadata"]["resourceVersion"], first[0]["metadata"]["resourceVersion"]);
        names.extend(page["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].clone()));
        let Some(token) = page["metadata"]["continue"].as_str() else { break };
        page = get(&server, &format!("/api/v1/pods?limit=2&continue={token}")).await.1.remove(0);
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4"]);

    // The cache does not page, and a selector hides how many remain.
    let (_, all) = get(&server, "/api/v1/pods?limit=2&resourceVersion=0").await;
    assert_eq!(all[0]["items"].as_array().unwrap().len(), 5);
    let (_, some) = get(&server, "/api/v1/namespaces/n/pods?limit=1&fieldSelector=metadata.name!%3Dp0").await;
    assert_eq!(some[0]["items"][0]["metadata"]["name"], "p1");
    assert!(
        some[0]["metadata"]["continue"].is_string()
            && some[0]["metadata"].get("remainingItemCount").is_none()
    );
    let (code, _) = get(&server, "/api/v1/pods?resourceVersion=99999999").await;
    assert_eq!(code, 504);
}

#[tokio::test]
async fn an_expired_page_offers_an_inconsistent_rest() {
    let server = with_pods(4).await;
    let (_, first) = get(&server, "/api/v1/pods?limit=3").await;
    server.delete("Pod", "n", "p3").unwrap();
    server.apply(pod("p4")).unwrap();
    server.compact();
    let token = first[0]["metadata"]["continue"].as_str().unwrap();
    let (code, mut gone) = get(&server, &format!("/api/v1/pods?limit=3&continue={token}")).await;
    let theirs = &recorded_expired();
    let fresh = gone[0]["metadata"]["continue"].take().as_str().unwrap().to_owned();
    assert_eq!((code, &gone[0]), (410, theirs));
    let (code, rest) = get(&server, &format!("/api/v1/pods?limit=3&continue={fresh}")).await;
    assert_eq!((code, &rest[0]["items"][0]["metadata"]["name"]), (200, &json!("p4")));
}

fn recorded_expired() -> Value {
    let mut body = recorded("list-expired-continue").remove(0).body.remove(0);
    body["metadata"]["continue"].take();
    body
}

#[tokio::test]
async fn metadata_only_lists_and_watches_have_nothing_else() {
    let server = ApiServer::start().await.unwrap();
    server
        .apply(json!({"kind": "ReplicaSet", "metadata": {"name": "r", "labels": {"a": "b"}}, "spec": {"replicas": 1}}))
        .unwrap();
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let (_, list) = get_as(&server, "/apis/apps/v1/replicasets?limit=1", accept).await;
    let theirs = recorded("list-metadata-only").remove(0).body.remove(0);
    let shape = |list: &Value| {
        let item = &list["items"][0];
        let keys: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
        (
            list["kind"].clone(),
            list["apiVersion"].clone(),
            item["kind"].clone(),
            item["apiVersion"].clone(),
            keys,
        )
    };
    assert_eq!(shape(&list[0]), shape(&theirs));
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let (_, events) = get_as(&server, "/apis/apps/v1/replicasets?watch=1&timeoutSeconds=1", accept).await;
    assert_eq!(events[0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(events[0]["object"]["metadata"]["labels"]["a"], "b");
    assert!(events[0]["object"].get("spec").is_none());
    assert!(server.requests().iter().all(|r| r.partial));
}

#[tokio::test]
async fn watches_end_at_their_timeout_and_are_silent_before_a_version_from_the_future() {
    let server = with_pods(1).await;
    let now = server.version();
    for path in [
        format!("/api/v1/pods?watch=1&resourceVersion={now}&timeoutSeconds=1"),
        "/api/v1/pods?watch=1&resourceVersion=99999999&timeoutSeconds=1&allowWatchBookmarks=true".to_owned(),
    ] {
        server.set_bookmark_interval(Duration::from_millis(50));
        let apply = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.apply(json!({"kind": "Node", "metadata": {"name": "n"}})).unwrap();
        };
        let (answer, ()) = tokio::join!(get(&server, &path), apply);
        assert_eq!(answer, (200, vec![]), "{path}");
    }
    let theirs = recorded("watch-too-large").remove(0);
    assert_eq!((theirs.code, theirs.body), (200, vec![]));
    let theirs = recorded("watch-bookmark-close").remove(0);
    assert_eq!((theirs.code, theirs.body), (200, vec![]));
}

#[tokio::test]
async fn too_old_is_said_in_the_stream_in_two_wordings() {
    let server = with_pods(3).await;
    server.compact();
    let oldest = server.version();
    for (name, number) in
        [("watch-too-old-pods", format!("5 ({oldest})")), ("watch-too-old-events", String::new())]
    {
        let theirs = recorded(name).remove(0);
        let (code, body) = get(&server, &theirs.request).await;
        let expected = theirs.body[0].to_string().replace("5 (10105)", &number);
        assert_eq!((code, body[0].to_string()), (theirs.code, expected));
        assert_eq!(body.len(), 1);
    }
}

#[tokio::test]
async fn watches_resume_replay_and_bookmark() {
    let server = with_pods(2).await;
    let from = server.version();
    server.apply(pod("p0")).unwrap();
    let gone = server.delete("Pod", "n", "p1").unwrap();
    server.apply(json!({"kind": "Event", "metadata": {"name": "e"}})).unwrap();
    let says = |events: &[Value]| {
        let one = |e: &Value| {
            let name = e["object"]["metadata"]["name"].as_str().unwrap_or("-");
            format!("{} {name}", e["type"].as_str().unwrap())
        };
        events.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let (_, events) =
        get(&server, &format!("/api/v1/pods?watch=1&resourceVersion={from}&timeoutSeconds=1")).await;
    assert_eq!(says(&events), "MODIFIED p0, DELETED p1");
    assert_eq!(events[1]["object"]["metadata"]["resourceVersion"], gone.to_string());
    let (_, events) = get(&server, "/api/v1/pods?watch=1&timeoutSeconds=1").await;
    assert_eq!(says(&events), "ADDED p0");

    server.set_bookmark_interval(Duration::from_millis(400));
    let bookmarks = "allowWatchBookmarks=true&timeoutSeconds=3";
    let from = server.version();
    let (pods, events) =
        (format!("/api/v1/pods?watch=1&resourceVersion={from}&{bookmarks}"), "/api/v1/events?watch=1");
    let events = format!("{events}&resourceVersion={from}&{bookmarks}");
    let (pods, events) = tokio::join!(get(&server, &pods), get(&server, &events));
    assert_eq!(says(&pods.1), "BOOKMARK -, BOOKMARK -, BOOKMARK -", "two and the one before the end");
    assert_eq!(says(&events.1), "", "events have no bookmarks");
}

#[tokio::test]
async fn watch_list_marks_the_end_of_the_initial_events() {
    let server = ApiServer::start().await.unwrap();
    server.apply(json!({"kind": "Node", "metadata": {"name": "lab-node"}})).unwrap();
    let theirs = recorded("watch-list-nodes").remove(0);
    let apply = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.apply(json!({"kind": "Node", "metadata": {"name": "lab-node"}, "spec": {}})).unwrap();
    };
    let ((code, events), ()) = tokio::join!(get(&server, &theirs.request), apply);
    assert_eq!(code, 200);
    let shape = |e: &Value| {
        (
            e["type"].clone(),
            e["object"]["kind"].clone(),
            e["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"].clone(),
        )
    };
    assert_eq!(
        events.iter().map(shape).collect::<Vec<_>>(),
        theirs.body.iter().map(shape).collect::<Vec<_>>()
    );
    let (code, body) = get(&server, "/api/v1/nodes?watch=1&sendInitialEvents=true").await;
    assert_eq!((code, &body[0]["reason"]), (422, &json!("Invalid")));
}

#[tokio::test]
async fn an_object_with_another_uid_is_another_object() {
    let server = ApiServer::start().await.unwrap();
    let with = |uid: &str| json!({"kind": "Pod", "metadata": {"name": "a", "uid": uid}});
    server.apply(with("one")).unwrap();
    server.apply(json!({"kind": "Pod", "metadata": {"name": "a"}})).unwrap();
    server.apply(with("two")).unwrap();
    let (_, events) =
        get(&server, "/api/v1/namespaces/default/pods?watch=1&resourceVersion=1000&timeoutSeconds=1").await;
    let seen: Vec<_> = events
        .iter()
        .map(|e| format!("{} {}", e["type"], e["object"]["metadata"]["uid"]).replace('"', ""))
        .collect();
    assert_eq!(seen, ["ADDED one", "MODIFIED one", "DELETED one", "ADDED two"]);
    assert!(server.apply(json!([])).is_err() && server.apply(json!({"kind": "Pod"})).is_err());
    assert!(server.apply(json!({"kind": "Secret", "metadata": {"name": "s"}})).is_err());
}

#[tokio::test]
async fn scripted_faults_happen_as_often_as_told() {
    let server = with_pods(1).await;
    server.fault(Fault::new(Verb::List, "pods", What::Status(500)).times(2));
    server.fault(Fault::new(Verb::List, "pods", What::TooManyRequests { retry_after: 7, json: false }));
    for code in [500, 500] {
        assert_eq!(get(&server, "/api/v1/pods").await.0, code);
    }
    let request = || http::Request::get("/api/v1/pods").body(Body::empty()).unwrap();
    let response = server.client().unwrap().send(request()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Too many requests, please try again later.\n");

    server.fault(Fault::new(Verb::List, "pods", What::CutMidLine));
    let response = server.client().unwrap().send(request()).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    server.fault(Fault::new(Verb::List, "pods", What::Reset));
    let error = server.client().unwrap().send(request()).await.unwrap_err();
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    let mut chain = String::new();
    while let Some(e) = source {
        chain += &e.to_string();
        source = e.source();
    }
    assert!(chain.to_lowercase().contains("reset"), "{chain}");
    assert_eq!(get(&server, "/api/v1/pods").await.0, 200);
    assert_eq!(server.lists("pods"), 6);
}

/// A recorded exchange whose body may be no JSON.
fn recorded_texts(name: &str) -> Vec<(String, u16, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/protocol").join(format!("{name}.http"));
    let text = std::fs::read_to_string(path).unwrap().replace('\r', "");
    let exchanges = text.split(">>> GET ").skip(1).map(|exchange| {
        let (head, body) = exchange.split_once("\n\n").unwrap();
        let status = head.lines().find(|l| l.starts_with("HTTP/1.1 ")).unwrap();
        let request = head.lines().next().unwrap().split("   (").next().unwrap().to_owned();
        (request, status.split(' ').nth(1).unwrap().parse().unwrap(), body.trim_end().to_owned())
    });
    exchanges.collect()
}

async fn get_text(server: &ApiServer, path: &str) -> (u16, String) {
    let request = http::Request::get(path).body(Body::empty()).unwrap();
    let response = server.client().unwrap().send(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

/// A pod with one container in this state.
fn logging(namespace: &str, name: &str, container: &str, state: &Value, last: &Value) -> Value {
    let status = json!({"name": container, "containerID": state.pointer("/running/id"), "state": state, "lastState": last});
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": container}]}, "status": {"containerStatuses": [status]}})
}

#[tokio::test]
async fn logs_are_those_of_a_real_server() {
    let server = ApiServer::start().await.unwrap();
    let run = |id: &str| json!({"terminated": {"containerID": format!("containerd://{id}"), "exitCode": 1}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let at: jiff::Timestamp = "2026-11-21T08:30:37.273464295Z".parse().unwrap();
    for (namespace, name, container, gone) in [
        (
            "s-node",
            "broken-6646c875fb-fvfks",
            "app",
            "aa4a493af8a2e82748b19f0a47cc829919468955df9ee680bbb27e036aa39297",
        ),
        (
            "h-exit0",
            "oneshot-646fd57944-lhmgm",
            "app",
            "80194e9dfc6eb1b52c62c8ab0e0b7165ae3c20270b9c88e00579afbbad9e5d65",
        ),
    ] {
        server.apply(logging(namespace, name, container, &waiting, &run(name))).unwrap();
        let gone = format!("containerd://{gone}");
        server.log((namespace, name, container), &gone, [(at, "before")]);
        server.remove_log(&gone);
        server.log((namespace, name, container), &format!("containerd://{name}"), [(at, "done")]);
    }
    let front = json!({"running": {"id": "containerd://front"}});
    server.apply(logging("s-node", "front-679cb44879-2znw5", "front", &front, &json!({}))).unwrap();
    for (request, code, body) in recorded_texts("pod-log") {
        let (got, text) = get_text(&server, &request).await;
        assert_eq!(got, code, "{request}: {text}");
        match serde_json::from_str::<Value>(&body) {
            Ok(recorded) => assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), recorded, "{request}"),
            Err(_) => assert_eq!(text.trim_end(), body, "{request}"),
        }
    }
}

#[tokio::test]
async fn logs_are_cut_and_asked_for_by_container() {
    let server = ApiServer::start().await.unwrap();
    let mut pod = logging("n", "p", "a", &json!({"running": {"id": "containerd://a1"}}), &json!({}));
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "b"}));
    pod["spec"]["initContainers"] = json!([{"name": "i"}]);
    server.apply(pod).unwrap();
    let at: jiff::Timestamp = "2026-11-21T08:30:37Z".parse().unwrap();
    server.log(("n", "p", "a"), "containerd://a1", ["one", "two", "three"].map(|line| (at, line)));
    let log = "/api/v1/namespaces/n/pods/p/log";
    for (query, code, expected) in [
        ("container=a", 200, "one\ntwo\nthree\n"),
        ("container=a&tailLines=2", 200, "two\nthree\n"),
        // From where the tail begins: the end is cut off.
        ("container=a&tailLines=2&limitBytes=5", 200, "two\nt"),
        ("container=a&tailLines=1&timestamps=true", 200, "2026-11-21T08:30:37Z three\n"),
        ("container=c", 400, "container c is not valid for pod p"),
        (
            "",
            400,
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
        ),
        ("container=b", 400, "container \\\"b\\\" in pod \\\"p\\\" is not available"),
        ("container=a&tailLines=x", 400, "invalid syntax"),
    ] {
        let (got, text) = get_text(&server, &format!("{log}?{query}")).await;
        assert_eq!(got, code, "{query}: {text}");
        assert!(if code == 200 { text == expected } else { text.contains(expected) }, "{query}: {text}");
    }
    server.forbid("pods/log");
    let (code, text) = get_text(&server, log).await;
    assert_eq!(code, 403);
    assert!(text.contains("cannot get resource \\\"pods/log\\\" in API group"), "{text}");
}
