//! Black-box tests. A crate root looks for its modules beside itself, hence the paths.

#[path = "it/apiserver.rs"]
mod apiserver;
#[path = "it/protocol.rs"]
mod protocol;
#[path = "it/recordings.rs"]
mod recordings;
