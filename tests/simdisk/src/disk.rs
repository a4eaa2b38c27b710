//! Files, faults and crashes, without SQLite.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vfs::Slot;

/// What a crash tears writes into, in bytes.
pub const SECTOR: usize = 512;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    Open,
    Read,
    Write,
    Truncate,
    Sync,
    Size,
    Delete,
    Exists,
    Lock,
    /// Takes a lock file.
    LockFile,
    /// Makes a file of a given size.
    Allocate,
    Rename,
    /// Asks how much can still be written.
    Free,
}

impl Kind {
    /// Can it change what a later life finds?
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(
            self,
            Self::Open
                | Self::Write
                | Self::Truncate
                | Self::Sync
                | Self::Delete
                | Self::Allocate
                | Self::Rename
        )
    }
}

/// One operation, before it happens.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Counts from 1 over the life of the disk, restarts included.
    pub number: u64,
    /// What is done.
    pub kind: Kind,
    /// To which file.
    pub file: &'a str,
    /// Where in the file; 0 where that means nothing.
    pub offset: u64,
    /// How many bytes; 0 where that means nothing.
    pub len: usize,
}

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Error {
    /// No space left (ENOSPC).
    Full,
    /// The device failed (EIO), or the process that asks is dead.
    Io,
    /// There is no such file (ENOENT).
    Missing,
    /// Somebody else holds a lock.
    Busy,
}

/// What happens at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It is done.
    None,
    /// It fails and changes nothing. A failed flush leaves what was written for the next one.
    Error(Error),
    /// Of a write, only the first bytes reach the file; other operations fail.
    Short(usize, Error),
    /// A flush reaches the disk and fails all the same: whether it happened is not known to who asked.
    Synced,
    /// A flush fails, and what was written since the last one is not flushed by later ones either,
    /// although it can be read until the next crash (what Linux does after a failed write-back).
    SyncDropped,
    /// The process ends before it.
    KillBefore,
    /// The process ends after it.
    KillAfter,
}

/// What a crash leaves of the writes that were not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of them: the process ended, the machine did not.
    Nothing,
    /// None of them.
    Everything,
    /// The first ones, the last of these torn.
    Tail(u64),
    /// Any sectors of any of them.
    Sectors(u64),
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Truncate(len) => content.truncate(*len),
            Self::Write { offset, bytes } => put(content, *offset, bytes),
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

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

/// What a program does with files beside SQLite.
impl SimDisk {
    /// Takes the lock file `name` for as long as the result lives; the text of who has it otherwise.
    pub fn lock(&self, name: &str, holder: &str) -> Result<Result<Held, String>, Error> {
        self.beside(Kind::LockFile, name, 0, |state| {
            if let Some((_, other)) = state.held.get(name) {
                return Ok(Err(other.clone()));
            }
            let id = state.id();
            state.held.insert(name.to_owned(), (id, holder.to_owned()));
            Ok(Ok(Held { disk: self.clone(), name: name.to_owned(), id }))
        })
    }

    /// A file's size; `None`: there is no such file.
    pub fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        self.beside(Kind::Size, name, 0, |state| {
            let data = state.names.get(name).and_then(|id| state.data.get(id));
            Ok(data.map(|data| data.live.len() as u64))
        })
    }

    /// How many bytes can still be written.
    pub fn free(&self) -> Result<u64, Error> {
        self.beside(Kind::Free, "", 0, |state| Ok(state.left()))
    }

    /// Makes a file of `bytes` zeros that survives a crash, or changes nothing.
    pub fn allocate(&self, name: &str, bytes: u64) -> Result<(), Error> {
        let len = usize::try_from(bytes).map_err(|_| Error::Full)?;
        self.beside(Kind::Allocate, name, len, |state| {
            if state.left() < bytes {
                return Err(Error::Full);
            }
            let id = state.id();
            let data = Data { live: vec![0; len], durable: Some(vec![0; len]), ..Data::default() };
            state.data.insert(id, data);
            state.names.insert(name.to_owned(), id);
            Ok(())
        })
    }

    /// Gives a file another name; one that has it already is replaced.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.beside(Kind::Rename, from, 0, |state| {
            let id = state.names.remove(from).ok_or(Error::Missing)?;
            state.names.insert(to.to_owned(), id);
            Ok(())
        })
    }

    /// Deletes a file.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.beside(Kind::Delete, name, 0, |state| state.names.remove(name).map(|_| ()).ok_or(Error::Missing))
    }

    fn beside<T>(
        &self,
        kind: Kind,
        name: &str,
        len: usize,
        work: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.0.operate(None, kind, name, 0, len, |state, fault| match fault {
            Fault::Short(_, error) => Err(error),
            _ => work(state),
        })
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

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n as u64).max(1)).unwrap_or(0)
    }
}

fn tail(mut content: Vec<u8>, pending: &[Change], random: &mut Random) -> Vec<u8> {
    let kept = random.below(pending.len() + 1);
    pending.iter().take(kept).for_each(|change| change.apply(&mut content));
    if let Some(Change::Write { offset, bytes }) = pending.get(kept) {
        let whole = random.below(bytes.len().div_ceil(SECTOR) + 1) * SECTOR;
        put(&mut content, *offset, &bytes[..whole.min(bytes.len())]);
    }
    content
}

fn sectors(mut content: Vec<u8>, pending: &[Change], random: &mut Random) -> Vec<u8> {
    for change in pending {
        match change {
            Change::Truncate(_) if random.below(2) == 0 => change.apply(&mut content),
            Change::Truncate(_) => {}
            Change::Write { offset, bytes } => {
                for (sector, part) in bytes.chunks(SECTOR).enumerate() {
                    if random.below(2) == 0 {
                        put(&mut content, offset + sector * SECTOR, part);
                    }
                }
            }
        }
    }
    content
}
