//! A store that another process may be using: for looking at it, and for small changes, from the
//! command line.
//!
//! [`super::Store::open`] takes a lock that says "this bot is the only one": two would send
//! everything twice. A command that sends nothing does not need it. SQLite itself lets one process
//! write while others read, each in whole transactions; what the bot knows of the outbox it asks the
//! file for at every step, so a row that was queued again or dropped beside it is seen at its next
//! look, at the latest after a minute.
//!
//! Nothing is created, migrated or checked here: a file of another version is refused. On a network
//! file system the bot keeps the file to itself, and a command hears that it is locked.

use std::path::Path;

use rusqlite::Connection;

use super::schema::{self, MIGRATIONS};
use super::sqlite::{self, Opened};
use super::worker::Wakers;
use super::{Options, Store, StoreError, place};

/// What a store beside the bot is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedAccess {
    /// To look at it; never writes, also where it could.
    Reading,
    /// To change dead letters.
    Writing,
}

impl Store {
    /// Opens a file that is there, whether or not a bot has it open. What needs the writer fails
    /// with [`StoreError::Stopped`] where it is opened for reading.
    pub fn open_shared(path: &Path, access: SharedAccess) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Open {
                path: path.to_path_buf(),
                why: "there is no such file".to_owned(),
                help: "name the bot's store with --store, or its configuration with --config",
            });
        }
        let options = Options { path: Some(path.to_path_buf()), ..Options::default() };
        let opened = match access {
            SharedAccess::Reading => {
                let conn = sqlite::connect_reader(path)?;
                recognise(&conn, path)?;
                Opened::reading(conn, path)?
            }
            SharedAccess::Writing => {
                let conn = sqlite::connect_existing(path)?;
                sqlite::configure_shared(&conn, path, place::is_network(path))?;
                recognise(&conn, path)?;
                Opened::writing(conn, path, &options)?
            }
        };
        Ok(Self::over(options, std::sync::Arc::new(Wakers::default()), opened))
    }
}

fn recognise(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    schema::recognise(conn, path)?;
    schema::is_current(conn, path, MIGRATIONS)
}
