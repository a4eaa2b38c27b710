//! Bad receivers: every way in which the other side can fail, for every notifier, over real sockets.
//! What each comes to is one table, [`table`], which is also the one in docs/delivery.md.

mod alerts;
mod http;
mod peer;
mod pki;
mod presets;
mod smtp;
mod table;
mod way;
