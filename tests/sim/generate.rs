//! From a seed to a plan. Each plan has a few kinds of faults only, with quiet between them: with all of
//! them at once every bot would look the same.

use super::chance::Stream;
use super::cluster::{NODES, RESOURCES, TARGETS};
use super::plan::{
    Annotation, ApiFault, DiskFault, Edge, HOUR, Hostile, Item, Loss, MINUTE, Ms, Plan, ReceiverFault,
    SECOND, Seam, Story, What,
};
use super::settings::{MAIL, RECEIVERS, RULES};
use super::stories::LINGER;

/// Stories and faults happen until then.
const FAULTS: Ms = 14 * MINUTE;
/// By then the last fault is over.
const HEALED: Ms = 16 * MINUTE;
const ENDS: Ms = 30 * MINUTE;

/// Families of faults that a plan may have.
const API: usize = 0;
const KILLS: usize = 1;
const CLOCK: usize = 2;
const RECEIVER: usize = 3;
const DISK: usize = 4;
const CONFIG: usize = 5;
const SILENCE: usize = 6;
const HOSTILE: usize = 7;
const FAMILIES: usize = 8;

pub fn plan(seed: u64) -> Plan {
    let mut stream = Stream::new(seed);
    let mut plan = Plan { note: String::new(), seed, healed: HEALED, ends: ENDS, items: Vec::new() };
    // One in eight plans has no fault: what is wrong there is wrong with the stories.
    let mut families = [false; FAMILIES];
    if !stream.once_in(8) {
        for _ in 0..stream.range(1, 4) {
            // Kills go with everything, so they come more often.
            let drawn = usize::try_from(stream.range(0, FAMILIES as u64 + 3)).unwrap_or(0);
            families[if drawn >= FAMILIES { KILLS } else { drawn }] = true;
        }
    }
    let count = stream.range(2, 8);
    stories(&mut stream, &mut plan, count);
    if families[API] {
        api(&mut stream, &mut plan);
    }
    if families[KILLS] {
        kills(&mut stream, &mut plan);
    }
    if families[CLOCK] {
        clock(&mut stream, &mut plan);
    }
    if families[RECEIVER] {
        receivers(&mut stream, &mut plan);
    }
    if families[DISK] {
        disk(&mut stream, &mut plan);
    }
    if families[CONFIG] {
        config(&mut stream, &mut plan);
    }
    if families[SILENCE] {
        silence(&mut stream, &mut plan);
    }
    if families[HOSTILE] {
        hostile(&mut stream, &mut plan);
    }
    // A few plans are long: what a receiver forgets after a day shows then.
    if stream.once_in(250) {
        plan.ends = 30 * HOUR;
    }
    plan.items.sort_by_key(|item| item.at);
    plan
}

/// A moment at which something may begin, on a whole second.
fn moment(stream: &mut Stream) -> Ms {
    stream.range(60, FAULTS / SECOND) * SECOND
}

fn span(stream: &mut Stream, from: Ms, to: Ms) -> Ms {
    stream.range(from / SECOND, to / SECOND) * SECOND
}

/// Each target has one story at a time.
fn stories(stream: &mut Stream, plan: &mut Plan, count: u64) {
    let mut busy: Vec<(bool, usize, Ms, Ms)> = Vec::new();
    for _ in 0..count * 3 {
        if plan.items.len() as u64 >= count {
            break;
        }
        let story = *stream.pick(&Story::ALL);
        let places = if story.is_node() { NODES.len() } else { TARGETS.len() };
        let target = usize::try_from(stream.range(0, places as u64)).unwrap_or(0);
        // A few begin with the bot.
        let at = if stream.once_in(12) { SECOND } else { moment(stream) };
        let lasts = match story {
            // Some stand until the end and longer.
            Story::QuotaAgain => span(stream, 2 * MINUTE, 3 * MINUTE),
            _ if stream.once_in(4) => 200 * HOUR,
            Story::NodeLost => span(stream, 60 * SECOND, 6 * MINUTE),
            _ => span(stream, 2 * MINUTE, 8 * MINUTE),
        };
        let until = match story {
            Story::QuotaAgain => at + lasts + 14 * MINUTE,
            _ => at.saturating_add(lasts).max(at + LINGER) + MINUTE,
        };
        let overlaps = |(node, of, from, to): &(bool, usize, Ms, Ms)| {
            *node == story.is_node() && *of == target && at < *to && *from < until
        };
        if busy.iter().any(overlaps) {
            continue;
        }
        busy.push((story.is_node(), target, at, until));
        plan.items.push(Item { at, what: What::Story { story, target, lasts } });
    }
}

fn api(stream: &mut Stream, plan: &mut Plan) {
    for _ in 0..stream.range(1, 4) {
        let at = moment(stream);
        let what = match stream.range(0, 10) {
            0 => What::EtcdRestore { back: span(stream, 10 * SECOND, MINUTE) },
            1 => {
                let resources = some_resources(stream);
                What::Rbac { resources, lasts: span(stream, 30 * SECOND, 3 * MINUTE).min(HEALED - at) }
            }
            2 => What::Compact,
            _ => {
                let fault = *stream.pick(&ApiFault::ALL);
                let resources = if stream.once_in(2) || fault == ApiFault::Down {
                    Vec::new()
                } else {
                    some_resources(stream)
                };
                What::Api { fault, resources, lasts: span(stream, 10 * SECOND, 4 * MINUTE).min(HEALED - at) }
            }
        };
        plan.items.push(Item { at, what });
    }
}

fn some_resources(stream: &mut Stream) -> Vec<String> {
    let count = stream.range(1, 4);
    let mut out: Vec<String> = (0..count).map(|_| (*stream.pick(&RESOURCES)).to_owned()).collect();
    out.sort();
    out.dedup();
    out
}

fn kills(stream: &mut Stream, plan: &mut Plan) {
    for _ in 0..stream.range(1, 5) {
        let at = moment(stream);
        let down = stream.range(1, 90) * SECOND;
        let what = if stream.once_in(6) {
            What::Stop { down }
        } else {
            let seam = *stream.pick(&Seam::ALL);
            let edge = *stream.pick(&[Edge::Before, Edge::After]);
            let loss =
                *stream.pick(&[Loss::Process, Loss::Process, Loss::Power, Loss::Torn, Loss::Scattered]);
            What::Kill { seam, nth: stream.range(1, 20), edge, down, loss }
        };
        plan.items.push(Item { at, what });
    }
}

fn clock(stream: &mut Stream, plan: &mut Plan) {
    for _ in 0..stream.range(1, 3) {
        let at = moment(stream);
        let what = match stream.range(0, 4) {
            0 => What::ClockStep { by: -i64::try_from(span(stream, 10 * SECOND, 2 * HOUR)).unwrap_or(0) },
            1 => What::ClockStep { by: i64::try_from(span(stream, 10 * SECOND, 30 * HOUR)).unwrap_or(0) },
            2 => {
                let ppm = if stream.once_in(2) { 5000 } else { -5000 };
                What::ClockDrift { ppm, lasts: span(stream, MINUTE, 5 * MINUTE).min(HEALED - at) }
            }
            _ => What::Suspend { lasts: span(stream, 20 * SECOND, 5 * MINUTE).min(HEALED - at) },
        };
        plan.items.push(Item { at, what });
    }
}

fn receivers(stream: &mut Stream, plan: &mut Plan) {
    for _ in 0..stream.range(1, 5) {
        let at = moment(stream);
        let receiver = *stream.pick(&RECEIVERS);
        let fault = *stream.pick(&ReceiverFault::ALL);
        if fault == ReceiverFault::OneRecipient && receiver != MAIL {
            continue;
        }
        let lasts = span(stream, 20 * SECOND, 5 * MINUTE).min(HEALED - at);
        plan.items.push(Item { at, what: What::Receiver { receiver: receiver.to_owned(), fault, lasts } });
    }
}

fn disk(stream: &mut Stream, plan: &mut Plan) {
    let at = moment(stream);
    let fault = *stream.pick(&DiskFault::ALL);
    let lasts = span(stream, 5 * SECOND, 2 * MINUTE).min(HEALED - at);
    plan.items.push(Item { at, what: What::Disk { fault, lasts } });
}

/// A rule is removed, and comes back.
fn config(stream: &mut Stream, plan: &mut Plan) {
    let at = moment(stream);
    let rule = stream.pick(&RULES).name.to_owned();
    let back = at + span(stream, 20 * SECOND, 3 * MINUTE);
    plan.items.push(Item { at, what: What::Reload { without: vec![rule] } });
    plan.items.push(Item { at: back.min(HEALED), what: What::Reload { without: Vec::new() } });
}

fn silence(stream: &mut Stream, plan: &mut Plan) {
    for _ in 0..stream.range(1, 3) {
        let at = moment(stream);
        let target = usize::try_from(stream.range(0, TARGETS.len() as u64)).unwrap_or(0);
        let lasts = span(stream, MINUTE, 5 * MINUTE).min(HEALED - at);
        let what = if stream.once_in(2) {
            What::Silence { target, lasts }
        } else {
            let annotation =
                *stream.pick(&[Annotation::Mute, Annotation::SilenceUntil, Annotation::MuteNode]);
            What::Annotate { target, annotation, lasts }
        };
        plan.items.push(Item { at, what });
    }
}

fn hostile(stream: &mut Stream, plan: &mut Plan) {
    let at = moment(stream);
    let target = usize::try_from(stream.range(0, TARGETS.len() as u64)).unwrap_or(0);
    // Megabytes cost time: they come seldom.
    let all = if stream.once_in(8) {
        &Hostile::ALL[..]
    } else {
        &[Hostile::ForgedEvent, Hostile::ForgedNodeEvent, Hostile::ReasonWithBreaks, Hostile::MailBoundary][..]
    };
    let hostile = *stream.pick(all);
    plan.items.push(Item { at, what: What::Hostile { hostile, target } });
}
