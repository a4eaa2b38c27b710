//! Templates of the user: compiled together, because they include each other, and reported with the
//! same frames as everything else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::read::error::{At, Diagnostic, Level};
use super::read::files::{files, read_text};
use super::read::node::Span;
use super::read::source::Source;
use crate::template::{TemplateError, Templates, registry};

/// Everything that is wrong with these templates, put in the place of the shipped ones by name.
pub fn check(templates: &[(PathBuf, String)]) -> Vec<Diagnostic> {
    compile(templates).err().unwrap_or_default()
}

/// Compiles the templates of a directory (ConfigMap mounts included), or the shipped ones.
pub fn load(directory: Option<&Path>) -> Result<Templates, Vec<Diagnostic>> {
    let Some(directory) = directory else { return compile(&[]) };
    compile(&read(directory).map_err(|diagnostic| vec![*diagnostic])?)
}

/// The templates of a directory as they are written.
pub fn read(directory: &Path) -> Result<Vec<(PathBuf, String)>, Box<Diagnostic>> {
    let failed = |path: &Path, message: String| Box::new(Diagnostic::file(Level::Error, path, message));
    let listed = files(directory, &["hbs"]).map_err(|message| failed(directory, message))?;
    let mut read = Vec::with_capacity(listed.len());
    for file in listed {
        let text = read_text(&file).map_err(|message| failed(&file, message))?;
        read.push((file, text));
    }
    Ok(read)
}

fn compile(templates: &[(PathBuf, String)]) -> Result<Templates, Vec<Diagnostic>> {
    let sources: Vec<registry::Source> = templates
        .iter()
        .map(|(path, text)| registry::Source {
            file: path.display().to_string(),
            name: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            text: text.clone(),
        })
        .collect();
    let shown: HashMap<String, Arc<Source>> = templates
        .iter()
        .map(|(path, text)| (path.display().to_string(), Arc::new(Source::plain(path, text))))
        .collect();
    Templates::compile(&sources)
        .map_err(|errors| errors.iter().map(|error| diagnostic(error, &sources, &shown)).collect())
}

fn diagnostic(
    error: &TemplateError,
    sources: &[registry::Source],
    shown: &HashMap<String, Arc<Source>>,
) -> Diagnostic {
    let text = sources.iter().find(|source| source.file == error.file).map(|source| source.text.as_str());
    let found = match (text, shown.get(&error.file)) {
        (Some(text), Some(source)) => {
            let range = error.span(text);
            let at = At { source: Arc::clone(source), span: Span { start: range.start, end: range.end } };
            Diagnostic::at(Level::Error, &at, error.message.clone())
        }
        _ => Diagnostic::file(Level::Error, &error.file, error.message.clone()),
    };
    match &error.help {
        Some(help) => found.help(help.clone()),
        None => found,
    }
}
