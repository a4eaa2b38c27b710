//! `engine` and `storm`: how incidents behave where a rule does not say.

use super::read::fields::{Head, section};
use super::read::kind::{Kind, count, delay, list, span};
use crate::engine::Settings;

pub fn engine<'a>() -> Kind<'a, Settings> {
    let head = Head::new("engine", "engine settings", "How incidents behave where a rule does not say.");
    section(head, |fields| {
        let usual = Settings::default();
        let steps = list("a list of numbers", count()).check(|reader, node, steps: &Vec<u32>| {
            let good = steps.is_sorted_by(|a, b| a < b);
            if !good {
                let help = "for example `[1, 5, 20, 100]`";
                reader.error(node.span, "growth steps must grow", "", Some(help));
            }
            good
        });
        let wait = "How long members gather before the first message.";
        let incidents = "At most this many incidents are followed; some room is kept for nodes, namespaces share the rest.";
        Some(Settings {
            group_wait: fields.or("group_wait", wait, delay(), usual.group_wait),
            growth_steps: fields.or(
                "growth_steps",
                "How many members break through a window.",
                steps,
                usual.growth_steps,
            ),
            max_incidents: fields.or("max_incidents", incidents, count(), usual.max_incidents),
            max_members: fields.or(
                "max_members",
                "At most this many members are known by name.",
                count(),
                usual.max_members,
            ),
            ..Settings::default()
        })
    })
}

/// The settings with another threshold for storms.
pub fn storm(settings: &Settings) -> Kind<'_, Settings> {
    let head = Head::new("storm", "`{incidents, window}`", "When single messages give way to one summary.");
    section(head, move |fields| {
        let incidents = "So many new ones are still told one by one.";
        Some(Settings {
            storm_incidents: fields.or("incidents", incidents, count(), settings.storm_incidents),
            storm_window: fields.or("window", "In which span of time.", span(), settings.storm_window),
            ..settings.clone()
        })
    })
}
