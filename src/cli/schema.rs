//! `kubeherald schema`

use std::io::Write;

use clap::{Args, ValueEnum};

use super::Failure;
use crate::config::schema;

/// See `kubeherald schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of which files.
    #[arg(value_enum, default_value_t = Of::Config)]
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Of {
    /// The configuration file.
    Config,
    /// Rule files.
    Rules,
}

/// Prints the schema.
pub fn schema(args: &SchemaArgs) -> Result<(), Failure> {
    let schema = match args.of {
        Of::Config => schema::config(),
        Of::Rules => schema::rules(),
    };
    writeln!(std::io::stdout().lock(), "{schema:#}")?;
    Ok(())
}
