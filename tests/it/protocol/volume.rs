//! More than a page, a line or a buffer holds.

use super::*;

/// A tenant's Events have up to 1.5 MB each, and a page of a hundred of them 150 MB.
#[tokio::test]
async fn a_list_whose_pages_are_too_large_is_read_in_smaller_ones() {
    let server = ApiServer::start().await.unwrap();
    let event = |n: usize, bytes: usize| {
        json!({"kind": "Event", "apiVersion": "v1", "metadata": {"name": format!("e{n:02}"), "namespace": "n"},
            "involvedObject": {"kind": "Widget", "namespace": "n", "name": "w"}, "message": "x".repeat(bytes)})
    };
    for n in 0..40 {
        server.apply(event(n, if n < 20 { 10_000 } else { 100 })).unwrap();
    }
    let tuning = Tuning { event_page: 100, page_bytes: 64 * 1024, ..tuning() };
    let bot = Bot::start(&server, &[Kind::Event], &WatchConfig::default(), &tuning);
    bot.agrees(&server).await;
    // Pages of 100, 50, 25 and 12 are given up; then come pages of six.
    assert_eq!(bot.log(), ["listing Event", "listed Event"], "given up before anything was taken in");
    assert_eq!(server.count(Verb::List, "events"), 4 + 7, "{:?}", server.requests());
    let status = bot.status.of(Kind::Event).unwrap();
    assert!(status.last_error.is_some_and(|error| error.contains("65536 bytes")));
    // Large ones that come later come alone, and are no page.
    server.apply(event(50, 500_000)).unwrap();
    bot.agrees(&server).await;
}

#[tokio::test]
async fn a_burst_larger_than_every_buffer_arrives() {
    let server = server().await;
    let bot =
        Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &Tuning { pod_page: 500, ..tuning() });
    bot.agrees(&server).await;
    for i in 0..3000 {
        server.apply(pod(&format!("burst{i}"))).unwrap();
    }
    bot.agrees(&server).await;
}
