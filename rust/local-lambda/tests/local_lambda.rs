//! local-lambda's tests: its fronts with a fake function behind them, and the whole of it.
#![allow(clippy::unwrap_used, missing_docs)]

mod function_url;
mod host;
