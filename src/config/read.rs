//! Reading files of people: every error at once, each with its frame. Sections are made of [`fields`] and
//! [`kind`]s, from which the reader and the [`schema`] both follow.

pub mod bytes;
pub mod duration;
pub mod error;
pub mod fields;
pub mod files;
pub mod kind;
mod mask;
pub mod node;
pub mod reader;
pub mod schema;
pub mod source;
pub mod suggest;
