//! What can be said of a template before it is used.
//!
//! Handlebars itself looks at nothing until a tag is rendered, refuses only direct self-inclusion
//! (two partials that include each other end the process with a stack overflow) and has no limit on
//! output. So each template is walked tag by tag against the [shape](super::sample::shape) of its
//! values, its partials with it, and only what passes is rendered once for every sample message.

use std::collections::BTreeMap;

use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg, Template, TemplateErrorReason};
use serde_json::Value;

use super::registry::{MAX_SOURCE, Source, Templates, describe};
use super::{Input, Name, TemplateError, helpers, model, sample};

/// The deepest nesting of blocks and partials.
const MAX_DEPTH: usize = 32;

/// A template that has been parsed.
#[derive(Debug)]
pub struct Parsed {
    pub source: Source,
    pub template: Template,
}

impl Source {
    /// An error at a place in this text.
    pub fn error(
        &self,
        line: usize,
        column: Option<usize>,
        message: String,
        help: Option<String>,
    ) -> TemplateError {
        let source_line = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned();
        TemplateError { file: self.file.clone(), line, column, message, help, source_line }
    }
}

/// Parses, and says where the syntax is wrong.
pub fn parse(source: Source) -> Result<Parsed, Box<TemplateError>> {
    if source.text.len() > MAX_SOURCE {
        let message = format!("the template is larger than {} KiB", MAX_SOURCE / 1024);
        return Err(Box::new(source.error(1, None, message, None)));
    }
    if let Some((line, column)) = too_deep(&source.text) {
        let message = format!("blocks are nested deeper than {MAX_DEPTH}");
        return Err(Box::new(source.error(line, Some(column), message, None)));
    }
    match Template::compile(&source.text) {
        Ok(template) => Ok(Parsed { source, template }),
        Err(e) => {
            let (line, column) = e.pos().unwrap_or((1, 1));
            let (message, help) = match e.reason() {
                // What the grammar would have accepted instead is a list of its own rule names.
                TemplateErrorReason::InvalidSyntax(_) => (
                    "a tag is not complete, or a block is not closed".to_owned(),
                    "tags look like `{{name}}`; every `{{#if …}}` needs its `{{/if}}`",
                ),
                other => (other.to_string(), "close blocks in the order they were opened"),
            };
            Err(Box::new(source.error(line, Some(column), message, Some(help.into()))))
        }
    }
}

/// Blocks are parsed by recursion: a text that opens thousands of them must not get that far.
fn too_deep(text: &str) -> Option<(usize, usize)> {
    let mut depth = 0usize;
    for (n, line) in text.lines().enumerate() {
        let mut rest = line;
        while let Some(at) = rest.find("{{") {
            let tag = rest.get(at + 2..).unwrap_or_default();
            let name = tag.trim_start_matches(['{', '~', ' ']);
            if name.starts_with('#') {
                depth += 1;
            } else if name.starts_with('/') {
                depth = depth.saturating_sub(1);
            }
            if depth > MAX_DEPTH || tag.chars().take(MAX_DEPTH * 8).filter(|c| *c == '(').count() > MAX_DEPTH
            {
                return Some((n + 1, line.len() - rest.len() + at + 1));
            }
            rest = tag;
        }
    }
    None
}

/// Everything that is wrong with a set of templates.
pub(super) fn all(
    templates: &Templates,
    mains: &BTreeMap<&'static str, Parsed>,
    partials: &BTreeMap<String, Parsed>,
) -> Vec<TemplateError> {
    let shapes =
        [Input::Notification, Input::Incident, Input::Digest].map(|input| (input, sample::shape(input)));
    let mut walk =
        Walk { partials, helpers: helpers::NAMES, open: Vec::new(), errors: Vec::new(), found: Vec::new() };
    for name in Name::ALL {
        let shape = shapes.iter().find(|(i, _)| *i == name.input()).map(|(_, v)| v);
        if let Some(parsed) = mains.get(name.file()) {
            let scope = Scope { here: shape, root: shape, up: None, known: Vec::new() };
            walk.template(&parsed.source, &parsed.template, &scope, 0);
        }
    }
    // Also partials that nothing includes (yet).
    for (name, parsed) in partials {
        let scope = Scope { here: None, root: None, up: None, known: Vec::new() };
        walk.open.push(name.clone());
        walk.template(&parsed.source, &parsed.template, &scope, 0);
        walk.open.pop();
    }
    let mut errors = walk.errors;
    if errors.is_empty() && mains.len() == Name::ALL.len() {
        dry_render(templates, mains, partials, &mut errors);
    }
    errors
}

/// Renders every template for every sample message.
fn dry_render(
    templates: &Templates,
    mains: &BTreeMap<&'static str, Parsed>,
    partials: &BTreeMap<String, Parsed>,
    errors: &mut Vec<TemplateError>,
) {
    // What grows with each incident of a summary must be bounded, too.
    for n in sample::all().chain(std::iter::once_with(sample::crowded)) {
        for name in Name::ALL.iter().filter(|name| name.is_for(&n)) {
            let Some(values) = model::of(name.input(), &n) else { continue };
            let Err(e) = templates.try_render(*name, &values) else { continue };
            let of = e.template_name.as_deref().unwrap_or(name.file());
            let Some(parsed) = partials.get(of).or_else(|| mains.get(of)).or_else(|| mains.get(name.file()))
            else {
                continue;
            };
            let message = format!("{}, in a message that says `{}`", describe(&e), n.decision);
            let line = e.line_no.unwrap_or(1);
            let same = |o: &&TemplateError| {
                o.file == parsed.source.file && o.line == line && o.column == e.column_no
            };
            if errors.iter().find(same).is_none() {
                let help = if n.decision.is_summary() {
                    Some(
                        "a summary has no `incident`: ask `{{#if is_summary}}` and use `{{#each incidents}}`",
                    )
                } else if n.incident().is_none() {
                    Some("a notice has no `incident`: ask `{{#if incident}}`")
                } else {
                    None
                };
                let help = help.map(ToOwned::to_owned);
                errors.push(parsed.source.error(line, e.column_no, message, help));
            }
        }
    }
}

/// The values that names refer to at a place in a template; `None` where that is not known.
pub(super) struct Scope<'a> {
    pub here: Option<&'a Value>,
    pub root: Option<&'a Value>,
    pub up: Option<&'a Scope<'a>>,
    /// Block parameters and the named arguments of a partial.
    pub known: Vec<String>,
}

/// Walks templates tag by tag.
pub(super) struct Walk<'a> {
    pub partials: &'a BTreeMap<String, Parsed>,
    pub helpers: &'a [&'a str],
    pub open: Vec<String>,
    pub errors: Vec<TemplateError>,
    /// Cycles already reported, by the names in them.
    pub found: Vec<Vec<String>>,
}

/// Where a tag stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: &'a Source,
    line: usize,
    column: usize,
}

impl Walk<'_> {
    fn say(&mut self, at: Place<'_>, message: String, help: Option<String>) {
        let error = at.source.error(at.line, Some(at.column), message, help);
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) fn template(&mut self, source: &Source, template: &Template, scope: &Scope<'_>, depth: usize) {
        for (element, mapping) in template.elements.iter().zip(&template.mapping) {
            let at = Place { source, line: mapping.0, column: mapping.1 };
            if depth > MAX_DEPTH {
                self.say(at, format!("blocks are nested deeper than {MAX_DEPTH}"), None);
                return;
            }
            match element {
                TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
                TemplateElement::Expression(ht) => self.expression(at, ht, scope, depth),
                TemplateElement::HelperBlock(ht) => self.block(at, ht, scope, depth),
                TemplateElement::HtmlExpression(_) => self.say(
                    at,
                    "values cannot be written unescaped".into(),
                    Some("write `{{…}}`: text from the cluster must not format, link or mention".into()),
                ),
                TemplateElement::PartialExpression(dt) => self.partial(at, dt, scope, depth),
                TemplateElement::PartialBlock(_)
                | TemplateElement::DecoratorExpression(_)
                | TemplateElement::DecoratorBlock(_) => self.say(
                    at,
                    "decorators and partial blocks are not supported".into(),
                    Some("put the part into a file `_name.hbs` and write `{{> _name}}`".into()),
                ),
                _ => self.say(at, "this tag is not supported".into(), None),
            }
        }
    }

    fn expression(&mut self, at: Place<'_>, ht: &HelperTemplate, scope: &Scope<'_>, depth: usize) {
        let name_only = ht.params.is_empty() && ht.hash.is_empty();
        let is_helper = ht.name.as_name().is_some_and(|n| self.helpers.contains(&n));
        if name_only && !is_helper {
            self.value(at, &ht.name, scope, depth);
        } else {
            self.call(at, ht, scope, depth);
        }
    }

    fn call(&mut self, at: Place<'_>, ht: &HelperTemplate, scope: &Scope<'_>, depth: usize) {
        match ht.name.as_name() {
            Some(name) if self.helpers.contains(&name) => {}
            Some(name) => {
                let help = if ht.block && Self::resolve(&ht.name, scope).is_ok() {
                    format!("write `{{{{#if {name}}}}}` or `{{{{#each {name}}}}}`")
                } else {
                    suggest(name, self.helpers.iter().copied())
                };
                self.say(at, format!("there is no helper `{name}`"), Some(help));
            }
            None => self.say(at, "the name of a helper cannot be computed".into(), None),
        }
        for param in ht.params.iter().chain(ht.hash.values()) {
            self.value(at, param, scope, depth);
        }
    }

    fn block(&mut self, at: Place<'_>, ht: &HelperTemplate, scope: &Scope<'_>, depth: usize) {
        self.call(at, ht, scope, depth);
        let over = ht.params.first().and_then(|p| Self::resolve(p, scope).ok().flatten());
        let known = match &ht.block_param {
            None => Vec::new(),
            Some(param) => {
                use handlebars::template::BlockParam::{Pair, Single};
                match param {
                    Single(a) => vec![a],
                    Pair((a, b)) => vec![a, b],
                    _ => Vec::new(),
                }
                .into_iter()
                .filter_map(|p| p.as_name().map(ToOwned::to_owned))
                .collect()
            }
        };
        let inner = match ht.name.as_name() {
            // With block parameters the context stays the outer one.
            Some("each" | "with") if !known.is_empty() => {
                let known = [known, scope.known.clone()].concat();
                Some(Scope { here: scope.here, root: scope.root, up: Some(scope), known })
            }
            Some("each") => {
                let here = over.and_then(|v| match v {
                    Value::Array(items) => items.first(),
                    _ => None,
                });
                Some(Scope { here, root: scope.root, up: Some(scope), known: Vec::new() })
            }
            Some("with") => Some(Scope { here: over, root: scope.root, up: Some(scope), known: Vec::new() }),
            _ => None,
        };
        if let Some(template) = &ht.template {
            self.template(at.source, template, inner.as_ref().unwrap_or(scope), depth + 1);
        }
        if let Some(template) = &ht.inverse {
            self.template(at.source, template, scope, depth + 1);
        }
    }

    fn partial(&mut self, at: Place<'_>, dt: &DecoratorTemplate, scope: &Scope<'_>, depth: usize) {
        for param in dt.params.iter().chain(dt.hash.values()) {
            self.value(at, param, scope, depth);
        }
        let Some(name) = dt.name.as_name().filter(|n| !n.starts_with('@')) else {
            let help =
                "templates are checked before they are rendered, so the name cannot be computed".to_owned();
            return self.say(at, "the name of a partial cannot be computed".into(), Some(help));
        };
        let Some(parsed) = self.partials.get(name) else {
            let help = suggest(name, self.partials.keys().map(String::as_str));
            return self.say(at, format!("there is no partial `{name}`"), Some(help));
        };
        if let Some(start) = self.open.iter().position(|o| o == name) {
            let mut ring: Vec<String> = self.open.iter().skip(start).cloned().collect();
            let shown = format!("{} → {name}", ring.join(" → "));
            ring.sort();
            if !self.found.contains(&ring) {
                self.found.push(ring);
                let help = Some("a partial can include neither itself nor what includes it".to_owned());
                self.say(at, format!("`{name}` includes itself: {shown}"), help);
            }
            return;
        }
        let here = match dt.params.first() {
            Some(param) => Self::resolve(param, scope).ok().flatten(),
            None => scope.here,
        };
        let mut known: Vec<String> = dt.hash.keys().cloned().collect();
        if dt.params.is_empty() {
            known.extend(scope.known.iter().cloned());
        }
        self.open.push(name.to_owned());
        let inner = Scope { here, root: scope.root, up: scope.up, known };
        self.template(&parsed.source, &parsed.template, &inner, depth + 1);
        self.open.pop();
    }

    fn value(&mut self, at: Place<'_>, param: &Parameter, scope: &Scope<'_>, depth: usize) {
        if let Parameter::Subexpression(sub) = param {
            if depth > MAX_DEPTH {
                return self.say(at, format!("expressions are nested deeper than {MAX_DEPTH}"), None);
            }
            if let TemplateElement::Expression(ht) = sub.as_element() {
                self.call(at, ht, scope, depth + 1);
            }
            return;
        }
        if let Err(unknown) = Self::resolve(param, scope) {
            self.say(at, format!("there is no variable `{}`", unknown.name), Some(unknown.help));
        }
    }

    /// The value a name stands for; `Ok(None)` where that is not known before rendering.
    fn resolve<'s>(param: &Parameter, scope: &Scope<'s>) -> Result<Option<&'s Value>, Unknown> {
        let path = match param {
            Parameter::Path(path) => path.clone(),
            Parameter::Name(name) => match Path::parse(name) {
                Ok(path) => path,
                Err(_) => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Path::Relative((segments, raw)) = path else { return Ok(None) };
        let names: Vec<&str> = segments
            .iter()
            .filter_map(|s| match s {
                PathSeg::Named(n) => Some(n.as_str()),
                _ => None,
            })
            .collect();
        let mut rest = raw.as_str();
        let mut from = Some(scope);
        while let Some(tail) = rest.strip_prefix("../") {
            from = from.and_then(|s| s.up);
            rest = tail;
        }
        let mut here = if rest.starts_with("@root") { scope.root } else { from.and_then(|s| s.here) };
        if from.is_some_and(|s| names.first().is_some_and(|n| s.known.iter().any(|k| k == n))) {
            return Ok(None);
        }
        for name in names {
            here = match here {
                Some(Value::Object(map)) => {
                    let Some(value) = map.get(name) else {
                        let help = suggest(name, map.keys().map(String::as_str));
                        return Err(Unknown { name: raw, help });
                    };
                    Some(value)
                }
                Some(Value::Array(items)) => name.parse::<usize>().ok().and_then(|_| items.first()),
                Some(Value::Null) | None => None,
                Some(_) => {
                    return Err(Unknown {
                        help: format!("the value before `.{name}` has no fields"),
                        name: raw,
                    });
                }
            };
        }
        Ok(here)
    }
}

struct Unknown {
    name: String,
    help: String,
}

fn suggest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.collect();
    match nearest(name, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", known.join(", ")),
    }
}

/// The known name that a misspelt one most likely means.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    // Two letters that changed places are two edits.
    let letters = name.chars().count();
    let limit = if letters < 4 { 1 } else { (letters / 3).max(2) };
    known
        .iter()
        .map(|k| (distance(name, k, limit), *k))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// The edit distance, or more than `limit` where the lengths alone exceed it.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let b: Vec<char> = b.chars().collect();
    let a: Vec<char> = a.chars().take(200).collect();
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (cell, cb) in row.iter().skip(1).zip(&b) {
            let best = (corner + usize::from(ca != cb)).min(cell + 1).min(left + 1);
            corner = *cell;
            left = best;
            next.push(best);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
