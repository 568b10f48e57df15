//! Behaviour, as the library and the binary show it. One test binary, so that it is linked once.

mod archive_bytes;
mod arguments;
mod hostile_archive;
mod hostile_seal;
mod interoperability;
mod keys;
mod rooms;
mod support;
mod verifying;
