//! Checks a rule's `summary`, so that a misspelt variable is found at load and not at three in the
//! morning.

use handlebars::Template;
use handlebars::template::{HelperTemplate, Parameter, TemplateElement};

use super::suggest;

/// What a summary may name.
pub const VARIABLES: &[&str] = &[
    "cause",
    "workload",
    "namespace",
    "container",
    "node",
    "image",
    "exit",
    "why",
    "members_total",
    "replicas",
    "occurrences",
    "reason",
    "severity",
    "rule",
];

/// Blocks that a summary may use.
const BLOCKS: &[&str] = &["if", "unless"];

/// The longest template, in bytes: it makes one line.
const MAX: usize = 500;

/// Why a text is no summary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SummaryError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Checks syntax and variables.
pub fn check(text: &str) -> Result<(), SummaryError> {
    let error = |message: String| Err(SummaryError { message, help: None });
    if text.len() > MAX {
        return error(format!("a summary has at most {MAX} bytes"));
    }
    if text.contains('\n') {
        return error("a summary is one line".into());
    }
    match Template::compile(text) {
        Ok(template) => template_names(&template),
        Err(wrong) => error(format!("this is no handlebars template: {}", wrong.reason())),
    }
}

fn template_names(template: &Template) -> Result<(), SummaryError> {
    for element in &template.elements {
        match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
            TemplateElement::Expression(it) | TemplateElement::HtmlExpression(it) => {
                if !it.params.is_empty() || !it.hash.is_empty() {
                    return unknown_helper(&it.name);
                }
                variable(&it.name)?;
            }
            TemplateElement::HelperBlock(it) => block(it)?,
            _ => {
                return Err(SummaryError {
                    message: "partials and decorators cannot be used in a summary".into(),
                    help: None,
                });
            }
        }
    }
    Ok(())
}

fn block(it: &HelperTemplate) -> Result<(), SummaryError> {
    if !BLOCKS.contains(&raw(&it.name)) {
        return unknown_helper(&it.name);
    }
    it.params.iter().try_for_each(variable)?;
    it.template.iter().chain(&it.inverse).try_for_each(template_names)
}

fn unknown_helper(name: &Parameter) -> Result<(), SummaryError> {
    Err(SummaryError {
        message: format!("`{}` is no helper of summaries", raw(name)),
        help: Some(format!("the helpers are {}", suggest::join(BLOCKS.iter().copied()))),
    })
}

fn variable(parameter: &Parameter) -> Result<(), SummaryError> {
    let name = raw(parameter);
    if matches!(parameter, Parameter::Literal(_)) || VARIABLES.contains(&name) {
        return Ok(());
    }
    let help = suggest::nearest(name, VARIABLES.iter().copied()).map_or_else(
        || format!("the variables are {}", suggest::join(VARIABLES.iter().copied())),
        super::read::did_you_mean,
    );
    Err(SummaryError { message: format!("`{name}` is no variable of summaries"), help: Some(help) })
}

fn raw(parameter: &Parameter) -> &str {
    use handlebars::Path;
    match parameter {
        Parameter::Name(name) | Parameter::Path(Path::Relative((_, name)) | Path::Local((_, _, name))) => {
            name
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        check(text)
            .map_or_else(|e| format!("{} | {}", e.message, e.help.unwrap_or_default()), |()| "fine".into())
    }

    #[test]
    fn summaries() {
        assert_eq!(wrong("{{workload}} keeps crashing ({{exit}})"), "fine");
        assert_eq!(wrong("{{#if exit}}{{exit}}{{else}}{{{why}}}{{/if}}"), "fine");
        assert_eq!(wrong("plain"), "fine");
        assert_eq!(wrong("{{wrkload}}"), "`wrkload` is no variable of summaries | did you mean `workload`?");
        assert_eq!(
            wrong("{{#if exti}}x{{/if}}"),
            "`exti` is no variable of summaries | did you mean `exit`?"
        );
        assert_eq!(
            wrong("{{#each why}}x{{/each}}"),
            "`each` is no helper of summaries | the helpers are `if` and `unless`"
        );
        assert_eq!(
            wrong("{{upper why}}"),
            "`upper` is no helper of summaries | the helpers are `if` and `unless`"
        );
        assert_eq!(wrong("{{> header}}"), "partials and decorators cannot be used in a summary | ");
        assert!(wrong("{{workload").starts_with("this is no handlebars template: "));
        assert_eq!(wrong("a\nb"), "a summary is one line | ");
    }
}
