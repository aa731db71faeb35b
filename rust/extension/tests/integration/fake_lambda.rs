//! The Extensions API, once the extension has registered.

use std::sync::{Arc, Mutex};

use lambda_env::extensions_api::{ApiError, Event, LambdaRuntime};
use tokio::{sync::mpsc, time::Instant};

/// Delivers the events that a test sends.
pub(crate) struct FakeLambda {
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    /// When the extension asks for an event.
    pub(crate) requests: mpsc::UnboundedSender<Instant>,
    pub(crate) errors: Arc<Mutex<Vec<String>>>,
}

impl LambdaRuntime for FakeLambda {
    async fn next(&mut self) -> Result<Event, ApiError> {
        // A test that has seen enough does not listen any more.
        let _ = self.requests.send(Instant::now());
        match self.events.recv().await {
            Some(event) => Ok(event),
            None => std::future::pending().await,
        }
    }

    async fn init_error(&mut self, error_type: &str, message: &str) -> Result<(), ApiError> {
        self.errors.lock().unwrap().push(format!("{error_type}: {message}"));
        Ok(())
    }
}
