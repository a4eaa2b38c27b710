//! What was expected and what was told, one below the other in columns.

use crate::app::rule_test::{Field, Report, Row, fields, got};
use crate::config::RuleTest;

pub(super) const RED: &str = "\u{1b}[31m";
pub(super) const GREEN: &str = "\u{1b}[32m";
const DIM: &str = "\u{1b}[2m";

/// Columns, in the order of reading. Those of [`ALWAYS`] are always there, others where a test asks
/// for them.
const COLUMNS: &[&str] = &[
    "at",
    "decision",
    "rule",
    "cause",
    "severity",
    "namespace",
    "workload",
    "container",
    "node",
    "members",
    "occurrences",
    "incidents",
    "receivers",
];
const ALWAYS: &[&str] = &["at", "decision", "rule", "workload", "members"];

/// At most this many reasons for silence are shown.
const MAX_SILENT: usize = 10;

pub(super) fn paint(color: bool, style: &str, text: &str) -> String {
    if color { format!("{style}{text}\u{1b}[0m") } else { text.to_owned() }
}

/// A line of the table; `note`: too long for its columns.
struct Line {
    mark: char,
    style: &'static str,
    cells: Vec<String>,
    note: Option<String>,
}

impl Line {
    const fn new(mark: char, style: &'static str, cells: Vec<String>) -> Self {
        Self { mark, style, cells, note: None }
    }

    const fn note(mark: char, style: &'static str, note: String) -> Self {
        Self { mark, style, cells: Vec::new(), note: Some(note) }
    }
}

/// The comparison of a test that failed.
pub(super) fn render(test: &RuleTest, report: &Report, color: bool) -> String {
    let expected: Vec<Vec<Field>> = test.expect.iter().map(fields).collect();
    let asked = |name: &str| expected.iter().flatten().any(|field| field.name == name);
    let summary = report.told.iter().any(|message| message.decided.decision.is_summary());
    let columns: Vec<&str> = COLUMNS
        .iter()
        .copied()
        .filter(|name| ALWAYS.contains(name) || asked(name) || (summary && *name == "incidents"))
        .collect();
    let wanted = |expect: usize| -> Vec<String> {
        let fields = expected.get(expect).map(Vec::as_slice).unwrap_or_default();
        let value = |name: &str| fields.iter().find(|field| field.name == name).map(|f| clean(&f.value));
        columns.iter().map(|name| value(name).unwrap_or_default()).collect()
    };
    let told = |told: usize| -> Vec<String> {
        let message = report.told.get(told);
        let value = |name: &str| message.map(|message| clean(&got(message, report.start, name)));
        columns.iter().map(|name| value(name).unwrap_or_default()).collect()
    };
    let names = columns.iter().map(|name| (*name).to_owned()).collect();
    let mut lines = vec![Line::new(' ', DIM, names)];
    for row in &report.rows {
        match row {
            Row::Same { told: at, .. } => lines.push(Line::new('=', "", told(*at))),
            Row::Other(at) => lines.push(Line::new(' ', DIM, told(*at))),
            Row::Missing(expect) => lines.push(Line::new('-', RED, wanted(*expect))),
            Row::Extra(at) => lines.push(Line::new('+', GREEN, told(*at))),
            Row::Differs { expect, told: at, fields } => {
                lines.push(Line::new('-', RED, wanted(*expect)));
                let cells = told(*at);
                let under = |(name, cell): (&&str, &String)| {
                    let width = if fields.contains(name) { cell.chars().count() } else { 0 };
                    "^".repeat(width)
                };
                let marks: Vec<String> = columns.iter().zip(&cells).map(under).collect();
                let differs = marks.iter().any(|mark| !mark.is_empty());
                lines.push(Line::new('+', GREEN, cells));
                if differs {
                    lines.push(Line::new(' ', GREEN, marks));
                }
                lines.extend(long(expected.get(*expect), *at, fields, report));
            }
        }
    }
    let mut text = table(&lines, color);
    text.push_str(&silence(report, color));
    text
}

/// Texts are too long for a column.
fn long(expected: Option<&Vec<Field>>, told: usize, wrong: &[&str], report: &Report) -> Vec<Line> {
    let Some(message) = report.told.get(told) else { return Vec::new() };
    let fields = expected.into_iter().flatten();
    fields
        .filter(|field| matches!(field.name, "title" | "text") && wrong.contains(&field.name))
        .flat_map(|field| {
            let got = got(message, report.start, field.name);
            let name = field.name;
            [
                Line::note('-', RED, format!("{name} with {:?}", field.value)),
                Line::note('+', GREEN, format!("{name} {got:?}")),
            ]
        })
        .collect()
}

fn table(lines: &[Line], color: bool) -> String {
    let columns = lines.iter().map(|line| line.cells.len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> =
            line.cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let row = format!("{} {}", line.mark, line.note.clone().unwrap_or_else(|| cells.join("  ")));
        text.push_str(&format!(
            "     {}\n",
            paint(color && !line.style.is_empty(), line.style, row.trim_end())
        ));
    }
    text
}

/// What was not told and why, where a message is missing.
fn silence(report: &Report, color: bool) -> String {
    let missing = report.rows.iter().any(|row| matches!(row, Row::Missing(_)));
    if !missing || report.silent.is_empty() {
        return String::new();
    }
    let mut lines = vec![String::from("not told:")];
    lines.extend(report.silent.iter().take(MAX_SILENT).map(|line| format!("  {}", clean(line))));
    if report.silent.len() > MAX_SILENT {
        lines.push(format!("  … and {} more", report.silent.len() - MAX_SILENT));
    }
    let mut text = String::new();
    for line in &lines {
        text.push_str(&format!("     {}\n", paint(color, DIM, line)));
    }
    text
}

/// Names in a recording are somebody else's: they must not move the cursor.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
