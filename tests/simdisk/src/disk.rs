//! Files, faults and crashes, without SQLite.

mod beside;
mod content;
mod operation;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::content::{Change, Random, put, sectors, tail};
pub use self::operation::{Error, Fault, Kind, Loss, Operation};
use crate::vfs::Slot;

/// What a crash tears writes into, in bytes.
pub const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Data {
    /// What is read.
    live: Vec<u8>,
    /// What survives any crash; `None`: not even the name does.
    durable: Option<Vec<u8>>,
    /// Since the last flush.
    pending: Vec<Change>,
    /// SQLite's locks, by handle.
    locks: BTreeMap<u64, i32>,
}

type Hook = dyn FnMut(&Operation<'_>) -> Fault + Send;

#[derive(Default)]
struct State {
    names: BTreeMap<String, u64>,
    data: BTreeMap<u64, Data>,
    /// Lock files that are held, and what their holders wrote into them.
    held: BTreeMap<String, (u64, String)>,
    capacity: Option<u64>,
    next_id: u64,
    operations: u64,
    counts: BTreeMap<Kind, u64>,
    frozen: bool,
    /// Handles of an earlier life are dead for ever.
    life: u64,
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.data.get(id)).map(|data| data.live.len() as u64).sum()
    }

    fn left(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    fn room_for(&self, data: u64, end: usize) -> bool {
        let len = self.data.get(&data).map_or(0, |data| data.live.len());
        self.left() >= end.saturating_sub(len) as u64
    }
}

/// A disk in memory; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    state: Mutex<State>,
    hook: Mutex<Option<Box<Hook>>>,
    slot: Slot,
}

/// An open file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handle {
    id: u64,
    data: u64,
    life: u64,
}

/// A lock file that is held until this is dropped, or until the process that held it is dead.
pub struct Held {
    disk: SimDisk,
    name: String,
    id: u64,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk without limit and without faults.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new_cyclic(|disk| Inner {
            state: Mutex::default(),
            hook: Mutex::default(),
            slot: Slot::take(disk.clone()),
        }))
    }

    /// The name under which SQLite knows it, as long as the disk exists.
    #[must_use]
    pub fn vfs(&self) -> &'static str {
        self.0.slot.name()
    }

    /// Asks `hook` what happens at each operation. It must not use this disk's files; it may
    /// freeze the disk.
    pub fn on_operation(&self, hook: impl FnMut(&Operation<'_>) -> Fault + Send + 'static) {
        *lock(&self.0.hook) = Some(Box::new(hook));
    }

    /// No more faults.
    pub fn heal(&self) {
        *lock(&self.0.hook) = None;
    }

    /// All files together may have so many bytes; `None`: any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.0.state).capacity = bytes;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        lock(&self.0.state).used()
    }

    /// The number of the last operation.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.0.state).operations
    }

    /// How many operations of each kind there were.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Kind, u64> {
        lock(&self.0.state).counts.clone()
    }

    /// The process is dead: everything fails and nothing changes until [`Self::restart`].
    pub fn freeze(&self) {
        lock(&self.0.state).frozen = true;
    }

    /// Is the process dead?
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        lock(&self.0.state).frozen
    }

    /// Ends what is left of the process and lets the next one begin, with what the crash left.
    pub fn restart(&self, loss: Loss) {
        let mut state = lock(&self.0.state);
        state.frozen = false;
        state.life += 1;
        state.held.clear();
        let names = std::mem::take(&mut state.names);
        let mut data = std::mem::take(&mut state.data);
        let mut random = Random(match loss {
            Loss::Tail(seed) | Loss::Sectors(seed) => seed,
            Loss::Nothing | Loss::Everything => 0,
        });
        for (name, id) in names {
            let Some(mut file) = data.remove(&id) else { continue };
            file.locks.clear();
            let survives = match loss {
                Loss::Nothing => true,
                Loss::Everything => false,
                Loss::Tail(_) | Loss::Sectors(_) => random.below(2) == 0,
            };
            if file.durable.is_none() && !survives {
                continue;
            }
            let pending = std::mem::take(&mut file.pending);
            file.live = match loss {
                Loss::Nothing => file.live,
                Loss::Everything => file.durable.take().unwrap_or_default(),
                Loss::Tail(_) => tail(file.durable.take().unwrap_or_default(), &pending, &mut random),
                Loss::Sectors(_) => sectors(file.durable.take().unwrap_or_default(), &pending, &mut random),
            };
            file.durable = Some(file.live.clone());
            state.names.insert(name, id);
            state.data.insert(id, file);
        }
    }

    /// The names of all files.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.0.state).names.keys().cloned().collect()
    }

    /// A file's content, for tests to look at; no operation.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = lock(&self.0.state);
        state.names.get(name).and_then(|id| state.data.get(id)).map(|data| data.live.clone())
    }

    /// Puts a file there, or another content into it, for tests to damage it; no operation.
    pub fn set_content(&self, name: &str, content: Vec<u8>) {
        let mut state = lock(&self.0.state);
        let id = state.names.get(name).copied().unwrap_or_else(|| state.id());
        state.names.insert(name.to_owned(), id);
        let file = state.data.entry(id).or_default();
        file.pending.clear();
        file.durable = Some(content.clone());
        file.live = content;
    }
}

/// What the VFS does.
impl Inner {
    pub(crate) fn open(&self, name: Option<&str>, create: bool) -> Result<Handle, Error> {
        // A temporary file has no name, and nobody finds it later.
        self.operate(None, Kind::Open, name.unwrap_or("(temporary)"), 0, 0, |state, _| {
            let known = name.and_then(|name| state.names.get(name).copied());
            let data = match known {
                Some(data) => data,
                None if create || name.is_none() => {
                    let data = state.id();
                    state.data.insert(data, Data::default());
                    if let Some(name) = name {
                        state.names.insert(name.to_owned(), data);
                    }
                    data
                }
                None => return Err(Error::Missing),
            };
            Ok(Handle { id: state.id(), data, life: state.life })
        })
    }

    pub(crate) fn exists(&self, name: &str) -> Result<bool, Error> {
        self.operate(None, Kind::Exists, name, 0, 0, |state, _| Ok(state.names.contains_key(name)))
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), Error> {
        self.operate(None, Kind::Delete, name, 0, 0, |state, _| {
            state.names.remove(name).map(|_| ()).ok_or(Error::Missing)
        })
    }

    /// Fills `out` as far as the file goes and says how far that was.
    pub(crate) fn read(
        &self,
        handle: Handle,
        name: &str,
        out: &mut [u8],
        offset: u64,
    ) -> Result<usize, Error> {
        self.operate(Some(handle), Kind::Read, name, offset, out.len(), |state, fault| {
            let at = usize::try_from(offset).map_err(|_| Error::Io)?;
            let live = state.data.get(&handle.data).map_or(&[][..], |data| &data.live);
            let there = live.get(at..).unwrap_or_default();
            let mut len = there.len().min(out.len());
            if let Fault::Short(most, _) = fault {
                len = len.min(most);
            }
            out[..len].copy_from_slice(&there[..len]);
            Ok(len)
        })
    }

    pub(crate) fn write(&self, handle: Handle, name: &str, bytes: &[u8], offset: u64) -> Result<(), Error> {
        self.operate(Some(handle), Kind::Write, name, offset, bytes.len(), |state, fault| {
            let at = usize::try_from(offset).map_err(|_| Error::Io)?;
            let (bytes, failed) = match fault {
                Fault::Short(most, error) => (&bytes[..most.min(bytes.len())], Some(error)),
                _ => (bytes, None),
            };
            if !state.room_for(handle.data, at + bytes.len()) {
                return Err(Error::Full);
            }
            let Some(data) = state.data.get_mut(&handle.data) else { return Err(Error::Io) };
            put(&mut data.live, at, bytes);
            data.pending.push(Change::Write { offset: at, bytes: bytes.to_vec() });
            failed.map_or(Ok(()), Err)
        })
    }

    pub(crate) fn truncate(&self, handle: Handle, name: &str, len: u64) -> Result<(), Error> {
        let len = usize::try_from(len).map_err(|_| Error::Io)?;
        self.operate(Some(handle), Kind::Truncate, name, 0, len, |state, fault| {
            if let Fault::Short(_, error) = fault {
                return Err(error);
            }
            let Some(data) = state.data.get_mut(&handle.data) else { return Err(Error::Io) };
            data.live.truncate(len);
            data.pending.push(Change::Truncate(len));
            Ok(())
        })
    }

    pub(crate) fn sync(&self, handle: Handle, name: &str) -> Result<(), Error> {
        self.operate(Some(handle), Kind::Sync, name, 0, 0, |state, fault| {
            let Some(data) = state.data.get_mut(&handle.data) else { return Err(Error::Io) };
            let pending = std::mem::take(&mut data.pending);
            match fault {
                Fault::SyncDropped => return Err(Error::Io),
                Fault::Short(_, error) => {
                    data.pending = pending;
                    return Err(error);
                }
                _ => {}
            }
            let durable = data.durable.get_or_insert_default();
            pending.iter().for_each(|change| change.apply(durable));
            if fault == Fault::Synced { Err(Error::Io) } else { Ok(()) }
        })
    }

    pub(crate) fn file_size(&self, handle: Handle, name: &str) -> Result<u64, Error> {
        self.operate(Some(handle), Kind::Size, name, 0, 0, |state, _| {
            Ok(state.data.get(&handle.data).map_or(0, |data| data.live.len() as u64))
        })
    }

    /// Raises SQLite's lock of this handle to `level` (1 shared, 2 reserved, 4 exclusive).
    pub(crate) fn raise(&self, handle: Handle, name: &str, level: i32) -> Result<(), Error> {
        self.operate(Some(handle), Kind::Lock, name, 0, 0, |state, _| {
            let Some(data) = state.data.get_mut(&handle.data) else { return Err(Error::Io) };
            let own = data.locks.get(&handle.id).copied().unwrap_or(0);
            if own >= level {
                return Ok(());
            }
            let others = data.locks.iter().filter(|(id, _)| **id != handle.id).map(|(_, level)| *level).max();
            let others = others.unwrap_or(0);
            let allowed = match level {
                1 => others < 3,
                2 => others < 2,
                _ if others >= 2 => false,
                // Pending: no new readers, and those that are there may finish.
                _ if others == 1 => {
                    data.locks.insert(handle.id, 3);
                    false
                }
                _ => true,
            };
            if !allowed {
                return Err(Error::Busy);
            }
            data.locks.insert(handle.id, level);
            Ok(())
        })
    }

    /// Lowers it. No operation: it cannot fail, and dead processes hold no locks.
    pub(crate) fn lower(&self, handle: Handle, level: i32) {
        let mut state = lock(&self.state);
        if handle.life == state.life
            && let Some(data) = state.data.get_mut(&handle.data)
        {
            match level {
                0 => data.locks.remove(&handle.id),
                level => data.locks.insert(handle.id, level),
            };
        }
    }

    pub(crate) fn is_reserved(&self, handle: Handle) -> bool {
        let state = lock(&self.state);
        state.data.get(&handle.data).is_some_and(|data| data.locks.values().any(|level| *level >= 2))
    }

    /// Counts the operation, asks what happens at it, and does it.
    fn operate<T>(
        &self,
        handle: Option<Handle>,
        kind: Kind,
        file: &str,
        offset: u64,
        len: usize,
        work: impl FnOnce(&mut State, Fault) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let number = {
            let mut state = lock(&self.state);
            if state.frozen || handle.is_some_and(|handle| handle.life != state.life) {
                return Err(Error::Io);
            }
            state.operations += 1;
            *state.counts.entry(kind).or_default() += 1;
            state.operations
        };
        // Without the state's lock: the hook may freeze the disk.
        let operation = Operation { number, kind, file, offset, len };
        let fault = lock(&self.hook).as_mut().map_or(Fault::None, |hook| hook(&operation));
        let mut state = lock(&self.state);
        if state.frozen {
            return Err(Error::Io);
        }
        match fault {
            Fault::Error(error) => Err(error),
            Fault::KillBefore => {
                state.frozen = true;
                Err(Error::Io)
            }
            Fault::KillAfter => {
                work(&mut state, Fault::None).ok();
                state.frozen = true;
                Err(Error::Io)
            }
            fault => work(&mut state, fault),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = lock(&self.disk.0.state);
        if state.held.get(&self.name).is_some_and(|(id, _)| *id == self.id) {
            state.held.remove(&self.name);
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("vfs", &self.vfs()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("name", &self.name).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
