//! The Function URL front, and the Invoke API's, over real sockets, in front of a fake function.
#![allow(clippy::unwrap_used, missing_docs)]

mod answers;
mod client;
mod events;
mod invoke_api;
mod limits;
mod signatures;
mod streams;
mod url;
