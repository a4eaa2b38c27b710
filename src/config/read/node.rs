//! What people wrote, as a tree in which every node knows its place.
//!
//! The tree is untyped: a scalar is text until a reader asks for a number or a duration, so `no` and `1.10`
//! never change under the author's hands.

/// A place in a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A part of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    pub value: Value,
    /// Where it is used.
    pub span: Span,
    /// Where it was written, if an alias stands in its place.
    pub origin: Option<Span>,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing: `key:`, `~`, `null`.
    Null,
    /// A scalar, with all escapes resolved.
    Text {
        text: String,
        /// Written without quotes: it may be meant as a number or a truth value.
        plain: bool,
    },
    List(Vec<Node>),
    /// A mapping, in the order written, each key once.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar; of anything else an empty one.
    pub fn text(&self) -> &str {
        if let Value::Text { text, .. } = &self.value { text } else { "" }
    }
}
