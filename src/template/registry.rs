//! The compiled templates.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use handlebars::{Handlebars, RenderError, Template};
use serde_json::Value;

use super::check::{self, Parsed};
use super::{Escaping, Name, SHIPPED_PARTIALS, TemplateError, helpers};

/// The largest output of a template, in bytes. A mail of this size is still shown by clients.
pub const MAX_OUTPUT: usize = 256 * 1024;
/// The largest source of a template, in bytes.
pub const MAX_SOURCE: usize = 64 * 1024;

/// The text of one template or partial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How errors name it: usually a path.
    pub file: String,
    /// The file name: `email.html.hbs`, or `_footer.hbs` for the partial `_footer`.
    pub name: String,
    pub text: String,
}

/// A template could not be rendered although it passed the checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {file} cannot be rendered: {message}")]
pub struct Failed {
    pub file: &'static str,
    pub message: String,
}

/// All templates, compiled and checked. Cheap to clone.
#[derive(Clone)]
pub struct Templates {
    registries: Arc<[(Escaping, Handlebars<'static>); 4]>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").finish_non_exhaustive()
    }
}

impl Templates {
    pub fn shipped() -> Result<Self, Vec<TemplateError>> {
        Self::compile(&[])
    }

    /// The shipped templates, with those in `directory` (`*.hbs`) in their place.
    pub fn load(directory: &Path) -> Result<Self, Vec<TemplateError>> {
        Self::compile(&read(directory)?)
    }

    /// The shipped templates, with `overrides` in their place. Reports everything that is wrong.
    pub fn compile(overrides: &[Source]) -> Result<Self, Vec<TemplateError>> {
        let mut errors = Vec::new();
        let mut mains: BTreeMap<&'static str, Source> = BTreeMap::new();
        let mut partials: BTreeMap<String, Source> = BTreeMap::new();
        for name in Name::ALL {
            mains.insert(name.file(), shipped(name.file(), name.shipped()));
        }
        for (name, text) in SHIPPED_PARTIALS {
            partials.insert((*name).to_owned(), shipped(&format!("{name}.hbs"), text));
        }
        for source in overrides {
            if let Some(name) = Name::ALL.iter().find(|n| n.file() == source.name) {
                mains.insert(name.file(), source.clone());
            } else if let Some(stem) = source.name.strip_suffix(".hbs").filter(|s| s.starts_with('_')) {
                partials.insert(stem.to_owned(), source.clone());
            } else {
                errors.push(unknown_file(source));
            }
        }

        let mut parse = |source: Source| -> Option<Parsed> {
            match check::parse(source) {
                Ok(parsed) => Some(parsed),
                Err(error) => {
                    errors.push(*error);
                    None
                }
            }
        };
        let mains: BTreeMap<_, _> =
            mains.into_iter().filter_map(|(file, s)| parse(s).map(|p| (file, p))).collect();
        let partials: BTreeMap<_, _> =
            partials.into_iter().filter_map(|(name, s)| parse(s).map(|p| (name, p))).collect();

        let registries = [Escaping::Slack, Escaping::Html, Escaping::Text, Escaping::Header].map(|format| {
            let mut hbs = helpers::registry(format);
            for (name, parsed) in &partials {
                hbs.register_template(name, parsed.named(name));
            }
            for name in Name::ALL.iter().filter(|n| n.format() == format) {
                if let Some(parsed) = mains.get(name.file()) {
                    hbs.register_template(name.file(), parsed.named(name.file()));
                }
            }
            (format, hbs)
        });
        let templates = Self { registries: Arc::new(registries) };
        errors.extend(check::all(&templates, &mains, &partials));
        errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        if errors.is_empty() { Ok(templates) } else { Err(errors) }
    }

    /// Renders one template. The output never exceeds [`MAX_OUTPUT`].
    pub fn render(&self, name: Name, values: &Value) -> Result<String, Failed> {
        self.try_render(name, values).map_err(|e| Failed { file: name.file(), message: describe(&e) })
    }

    pub(super) fn try_render(&self, name: Name, values: &Value) -> Result<String, RenderError> {
        let mut out = Capped { bytes: Vec::new(), max: MAX_OUTPUT };
        if let Some((_, hbs)) = self.registries.iter().find(|(f, _)| *f == name.format()) {
            hbs.render_to_write(name.file(), values, &mut out)?;
        }
        Ok(String::from_utf8(out.bytes)?)
    }
}

/// What went wrong, without the words "Error rendering …" that the position says already.
pub(super) fn describe(error: &RenderError) -> String {
    use handlebars::RenderErrorReason as R;
    match error.reason() {
        R::MissingVariable(Some(path)) => format!("there is no variable `{path}`"),
        R::MissingVariable(None) => "a variable is not there".to_owned(),
        R::HelperNotFound(name) => format!("there is no helper `{name}`"),
        R::PartialNotFound(name) => format!("there is no partial `{name}`"),
        R::IOError(e) => e.to_string(),
        other => other.to_string(),
    }
}

fn shipped(file: &str, text: &str) -> Source {
    Source { file: format!("templates/{file}"), name: file.to_owned(), text: text.to_owned() }
}

fn unknown_file(source: &Source) -> TemplateError {
    let known: Vec<&str> = Name::ALL.iter().map(|n| n.file()).collect();
    let help = match check::nearest(&source.name, &known) {
        Some(near) => format!("did you mean `{near}`? The names of partials begin with `_`"),
        None => format!("templates are {}; the names of partials begin with `_`", known.join(", ")),
    };
    TemplateError {
        file: source.file.clone(),
        line: 1,
        column: None,
        message: format!("`{}` is not the name of a template", source.name),
        help: Some(help),
        source_line: source.text.lines().next().unwrap_or_default().to_owned(),
    }
}

/// Reads the `*.hbs` files of a directory, sorted by name.
pub fn read(directory: &Path) -> Result<Vec<Source>, Vec<TemplateError>> {
    let failed = |path: &Path, e: &io::Error| TemplateError {
        file: path.display().to_string(),
        line: 1,
        column: None,
        message: format!("cannot be read: {e}"),
        help: None,
        source_line: String::new(),
    };
    let entries = std::fs::read_dir(directory).map_err(|e| vec![failed(directory, &e)])?;
    let (mut sources, mut errors) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(e) => {
                errors.push(failed(directory, &e));
                continue;
            }
        };
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if path.extension().is_none_or(|e| e != "hbs") {
            continue;
        }
        // Read with a cap: the size of a mounted file is not ours to choose.
        let text = std::fs::File::open(&path).and_then(|f| {
            let mut text = String::new();
            io::Read::read_to_string(&mut io::Read::take(f, MAX_SOURCE as u64 + 1), &mut text).map(|_| text)
        });
        match text {
            Ok(text) => {
                sources.push(Source { file: path.display().to_string(), name: name.to_owned(), text });
            }
            Err(e) => errors.push(failed(&path, &e)),
        }
    }
    sources.sort_by(|a: &Source, b| a.name.cmp(&b.name));
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

/// Refuses to grow past its limit: a template over a long list ends in an error, not in a swap storm.
struct Capped {
    bytes: Vec<u8>,
    max: usize,
}

impl Write for Capped {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(buf.len()) > self.max {
            return Err(io::Error::other(format!("the output is larger than {} KiB", self.max / 1024)));
        }
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Parsed {
    fn named(&self, name: &str) -> Template {
        let mut template = self.template.clone();
        template.name = Some(name.to_owned());
        template
    }
}
