use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next times after `from`, in UTC.
fn next(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let (cron, zone) = (Cron::parse(cron).unwrap(), TimeZone::get(zone).unwrap());
    let mut now = at(from);
    (0..count)
        .map(|_| {
            now = cron.next_after(now, &zone).unwrap();
            now.to_string()
        })
        .collect()
}

#[test]
fn what_is_a_schedule_and_what_is_not() {
    for good in
        ["0 8 * * 1-5", "*/15 * * * *", "0 0 1,15 jan-jun mon", "5 4 * * SUN", "0 0 * * 7", "0 0 29 2 */7"]
    {
        assert!(Cron::parse(good).is_ok(), "{good}");
    }
    let said = |text: &str| Cron::parse(text).unwrap_err().to_string();
    for (bad, why) in [
        ("", "it has 0 fields"),
        ("0 8 * *", "it has 4 fields"),
        ("@daily", "it has 1 fields"),
        ("60 8 * * *", "the minute goes from 0 to 59"),
        ("+5 8 * * *", "the minute goes from 0 to 59"),
        ("0 24 * * *", "the hour goes from 0 to 23"),
        ("0 8 0 * *", "the day of month goes from 1 to 31"),
        ("0 8 * 13 *", "the month goes from 1 to 12"),
        ("0 8 * mon *", "the month goes from 1 to 12"),
        ("0 8 * * 5-1", "the day of week goes from 0 to 7"),
        ("0 8 * * 8", "the day of week goes from 0 to 7"),
        ("*/0 * * * *", "the minute goes from 0 to 59"),
        ("*/+1 * * * *", "the minute goes from 0 to 59"),
        ("1,,2 * * * *", "the minute goes from 0 to 59"),
        ("0 0 30 2 *", "there is no such day"),
        ("0 0 31 4,6,9,11 *", "there is no such day"),
    ] {
        assert_eq!(said(bad), why, "{bad}");
    }
    assert!(Cron::parse("0 0 30 2 mon").is_ok(), "or on Mondays");
}

/// 2026-02-01 is a Sunday.
#[test]
fn days_of_month_and_of_week() {
    let day = |cron: &str, count| {
        let times = next(cron, "UTC", "2026-02-01T00:00:00Z", count);
        times
            .iter()
            .map(|t| t.chars().skip(5).take(11).collect::<String>().replace('T', " "))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(
        day("0 8 * * 1-5", 6),
        "02-02 08:00, 02-03 08:00, 02-04 08:00, 02-05 08:00, 02-06 08:00, 02-09 08:00"
    );
    assert_eq!(day("0 8 * * 7", 3), "02-01 08:00, 02-08 08:00, 02-15 08:00");
    assert_eq!(day("0 8 * * 6-7", 3), "02-01 08:00, 02-07 08:00, 02-08 08:00");
    // Either is enough where both are restricted …
    assert_eq!(day("0 0 13 * fri", 4), "02-06 00:00, 02-13 00:00, 02-20 00:00, 02-27 00:00");
    assert_eq!(day("0 0 10 * fri", 3), "02-06 00:00, 02-10 00:00, 02-13 00:00");
    // … and both are needed where one has a star.
    assert_eq!(day("0 0 */2 * sun", 3), "02-15 00:00, 03-01 00:00, 03-15 00:00");
    assert_eq!(
        day("5/20 7-8 * * *", 6),
        "02-01 07:05, 02-01 07:25, 02-01 07:45, 02-01 08:05, 02-01 08:25, 02-01 08:45"
    );
    assert_eq!(day("0 0 31 * *", 3), "03-31 00:00, 05-31 00:00, 07-31 00:00");
    assert_eq!(
        next("0 0 29 2 *", "UTC", "2026-02-01T00:00:00Z", 2),
        ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]
    );
    assert_eq!(next("0 0 29 2 */7", "UTC", "2072-03-01T00:00:00Z", 1), ["2088-02-29T00:00:00Z"]);
}

#[test]
fn a_time_is_never_now() {
    assert_eq!(next("0 8 * * *", "UTC", "2026-02-03T08:00:00Z", 1), ["2026-02-04T08:00:00Z"]);
    assert_eq!(next("0 8 * * *", "UTC", "2026-02-03T07:59:59.999999999Z", 1), ["2026-02-03T08:00:00Z"]);
    assert_eq!(next("* * * * *", "UTC", "2026-02-03T08:00:30Z", 1), ["2026-02-03T08:01:00Z"]);
}

/// One line a case: schedule, zone, from, the next times.
#[test]
fn clock_changes() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        // Berlin goes from +1 to +2 on 29 March 2026 at 01:00 UTC, and back on 25 October at 01:00 UTC.
        (
            "0 8 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            &["2026-03-28T07:00:00Z", "2026-03-29T06:00:00Z"],
        ),
        (
            "0 8 * * *",
            "Europe/Berlin",
            "2026-10-24T00:00:00Z",
            &["2026-10-24T06:00:00Z", "2026-10-25T07:00:00Z"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T00:00:00Z",
            &["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        ),
        // Several times in the gap are one; none comes twice.
        (
            "*/20 1-3 29 3 *",
            "Europe/Berlin",
            "2026-03-29T00:30:00Z",
            &["2026-03-29T00:40:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z", "2026-03-29T01:40:00Z"],
        ),
        (
            "*/30 2 25 10 *",
            "Europe/Berlin",
            "2026-10-24T23:59:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2027-10-25T00:00:00Z"],
        ),
        // Asked in the repeated hour.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", &["2026-10-26T01:30:00Z"]),
        ("0 3 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", &["2026-10-25T02:00:00Z"]),
        // New York: 8 March 2026 at 07:00 UTC to −4, 1 November at 06:00 UTC back to −5.
        (
            "15 2 * * *",
            "America/New_York",
            "2026-03-07T12:00:00Z",
            &["2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"],
        ),
        (
            "15 1 * * *",
            "America/New_York",
            "2026-10-31T12:00:00Z",
            &["2026-11-01T05:15:00Z", "2026-11-02T06:15:00Z"],
        ),
        // Lord Howe moves by half an hour: 4 October 2026 at 15:30 UTC (02:00 → 02:30), and 4 April at
        // 15:00 UTC (02:00 → 01:30).
        (
            "10 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-02T16:00:00Z",
            &["2026-10-03T15:30:00Z", "2026-10-04T15:10:00Z"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-03T16:00:00Z",
            &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
        ),
        // No changes at all.
        (
            "30 2 * * *",
            "Asia/Kolkata",
            "2026-03-28T22:00:00Z",
            &["2026-03-29T21:00:00Z", "2026-03-30T21:00:00Z"],
        ),
        ("0 0 * * *", "UTC", "2026-03-29T00:00:00Z", &["2026-03-30T00:00:00Z"]),
        // Midnight itself is skipped (Cuba, 8 March 2026), and a whole day (Samoa, 30 December 2011).
        ("0 0 8 3 *", "America/Havana", "2026-03-08T04:00:00Z", &["2026-03-08T05:00:00Z"]),
        (
            "0 8 * * *",
            "Pacific/Apia",
            "2011-12-29T18:30:00Z",
            &["2011-12-30T10:00:00Z", "2011-12-30T18:00:00Z"],
        ),
    ];
    for (cron, zone, from, expected) in table {
        assert_eq!(next(cron, zone, from, expected.len()), *expected, "{cron} in {zone} from {from}");
    }
}

/// However the clocks change, times come in order and each lies after the one before.
#[test]
fn times_only_grow() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"] {
        for cron in ["*/7 * * * *", "59 1-3 * * *", "0 2 * * sun"] {
            let (compiled, zone) = (Cron::parse(cron).unwrap(), TimeZone::get(zone).unwrap());
            let mut now = at("2026-01-01T00:00:00Z");
            while now < at("2027-01-01T00:00:00Z") {
                let after = compiled.next_after(now, &zone).unwrap();
                assert!(after > now, "{cron} in {zone:?} at {now}");
                now = after;
            }
        }
    }
}

#[test]
fn representable_time_ends() {
    let cron = Cron::parse("0 8 * * *").unwrap();
    assert_eq!(cron.next_after(Timestamp::MAX, &TimeZone::UTC), None);
}
