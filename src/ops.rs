//! Operations on a release other than building and verifying it.

mod checkout;
mod remote_commit;

pub use checkout::LocalCheckout;
pub use remote_commit::RemoteCommit;
