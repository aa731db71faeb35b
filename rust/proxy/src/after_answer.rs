//! What is done between an answer and the next invocation, which costs the caller nothing.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use lambda_http::lambda_runtime::{Error, LambdaInvocation, tower::Service};

use crate::metrics::Metrics;

/// Sends metrics after each answer that `inner` has posted to the Runtime API.
#[derive(Clone)]
pub struct AfterAnswer<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> AfterAnswer<S> {
    /// Sends `metrics` after `inner`'s answers.
    pub fn new(inner: S, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

impl<S> Service<LambdaInvocation> for AfterAnswer<S>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = Error;
    type Future = BoxFuture<'static, Result<(), Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let answered = self.inner.call(invocation);
        let metrics = Arc::clone(&self.metrics);
        async move {
            answered.await?;
            metrics.after_answer().await;
            Ok(())
        }
        .boxed()
    }
}
