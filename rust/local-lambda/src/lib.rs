//! A Lambda host on one's own machine, for development and tests.
//!
//! [`cli`] is a run; a [`fleet::Fleet`] has the environments, each a sandbox whose processes talk to the Runtime API and
//! the Extensions API as on the service; [`function_url`] stands in front of it, and the Invoke API beside that.
//!
//! Where an environment differs from one on Lambda, as far as that is known:
//! - It shares the machine's kernel, programs and libraries; there is no Amazon Linux in it.
//! - It is frozen by signals: its monotonic clocks go on, and processes can notice the stop, as some system calls return
//!   early.
//! - Memory is not limited, and not measured.
//! - After a failed invocation it ends, and the next request gets a fresh one. The service resets it, and may use it
//!   again with what is in `/tmp`. A failed INIT is repeated in the same environment, as on the service.
//! - A caller whose invocation failed is told before SHUTDOWN, not after it.
//! - A request waits up to a quarter of a second for an environment that has just answered, where the service has the
//!   time that an answer takes to its caller and back.
//! - There are no Telemetry and Logs APIs, no internal extensions, no `init/error` of the runtime, no `exit/error`, and no
//!   X-Ray daemon.

pub mod cli;
pub mod config;
mod environment;
mod error;
mod event_log;
mod fleet;
pub mod function_url;
pub mod invocation;
pub mod invoke_api;
mod lambda_api;
mod package;
mod process_variables;
pub mod sandbox;
mod trace;
