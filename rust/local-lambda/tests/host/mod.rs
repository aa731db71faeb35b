//! local-lambda as a whole: the real binary, real processes, real namespaces.
//!
//! Each test runs it in namespaces of its own (`unshare`), so root or user namespaces are needed, and `ip`.

mod freeze;
mod init;
mod invoke;
mod run;
mod sandbox;
mod script;
mod shutdown;
mod url;
