//! Bytes that are not in the pool's buffers and count against its bound all the same.

use std::rc::Rc;

use super::accounts::Accounts;

/// Bytes that lie elsewhere, in a pipe of the kernel or in a body that is being collected, and that the pool's
/// bound covers like its own. Dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    pub(super) accounts: Rc<Accounts>,
    pub(super) bytes: usize,
}

impl Charge {
    /// Bytes on this account.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds `bytes`; false, and nothing is added, when they exceed what sources that can wait may be given.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let accounts = &self.accounts;
        if accounts.held_bytes.get() + bytes > accounts.patient_bytes_max() {
            accounts.note_exhaustion();
            return false;
        }
        accounts.make_room(bytes);
        accounts.hold(bytes);
        self.bytes += bytes;
        true
    }

    /// Adds `bytes` that are there already, whatever has been taken since room was made sure of.
    pub fn count(&mut self, bytes: usize) {
        self.accounts.make_room(bytes);
        self.accounts.hold(bytes);
        self.bytes += bytes;
    }

    /// Takes `bytes` off, at most all there are.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.accounts.release(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}
