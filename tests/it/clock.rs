//! The wall clock is set, or the machine sleeps, while the bot runs and between two lives of it.

use std::time::Duration;

use jiff::SignedDuration;
use kubeherald::notify::http::TransportError;
use kubeherald::testkit::builders::pod;

use crate::lives::Bot;
use crate::world::{ask, checkout, in_paused_time};

const TWO_HOURS: SignedDuration = SignedDuration::from_hours(2);

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn refuse(bot: &Bot, times: usize) {
    let refused = |_| TransportError::Connect("connection refused".into());
    *bot.life.receivers.refuse.lock().unwrap() = (0..times).map(refused).collect();
}

fn crash(bot: &Bot) {
    let looping =
        checkout().last(1, "Error", "-20s", "-10s").waiting("CrashLoopBackOff", "back-off").restarts(3);
    bot.life.apply(looping.into());
}

fn no_image(bot: &Bot, name: &str) {
    let waiting = pod(name).created("-0s").node("worker-1").scheduled("-0s");
    bot.life.apply(waiting.waiting("ImagePullBackOff", "Back-off pulling image").into());
}

async fn metric(bot: &Bot, name: &str) -> f64 {
    let (_, text) = ask(&bot.router, "/metrics").await;
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap()
}

#[test]
fn a_clock_that_is_set_back_holds_up_nothing() {
    in_paused_time(|| async {
        let mut bot = Bot::new();
        bot.start();
        tokio::time::sleep(secs(600)).await;
        // One message waits for its second attempt, and one problem for its `for`.
        refuse(&bot, 1);
        crash(&bot);
        tokio::time::sleep(secs(6)).await;
        no_image(&bot, "before");
        tokio::time::sleep(secs(1)).await;
        bot.life.clock.step(-TWO_HOURS);
        tokio::time::sleep(secs(5)).await;
        no_image(&bot, "after");
        tokio::time::sleep(secs(5)).await;
        assert_eq!(bot.told(), ["first crash-loop Deployment/checkout"]);
        tokio::time::sleep(secs(50)).await;
        let mut told = bot.told();
        told.sort();
        assert_eq!(
            told,
            [
                "first crash-loop Deployment/checkout",
                "first image-pull Pod/after",
                "first image-pull Pod/before"
            ]
        );
        assert!((metric(&bot, "kubeherald_clock_steps_total{direction=\"back\"}").await - 1.0).abs() < 0.1);
        assert!(metric(&bot, "kubeherald_signals_total{cause=\"ImagePullBackOff\"}").await > 1.5, "frozen");
        assert_eq!(bot.ready().await.0, 200);
        assert_eq!(ask(&bot.router, "/livez").await.0, 200);
        // A window ends an hour after its message, not three.
        tokio::time::sleep(secs(3_600)).await;
        assert!(
            bot.told().iter().any(|line| line == "reminder crash-loop Deployment/checkout"),
            "{:?}",
            bot.told()
        );
        bot.stop().await;
    });
}

#[test]
fn after_a_sleep_of_a_day_nothing_is_given_up_and_reminders_do_not_come_in_a_burst() {
    in_paused_time(|| async {
        let mut bot = Bot::new();
        bot.start();
        tokio::time::sleep(secs(600)).await;
        crash(&bot);
        tokio::time::sleep(secs(60)).await;
        let first = bot.bodies()[0]["incidents"][0]["since"].clone();
        // Decided just before, attempted just after; and one that waits for its `for`.
        no_image(&bot, "waits");
        let oom =
            pod("ends").node("worker-1").last(137, "OOMKilled", "-1h", "-1s").running("-0s").restarts(1);
        bot.life.apply(oom.into());
        tokio::time::sleep(secs(4)).await;
        refuse(&bot, 2);
        tokio::time::sleep(secs(2)).await;
        bot.life.clock.step(SignedDuration::from_hours(30));
        tokio::time::sleep(secs(15)).await;
        let crash_loop = "first crash-loop Deployment/checkout";
        assert_eq!(bot.told(), [crash_loop, "first oom-killed Pod/ends"], "`for` is not over");
        tokio::time::sleep(secs(60)).await;
        let mut told = bot.told();
        told.sort();
        assert_eq!(told, [crash_loop, "first image-pull Pod/waits", "first oom-killed Pod/ends"]);
        assert!((metric(&bot, "kubeherald_dead_letters{receiver=\"hook\"}").await).abs() < 0.1);
        assert!(
            (metric(&bot, "kubeherald_clock_steps_total{direction=\"forward\"}").await - 1.0).abs() < 0.1
        );
        assert_eq!(bot.ready().await.0, 200);
        tokio::time::sleep(secs(3_600)).await;
        let reminders: Vec<_> =
            bot.bodies().into_iter().filter(|body| body["decision"] == "reminder").collect();
        let of_crash: Vec<_> =
            reminders.iter().filter(|body| body["incidents"][0]["rule"] == "crash-loop").collect();
        assert_eq!(of_crash.len(), 1, "{:?}", bot.told());
        assert_eq!(of_crash[0]["incidents"][0]["since"], first, "when it began is not moved");
        bot.stop().await;
    });
}

#[test]
fn a_clock_that_was_ahead_before_a_restart_holds_up_nothing() {
    for kill in [false, true] {
        in_paused_time(move || async move {
            let mut bot = Bot::new();
            bot.life.clock.step(TWO_HOURS);
            bot.start();
            tokio::time::sleep(secs(600)).await;
            refuse(&bot, 3);
            crash(&bot);
            tokio::time::sleep(secs(8)).await;
            if kill {
                bot.kill().await;
            } else {
                bot.stop().await;
            }
            assert_eq!(bot.told().len(), 0);
            refuse(&bot, 0);
            bot.life.clock.step(-TWO_HOURS);
            let oom =
                pod("ends").node("worker-1").last(137, "OOMKilled", "-1h", "-0s").running("-0s").restarts(1);
            bot.life.apply(oom.into());
            tokio::time::sleep(secs(2)).await;
            bot.start();
            tokio::time::sleep(secs(60)).await;
            assert_eq!(
                bot.told(),
                ["first crash-loop Deployment/checkout", "first oom-killed Pod/ends"],
                "killed: {kill}"
            );
            tokio::time::sleep(secs(3_600)).await;
            assert!(
                bot.told().iter().any(|line| line == "reminder crash-loop Deployment/checkout"),
                "{:?}",
                bot.told()
            );
            bot.stop().await;
        });
    }
}

#[test]
fn a_clock_that_is_ahead_of_the_clusters_makes_no_problem_last_longer() {
    in_paused_time(|| async {
        let mut bot = Bot::new();
        bot.life.clock.step(SignedDuration::from_mins(15));
        bot.start();
        tokio::time::sleep(secs(600)).await;
        no_image(&bot, "blip");
        tokio::time::sleep(secs(8)).await;
        bot.life.apply(pod("blip").created("-8s").node("worker-1").running("-0s").into());
        tokio::time::sleep(secs(120)).await;
        assert!(bot.told().is_empty(), "{:?}", bot.told());
        no_image(&bot, "lasts");
        tokio::time::sleep(secs(60)).await;
        assert_eq!(bot.told(), ["first image-pull Pod/lasts"]);
        assert!((metric(&bot, "kubeherald_clock_ahead_seconds").await - 900.0).abs() < 2.0);
        let (status, said) = bot.ready().await;
        assert_eq!(status, 200);
        assert!(said.contains("ahead of the API server's"), "{said}");
        // It is put right: what waited goes on waiting for as long as it would have.
        no_image(&bot, "second");
        tokio::time::sleep(secs(8)).await;
        bot.life.clock.step(SignedDuration::from_mins(-15));
        tokio::time::sleep(secs(10)).await;
        bot.life.apply(pod("second").created("-18s").node("worker-1").running("-0s").into());
        tokio::time::sleep(secs(120)).await;
        assert!(!bot.told().iter().any(|line| line.contains("second")), "{:?}", bot.told());
        assert!(!bot.ready().await.1.contains("ahead"));
        bot.stop().await;
    });
}

#[test]
fn a_clock_that_was_set_while_nobody_ran_makes_no_news_old_and_nothing_last_longer() {
    for [before, after] in [[15, 15], [15, 0], [0, 15], [-15, -15], [-15, 15]] {
        in_paused_time(move || async move {
            let mut bot = Bot::new();
            bot.life.clock.step(SignedDuration::from_mins(before));
            bot.start();
            tokio::time::sleep(secs(600)).await;
            no_image(&bot, "blip");
            tokio::time::sleep(secs(8)).await;
            bot.kill().await;
            bot.life.clock.step(SignedDuration::from_mins(after - before));
            let oom =
                pod("ends").node("worker-1").last(137, "OOMKilled", "-1h", "-0s").running("-0s").restarts(1);
            bot.life.apply(oom.into());
            tokio::time::sleep(secs(2)).await;
            bot.start();
            tokio::time::sleep(secs(6)).await;
            bot.life.apply(pod("blip").created("-16s").node("worker-1").running("-0s").into());
            tokio::time::sleep(secs(120)).await;
            assert_eq!(bot.told(), ["first oom-killed Pod/ends"], "{before} min, then {after} min");
            bot.stop().await;
        });
    }
}
