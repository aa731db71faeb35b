//! Bodies on their way to the function's HTTP client.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

/// One that is whole, or comes as the other side sends it.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// A whole body.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
