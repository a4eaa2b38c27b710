//! The limit on incidents, seen from outside: a notice, readiness, metrics, and what comes when there is room.

use kubeherald::clock::{self, Clock};
use kubeherald::testkit::receivers::WebhookServer;

use super::{Site, brief, crashing, told, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reaching_the_limit_is_told_and_what_found_no_room_comes_later() {
    let mut site = Site::new().await;
    site.clock = Clock::played(clock::now(), 20);
    let hook = WebhookServer::start().await.unwrap();
    site.configure(&[("hook", &hook.url())], "");
    let text = std::fs::read_to_string(site.path("kubeherald.yaml")).unwrap();
    site.write("kubeherald.yaml", &text.replace("engine: {", "engine: {max_incidents: 10, "));
    let bot = site.start().await;
    let checked = bot.get("/readyz").await.1;
    assert!(!checked.contains("\"incidents\""), "{checked}");
    for n in 0..12 {
        site.server.apply(crashing(&format!("p{n:02}"))).unwrap();
    }
    let of = |what: &str| brief(&hook).iter().filter(|line| line.starts_with(what)).count();
    until("the notice", || of("notice limit_reached") == 1).await;
    assert_eq!(of("first "), 9, "one place is kept for nodes");
    let notice = told(&hook).into_iter().find(|t| t.reason == "limit_reached").unwrap();
    assert!(notice.title.contains("limit of 10: most are of shop (9)"), "{notice:?}");
    assert!(notice.text.contains("Problems that are not followed: shop 3."), "{notice:?}");
    let (status, detail) = bot.check("incidents").await;
    assert_eq!(status, "degraded", "{detail}");
    assert!(detail.contains("shop 3"), "{detail}");
    assert_eq!(bot.get("/readyz").await.0, 200);
    let metrics = bot.metrics().await;
    assert_eq!(metrics["kubeherald_incidents_limit_reached"], "1");
    assert_eq!(metrics["kubeherald_problems_left_out{namespace=\"shop\"}"], "3");

    for n in 0..5 {
        site.server.delete("Pod", "shop", &format!("p{n:02}")).unwrap();
    }
    until("those that found no room", || of("first ") == 12).await;
    until("the end of it", || of("notice limit_lifted") == 1).await;
    assert_eq!(of("notice limit_reached"), 1, "told once");
    while bot.get("/readyz").await.1.contains("\"incidents\"") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    bot.end().await;
}
