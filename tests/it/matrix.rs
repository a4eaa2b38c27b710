//! Bad receivers: every way in which the other side can fail, for every notifier, over real sockets.
//! What each comes to is one table, [`table`], which is also the one in docs/delivery.md.

#[path = "matrix/alerts.rs"]
mod alerts;
