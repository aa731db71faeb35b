//! The Function URL front, and the Invoke API's, over real sockets, in front of a fake function.

mod answers;
pub(crate) mod client;
mod events;
mod invoke_api;
mod limits;
mod signatures;
mod streams;
pub(crate) mod url;
