//! Bad receivers: every way in which the other side can fail, for every notifier, over real sockets.
//! What each comes to is one table, [`table`], which is also the one in docs/delivery.md.

#[path = "matrix/alerts.rs"]
mod alerts;
#[path = "matrix/http.rs"]
mod http;
#[path = "matrix/peer.rs"]
mod peer;
#[path = "matrix/pki.rs"]
mod pki;
#[path = "matrix/presets.rs"]
mod presets;
#[path = "matrix/smtp.rs"]
mod smtp;
#[path = "matrix/table.rs"]
mod table;
#[path = "matrix/way.rs"]
mod way;
