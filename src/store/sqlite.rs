//! SQLite: all SQL, and everything about its files.

mod alerts;
mod commit;
mod disk;
mod fallback;
mod folds;
mod history;
mod listing;
mod memory;
mod place;
mod refusals;
mod room;
mod rows;
mod salvage;
mod schema;
mod session;
mod shared_access;
mod trail;
mod trouble;
mod upkeep;
mod value;
mod waits;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

pub use self::disk::{Disk, Held, LockError, RealDisk};
pub use self::room::Budget;
pub(super) use self::shared_access::open_shared;

use self::schema::MIGRATIONS;
use self::session::{Session, store_error};
use self::trouble::Keeper;
use super::backend::{Backend, Opened};
use super::health::{Health, SetAside};
use super::{Driver, Durability, Options, StoreError};

/// One long query must not keep the dispatchers from finding their next row.
const READERS: usize = 2;
/// Files up to this size are read through once at start, to find damage before work depends on it;
/// damage in larger ones is found where it is read.
const CHECK_UP_TO_BYTES: u64 = 64 << 20;
/// What `PRAGMA auto_vacuum` calls incremental.
const INCREMENTAL: i64 = 2;
pub(super) fn open(options: &Options) -> Result<Opened, StoreError> {
    let path = options.path.clone().unwrap_or_else(|| PathBuf::from(":memory:"));
    let disk = &*options.disk;
    let lock = options.path.as_deref().map(|path| place::lock(disk, path)).transpose()?;
    let exclusive = options.exclusive
        || options.driver == Driver::Inline
        || options.path.as_deref().is_some_and(|path| disk.is_network(path));
    let health = Arc::new(Health::default());
    let keeper = options.budget.zip(options.path.clone()).map(|(budget, file)| Keeper {
        disk: Arc::clone(&options.disk),
        file,
        budget,
    });
    let opened = match (open_file(options, &path, exclusive), &keeper) {
        // What opening itself has to write: a log, a schema that is brought up to date.
        (Err(StoreError::Full { .. } | StoreError::Open { .. }), Some(keeper))
            if disk.remove(&keeper.reserve()).is_ok() =>
        {
            tracing::warn!(path = %path.display(), "no room to open the store: the reserve was given up for it");
            open_file(options, &path, exclusive)
        }
        (opened, _) => opened,
    };
    let conn = match (opened, &keeper) {
        (Err(StoreError::Corrupt { why, .. }), Some(_)) => {
            begin_anew(options, &path, exclusive, &why, &health)?
        }
        (opened, _) => opened?,
    };
    let mut writer = Session::new(conn, path.clone(), &health);
    writer.lock = lock;
    writer.keeper = keeper;
    room::prepare(&mut writer, options.now)?;
    room::keep_reserve(&mut writer);

    let mut readers: Vec<Box<dyn Backend>> = Vec::new();
    // One connection only: queries take their turn with the writes.
    if let Some(file) = options.path.as_deref().filter(|_| !exclusive) {
        for _ in 0..READERS {
            readers.push(Box::new(Session::new(connect_reader(file)?, path.clone(), &health)));
        }
    }
    Ok(Opened { writer: Some(Box::new(writer)), readers, health })
}

/// Opens the file, checks it, and brings its schema up to date.
fn open_file(options: &Options, path: &Path, exclusive: bool) -> Result<Connection, StoreError> {
    let conn = connect(options.path.as_deref(), &*options.disk)?;
    configure(&conn, path, options, exclusive)?;
    schema::migrate(&conn, path, MIGRATIONS)?;
    Ok(conn)
}

/// Sets a damaged file aside and carries over what can be read of it.
fn begin_anew(
    options: &Options,
    path: &Path,
    exclusive: bool,
    why: &str,
    health: &Health,
) -> Result<Connection, StoreError> {
    let disk = &*options.disk;
    let aside = salvage::set_aside(disk, path, options.now)?;
    tracing::error!(path = %path.display(), aside = %aside.display(), why, "the store is damaged and was set aside");
    let conn = open_file(options, path, exclusive)?;
    let Ok(damaged) = connect_with(&aside, OpenFlags::SQLITE_OPEN_READ_WRITE, disk.vfs()) else {
        health.update(|health| health.set_aside = Some(SetAside::unread(aside, why)));
        return Ok(conn);
    };
    if exclusive {
        damaged.execute_batch("PRAGMA locking_mode = EXCLUSIVE").ok();
    }
    let failed = |e| store_error("carry over what can be read", path, e);
    conn.execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE").map_err(failed)?;
    let carried = salvage::carry_over(&damaged, &conn, &aside, why);
    conn.execute_batch("COMMIT; PRAGMA foreign_keys = ON").map_err(failed)?;
    tracing::error!(kept = ?carried.kept, incomplete = ?carried.incomplete,
        "a new store goes on with what could be read of the damaged one");
    health.update(|health| health.set_aside = Some(carried));
    Ok(conn)
}

fn connect(path: Option<&Path>, disk: &dyn Disk) -> Result<Connection, StoreError> {
    let Some(path) = path else {
        return Connection::open_in_memory()
            .map_err(|e| store_error("open memory", Path::new(":memory:"), e));
    };
    // What hinders it hinders SQLite as well, which says it better.
    disk.keep_private(path).ok();
    connect_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE, disk.vfs())
}

/// Does not make the file.
fn connect_existing(path: &Path) -> Result<Connection, StoreError> {
    connect_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE, None)
}

fn connect_with(path: &Path, flags: OpenFlags, vfs: Option<&str>) -> Result<Connection, StoreError> {
    // NO_MUTEX: each connection has one thread. No URI: a path is a path.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = match vfs {
        None => Connection::open_with_flags(path, flags),
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
    };
    let conn = conn.map_err(|e| store_error("open", path, e))?;
    // SQLite falls back to reading when it may not write, and would only say so at the first write.
    if conn.is_readonly("main").map_err(|e| store_error("open", path, e))? {
        return Err(StoreError::ReadOnly { path: path.to_path_buf() });
    }
    Ok(conn)
}

fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |e| store_error("open for reading", path, e);
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    conn.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA query_only = ON").map_err(failed)?;
    Ok(conn)
}

fn configure(conn: &Connection, path: &Path, options: &Options, exclusive: bool) -> Result<(), StoreError> {
    let failed = |e| store_error("configure", path, e);
    conn.execute_batch("PRAGMA busy_timeout = 5000").map_err(failed)?;
    if exclusive && options.path.is_some() {
        // Before the first read: reading a file that has a write-ahead log maps the shared memory that
        // this mode does without, and that a file system shared among machines does not have.
        conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE").map_err(failed)?;
    }
    schema::recognise(conn, path)?;
    if options.path.is_some() {
        // Before the first table is made, or it has no effect; and only then, since setting it writes to
        // the file, for which there may be no room.
        let mode: i64 = conn.query_row("PRAGMA auto_vacuum", [], |r| r.get(0)).map_err(failed)?;
        if mode != INCREMENTAL {
            conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(failed)?;
        }
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0)).map_err(failed)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(StoreError::Open {
                path: path.to_path_buf(),
                why: format!("no write-ahead log here (journal mode {mode})"),
                help: "put it on a local file system",
            });
        }
    }
    // FULL, because NORMAL may lose the last commits when power is lost: a promise already made.
    let synchronous = match options.durability {
        Durability::Power => "FULL",
        Durability::Process => "OFF",
    };
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous};
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA journal_size_limit = 67108864"
    ))
    .map_err(failed)?;
    quick_check(conn, path, &*options.disk)
}

/// For a connection beside the bot's own: no settings of the file are touched.
fn configure_shared(conn: &Connection, path: &Path, exclusive: bool) -> Result<(), StoreError> {
    let mode = if exclusive { "PRAGMA locking_mode = EXCLUSIVE;" } else { "" };
    conn.execute_batch(&format!(
        "PRAGMA busy_timeout = 5000; {mode}
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY"
    ))
    .map_err(|e| store_error("configure", path, e))
}

fn quick_check(conn: &Connection, path: &Path, disk: &dyn Disk) -> Result<(), StoreError> {
    let failed = |e| store_error("check", path, e);
    let suspect = trouble::suspect(path);
    let suspected = disk.size(&suspect).ok().flatten().is_some();
    if !suspected && disk.size(path).ok().flatten().unwrap_or(0) > CHECK_UP_TO_BYTES {
        return Ok(());
    }
    // Also that indexes and tables agree, where an earlier process met damage.
    let check = if suspected { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
    let found: String = conn.query_row(check, [], |r| r.get(0)).map_err(failed)?;
    if found != "ok" {
        return Err(StoreError::Corrupt { path: path.to_path_buf(), why: found });
    }
    if suspected {
        disk.remove(&suspect).ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
