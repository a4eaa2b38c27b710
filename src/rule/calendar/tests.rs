use super::*;

const ALL: [bool; 7] = [true; 7];

fn weekly(days: [bool; 7], from: u16, to: u16, zone: &str) -> Weekly {
    Weekly { days, from, to, zone: TimeZone::get(zone).unwrap() }
}

fn days(names: &[&str]) -> [bool; 7] {
    WEEKDAYS.map(|(name, _)| names.contains(&name))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn shown(window: Option<Window>) -> String {
    window.map_or_else(|| "none".into(), |w| format!("{}..{}", w.from, w.until))
}

#[test]
fn over_midnight_belongs_to_the_day_it_begins_on() {
    // Friday 2026-11-20, 22:00 to Saturday 07:00; UTC+1.
    let it = weekly(days(&["fri"]), 22 * 60, 7 * 60, "Europe/Berlin");
    let window = "2026-11-20T21:00:00Z..2026-11-21T06:00:00Z";
    assert_eq!(shown(it.current(at("2026-11-20T20:59:59Z"))), "none");
    assert_eq!(shown(it.next(at("2026-11-20T20:59:59Z"))), window);
    assert_eq!(shown(it.current(at("2026-11-20T21:00:00Z"))), window);
    assert_eq!(shown(it.current(at("2026-11-21T05:59:59Z"))), window);
    assert_eq!(shown(it.current(at("2026-11-21T06:00:00Z"))), "none");
    // Saturday 22:00 is not Friday's.
    assert_eq!(shown(it.current(at("2026-11-21T21:30:00Z"))), "none");
    assert_eq!(shown(it.next(at("2026-11-20T21:00:00Z"))), "2026-11-27T21:00:00Z..2026-11-28T06:00:00Z");
}

#[test]
fn whole_days() {
    let it = weekly(days(&["sat", "sun"]), 0, DAY, "UTC");
    assert_eq!(shown(it.current(at("2026-11-21T00:00:00Z"))), "2026-11-21T00:00:00Z..2026-11-22T00:00:00Z");
    assert_eq!(shown(it.current(at("2026-11-22T23:59:59Z"))), "2026-11-22T00:00:00Z..2026-11-23T00:00:00Z");
    assert_eq!(shown(it.current(at("2026-11-23T00:00:00Z"))), "none");
}

#[test]
fn the_wall_clock_counts_on_both_sides_of_a_change() {
    // Berlin: forward on 2026-03-29 at 02:00 (01:00Z), back on 2026-10-25 at 03:00 (01:00Z).
    let night = weekly(ALL, 22 * 60, 7 * 60, "Europe/Berlin");
    assert_eq!(
        shown(night.current(at("2026-03-29T00:00:00Z"))),
        "2026-03-28T21:00:00Z..2026-03-29T05:00:00Z",
        "eight hours"
    );
    assert_eq!(
        shown(night.current(at("2026-10-25T00:00:00Z"))),
        "2026-10-24T20:00:00Z..2026-10-25T06:00:00Z",
        "ten hours"
    );
    // A window that begins in the hour that does not exist begins with the change…
    let early = weekly(ALL, 2 * 60 + 30, 4 * 60, "Europe/Berlin");
    assert_eq!(
        shown(early.current(at("2026-03-29T01:10:00Z"))),
        "2026-03-29T01:00:00Z..2026-03-29T02:00:00Z"
    );
    // …and one that ends in it ends with the change.
    let late = weekly(ALL, 60, 2 * 60 + 30, "Europe/Berlin");
    assert_eq!(shown(late.current(at("2026-03-29T00:10:00Z"))), "2026-03-29T00:00:00Z..2026-03-29T01:00:00Z");
    // One that lies in it is not at all, and the next is a day later.
    let inside = weekly(ALL, 2 * 60 + 15, 2 * 60 + 45, "Europe/Berlin");
    assert_eq!(shown(inside.current(at("2026-03-29T01:20:00Z"))), "none");
    assert_eq!(shown(inside.next(at("2026-03-28T22:00:00Z"))), "2026-03-30T00:15:00Z..2026-03-30T00:45:00Z");
    // What the clock shows twice counts the first time, at both edges.
    let twice = weekly(ALL, 2 * 60 + 15, 2 * 60 + 45, "Europe/Berlin");
    assert_eq!(
        shown(twice.current(at("2026-10-25T00:20:00Z"))),
        "2026-10-25T00:15:00Z..2026-10-25T00:45:00Z"
    );
    assert_eq!(shown(twice.current(at("2026-10-25T01:20:00Z"))), "none");
}

#[test]
fn midnight_may_not_exist_either() {
    // Santiago puts the clock forward at midnight: 2026-09-06 begins at 01:00 (04:00Z).
    let it = weekly(days(&["sun"]), 0, DAY, "America/Santiago");
    assert_eq!(shown(it.current(at("2026-09-06T04:00:00Z"))), "2026-09-06T04:00:00Z..2026-09-07T03:00:00Z");
    assert_eq!(shown(it.current(at("2026-09-06T03:59:59Z"))), "none");
}

#[test]
fn the_ends_of_time_are_no_window() {
    let it = weekly(ALL, 22 * 60, 7 * 60, "UTC");
    assert!(it.next(Timestamp::MAX).is_none());
    assert!(it.current(Timestamp::MAX).is_none());
    // The day before the first cannot be named.
    assert!(it.next(Timestamp::MIN).is_some());
}
