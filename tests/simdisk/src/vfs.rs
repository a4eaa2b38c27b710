//! SQLite's interface to a disk: a table of C functions for each disk, and one for open files.
//!
//! SQLite keeps pointers to registered tables for as long as it likes, so they are never freed but
//! used again: a [`Slot`] is one registered table and the disk that it stands for at the moment.
#![allow(unsafe_code, reason = "SQLite's interface is C")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rusqlite::ffi;

use crate::disk::{Error, Handle, Inner};

/// One registered VFS.
#[derive(Clone, Copy)]
struct Registered {
    name: &'static str,
    disk: &'static Mutex<Weak<Inner>>,
}

/// Those that stand for no disk now.
static IDLE: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

/// How many were ever registered.
static NUMBER: Mutex<usize> = Mutex::new(0);

/// A registered VFS in use; given back when dropped.
pub(crate) struct Slot(Registered);

impl Slot {
    pub(crate) fn take(disk: Weak<Inner>) -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let slot = idle.unwrap_or_else(register);
        *slot.disk.lock().unwrap_or_else(PoisonError::into_inner) = disk;
        Self(slot)
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.0.name
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.disk.lock().unwrap_or_else(PoisonError::into_inner) = Weak::new();
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

fn register() -> Registered {
    let number = {
        let mut number = NUMBER.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        *number
    };
    let name: &'static CStr =
        Box::leak(CString::new(format!("simdisk-{number}")).expect("no zero byte in it").into_boxed_c_str());
    let disk: &'static Mutex<Weak<Inner>> = Box::leak(Box::new(Mutex::new(Weak::new())));
    let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: c_int::try_from(size_of::<File>()).expect("two pointers"),
        mxPathname: 1024,
        pNext: ptr::null_mut(),
        zName: name.as_ptr(),
        pAppData: ptr::from_ref(disk).cast_mut().cast(),
        xOpen: Some(x_open),
        xDelete: Some(x_delete),
        xAccess: Some(x_access),
        xFullPathname: Some(x_full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(x_randomness),
        xSleep: Some(x_sleep),
        xCurrentTime: Some(x_current_time),
        xGetLastError: Some(x_last_error),
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }));
    // SAFETY: the table and its name are leaked, so they outlive every use by SQLite.
    let done = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
    assert_eq!(done, ffi::SQLITE_OK, "SQLite takes another VFS");
    Registered { name: name.to_str().expect("ASCII"), disk }
}

/// What SQLite holds of an open file: it gives `szOsFile` bytes, the first of which are its own.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// From `Box::into_raw`; freed by `x_close`.
    open: *mut Open,
}

struct Open {
    /// Keeps the disk while a file of it is open.
    disk: Arc<Inner>,
    handle: Handle,
    name: String,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 1 has no shared memory.
    iVersion: 1,
    xClose: Some(x_close),
    xRead: Some(x_read),
    xWrite: Some(x_write),
    xTruncate: Some(x_truncate),
    xSync: Some(x_sync),
    xFileSize: Some(x_file_size),
    xLock: Some(x_lock),
    xUnlock: Some(x_unlock),
    xCheckReservedLock: Some(x_check_reserved_lock),
    xFileControl: Some(x_file_control),
    xSectorSize: Some(x_sector_size),
    xDeviceCharacteristics: Some(x_device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// What SQLite calls an error; `io` names the operation.
const fn code(error: Error, io: c_int) -> c_int {
    match error {
        Error::Full => ffi::SQLITE_FULL,
        Error::Busy => ffi::SQLITE_BUSY,
        Error::Io | Error::Missing => io,
    }
}

const fn answer(result: Result<(), Error>, io: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => code(error, io),
    }
}

/// The disk of a VFS.
///
/// # Safety
/// `vfs` is one that `register` made.
unsafe fn disk_of(vfs: *mut ffi::sqlite3_vfs) -> Option<Arc<Inner>> {
    // SAFETY: `register` put a leaked `Mutex<Weak<Inner>>` there.
    let disk = unsafe { &*(*vfs).pAppData.cast::<Mutex<Weak<Inner>>>() };
    disk.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
}

/// # Safety
/// `name` is null or a string that ends with a zero byte.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: see above.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

/// # Safety
/// `file` was opened by `x_open` and not closed since.
unsafe fn open_of<'a>(file: *mut ffi::sqlite3_file) -> &'a Open {
    // SAFETY: SQLite gives `szOsFile` bytes, and `x_open` put a pointer from a box there.
    unsafe { &*(*file.cast::<File>()).open }
}

unsafe extern "C" fn x_open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let file = file.cast::<File>();
    // SAFETY: SQLite gives a table of ours, a name or null, room for a `File`, and room for flags or
    // null. Without methods it does not call `x_close` for a file that could not be opened.
    unsafe {
        (*file).base.pMethods = ptr::null();
        let Some(disk) = disk_of(vfs) else { return ffi::SQLITE_CANTOPEN };
        let name = text(name);
        let handle = match disk.open(name, flags & ffi::SQLITE_OPEN_CREATE != 0) {
            Ok(handle) => handle,
            Err(error) => return code(error, ffi::SQLITE_CANTOPEN),
        };
        let open = Open { disk, handle, name: name.unwrap_or("(temporary)").to_owned() };
        (*file).open = Box::into_raw(Box::new(open));
        (*file).base.pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: called once for a file that `x_open` opened; the box is taken back here.
    let open = unsafe { Box::from_raw((*file.cast::<File>()).open) };
    open.disk.lower(open.handle, 0);
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_read(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: an open file, and room for `len` bytes.
    let (open, out) = unsafe {
        let len = usize::try_from(len).unwrap_or(0);
        (open_of(file), std::slice::from_raw_parts_mut(out.cast::<u8>(), len))
    };
    let offset = u64::try_from(offset).unwrap_or(u64::MAX);
    match open.disk.read(open.handle, &open.name, out, offset) {
        Ok(len) if len == out.len() => ffi::SQLITE_OK,
        Ok(len) => {
            out[len..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(error) => code(error, ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn x_write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: an open file, and `len` bytes.
    let (open, bytes) = unsafe {
        let len = usize::try_from(len).unwrap_or(0);
        (open_of(file), std::slice::from_raw_parts(bytes.cast::<u8>(), len))
    };
    let offset = u64::try_from(offset).unwrap_or(u64::MAX);
    answer(open.disk.write(open.handle, &open.name, bytes, offset), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn x_truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { open_of(file) };
    let size = u64::try_from(size).unwrap_or(0);
    answer(open.disk.truncate(open.handle, &open.name, size), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn x_sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { open_of(file) };
    answer(open.disk.sync(open.handle, &open.name), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn x_file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { open_of(file) };
    match open.disk.file_size(open.handle, &open.name) {
        Ok(size) => {
            // SAFETY: room for one number.
            unsafe { *out = i64::try_from(size).unwrap_or(i64::MAX) };
            ffi::SQLITE_OK
        }
        Err(error) => code(error, ffi::SQLITE_IOERR_FSTAT),
    }
}

unsafe extern "C" fn x_lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { open_of(file) };
    answer(open.disk.raise(open.handle, &open.name, level), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn x_unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { open_of(file) };
    open.disk.lower(open.handle, level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: an open file, and room for one number.
    unsafe { *out = c_int::from(open_of(file).disk.is_reserved(open_of(file).handle)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn x_sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// What SQLite assumes of local disks: a write that is torn by a power cut leaves other bytes alone.
unsafe extern "C" fn x_device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn x_delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _sync: c_int) -> c_int {
    // SAFETY: a table of ours and a name.
    let (disk, name) = unsafe { (disk_of(vfs), text(name)) };
    let (Some(disk), Some(name)) = (disk, name) else { return ffi::SQLITE_IOERR_DELETE };
    match disk.delete(name) {
        Ok(()) => ffi::SQLITE_OK,
        Err(Error::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(error) => code(error, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn x_access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: a table of ours and a name.
    let (disk, name) = unsafe { (disk_of(vfs), text(name)) };
    let (Some(disk), Some(name)) = (disk, name) else { return ffi::SQLITE_IOERR_ACCESS };
    match disk.exists(name) {
        Ok(exists) => {
            // SAFETY: room for one number.
            unsafe { *out = c_int::from(exists) };
            ffi::SQLITE_OK
        }
        Err(error) => code(error, ffi::SQLITE_IOERR_ACCESS),
    }
}

/// Names are what they are: there are no directories.
unsafe extern "C" fn x_full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: a name that ends with a zero byte.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if name.len() > usize::try_from(room).unwrap_or(0) {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: room for `room` bytes, which are enough.
    unsafe { ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_randomness(_: *mut ffi::sqlite3_vfs, len: c_int, out: *mut c_char) -> c_int {
    // SAFETY: room for `len` bytes.
    unsafe { ptr::write_bytes(out, 7, usize::try_from(len).unwrap_or(0)) };
    len
}

/// Nobody waits in a simulation: who holds a lock runs on the same thread.
unsafe extern "C" fn x_sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

/// The store passes times in; SQLite's own clock is never asked for anything that is kept.
unsafe extern "C" fn x_current_time(_: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: room for one number. A Julian day in the year 2027.
    unsafe { *out = 2_461_500.0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn x_last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}
