//! What is done between an answer and the next invocation, which costs the caller nothing.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use lambda_http::lambda_runtime::{Error, LambdaInvocation, tower::Service};

use crate::handler::Handler;

/// Has a handler do what is left after each answer that `inner` has posted to the Runtime API.
#[derive(Clone)]
pub struct AfterAnswer<S> {
    inner: S,
    handler: Arc<Handler>,
}

impl<S> AfterAnswer<S> {
    /// Has `handler` do what is left after `inner`'s answers.
    pub fn new(inner: S, handler: Arc<Handler>) -> Self {
        Self { inner, handler }
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
        let handler = Arc::clone(&self.handler);
        async move {
            answered.await?;
            handler.after_answer().await;
            Ok(())
        }
        .boxed()
    }
}
