//! A store that another process may be using: for looking at it, and for small changes, from the
//! command line.
//!
//! [`crate::store::Store::open`] takes a lock that says "this bot is the only one": two would send
//! everything twice. A command that sends nothing does not need it. SQLite itself lets one process
//! write while others read, each in whole transactions; what the bot knows of the outbox it asks the
//! file for at every step, so a row that was queued again or dropped beside it is seen at its next
//! look, at the latest after a minute.
//!
//! Nothing is created, migrated or checked here: a file of another version is refused. On a network
//! file system the bot keeps the file to itself, and a command hears that it is locked.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::schema::{self, MIGRATIONS};
use super::session::Session;
use super::{configure_shared, connect_existing, connect_reader, place};
use crate::store::backend::{Backend, Opened};
use crate::store::health::Health;
use crate::store::{SharedAccess, StoreError};

pub(in crate::store) fn open_shared(path: &Path, access: SharedAccess) -> Result<Opened, StoreError> {
    if !path.is_file() {
        return Err(StoreError::Open {
            path: path.to_path_buf(),
            why: "there is no such file".to_owned(),
            help: "name the bot's store with --store, or its configuration with --config",
        });
    }
    let health = Arc::new(Health::default());
    let session = |conn: Connection| -> Result<Box<dyn Backend>, StoreError> {
        schema::recognise(&conn, path)?;
        schema::is_current(&conn, path, MIGRATIONS)?;
        Ok(Box::new(Session::new(conn, path.to_path_buf(), &health)))
    };
    let (writer, readers) = match access {
        SharedAccess::Reading => (None, vec![session(connect_reader(path)?)?]),
        SharedAccess::Writing => {
            let conn = connect_existing(path)?;
            configure_shared(&conn, path, place::is_network(path))?;
            (Some(session(conn)?), Vec::new())
        }
    };
    Ok(Opened { writer, readers, health })
}
