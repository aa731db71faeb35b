//! local-lambda as a whole: the real binary, real processes, real namespaces.
#![allow(clippy::unwrap_used)]

mod run;
mod sandbox;
mod url;
