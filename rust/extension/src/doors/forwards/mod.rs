//! Local ports that lead to one target each, for clients that know no proxy: database drivers above all.

pub mod config;
pub mod server;
