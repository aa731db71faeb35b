//! A Lambda host on one's own machine, for development and tests.

pub mod function_url;
pub mod invocation;
