//! What a program does with files beside SQLite.

use super::{Data, Error, Fault, Held, Kind, SimDisk, State};

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
