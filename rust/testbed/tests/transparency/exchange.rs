//! One request, sent straight to a target and through the function, and what became of it each way.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use libtest_mimic::Failed;
use testbed::{
    caller_layer,
    function_url::{ANSWER_LIMIT, FunctionUrl},
    http_call::call,
    stack::TestStack,
};
use tokio::net::TcpStream;

/// Headers that SigV4 or the URL takes for itself: a caller of the function sends them with `ts-` before their names.
const TAKEN: [&str; 5] = [
    "authorization",
    "host",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-security-token",
];

/// A request, and the answer that the target is to give where it is not go-httpbin.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Bytes)>,
    pub(crate) body: Bytes,
    /// What the raw target answers with, and whether it closes then; `None` for a request to go-httpbin.
    pub(crate) answer: Option<(Bytes, bool)>,
}

impl Case {
    /// A request to go-httpbin.
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            answer: None,
        }
    }

    /// A request to the raw target, which answers `ok`.
    pub(crate) fn raw(method: &str, path: &str) -> Self {
        Self::new(method, path).answered("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok")
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = Bytes::copy_from_slice(value.as_ref());
        self.headers.push((name.to_owned(), value));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The raw target answers with these bytes.
    pub(crate) fn answered(mut self, answer: impl Into<Bytes>) -> Self {
        self.answer = Some((answer.into(), false));
        self
    }

    /// The raw target answers with these bytes, and closes the connection.
    pub(crate) fn closing(mut self, answer: impl Into<Bytes>) -> Self {
        self.answer = Some((answer.into(), true));
        self
    }

    pub(crate) fn title(&self) -> String {
        format!("{self:?}").chars().take(400).collect()
    }

    /// The request as `send` gets it, with `host` first.
    fn request(&self, host: &str, name: impl Fn(&str) -> String) -> Result<Request<Bytes>, Failed> {
        let mut request = Request::builder().method(&*self.method).uri(&*self.path);
        if let Some(headers) = request.headers_mut() {
            headers.insert(http::header::HOST, HeaderValue::from_str(host)?);
            for (key, value) in &self.headers {
                let key: HeaderName = name(key).parse()?;
                let value = HeaderValue::from_bytes(value)?;
                match key == http::header::HOST {
                    true => drop(headers.insert(key, value)),
                    false => drop(headers.append(key, value)),
                }
            }
        }
        Ok(request.body(self.body.clone())?)
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// Names in lower case, and the values of each in their order.
pub(crate) type Headers = BTreeMap<String, Vec<Bytes>>;

/// Names and values by their names.
pub(crate) fn headers<'a>(pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers
            .entry(name.to_owned())
            .or_default()
            .push(Bytes::copy_from_slice(value));
    }
    headers
}

fn observed(response: http::Response<Bytes>) -> Answer {
    let pairs = response.headers().iter();
    Answer {
        status: response.status().as_u16(),
        headers: headers(pairs.map(|(name, value)| (name.as_str(), value.as_bytes()))),
        body: response.into_body(),
    }
}

/// Sends a case straight to the target at 127.0.0.1 and `port`, whose name is its address in the tailnet.
pub(crate) async fn straight(case: &Case, stack: &TestStack, port: u16) -> Result<Answer, Failed> {
    let host = format!("{}:{port}", stack.backends.target.node.address());
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = case.request(&host, str::to_owned)?.map(Full::new);
    Ok(observed(call(stream, request, ANSWER_LIMIT).await?))
}

/// Which way a case takes through the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Signed by the client itself.
    Signed,
    /// By the caller's layer, an HTTP proxy, which sends it to the Function URL.
    Layer,
    /// By the caller's layer, which sends it by Lambda's Invoke API.
    LayerInvoke,
}

impl Way {
    /// Whether the layer signs.
    pub(crate) fn by_layer(self) -> bool {
        self != Self::Signed
    }

    /// Whether a Function URL adapts the answer.
    pub(crate) fn by_url(self) -> bool {
        self != Self::LayerInvoke
    }

    /// The name under which the target's date comes back.
    pub(crate) fn date(self) -> &'static str {
        if self.by_layer() {
            "date"
        } else {
            "x-amzn-remapped-date"
        }
    }
}

/// Sends a case through the function.
pub(crate) async fn through(case: &Case, stack: &TestStack, way: Way, port: u16) -> Result<Answer, Failed> {
    let address = stack.backends.target.node.address();
    if way.by_layer() {
        let authority = format!("{address}:{port}");
        let mut request = case.request(&authority, str::to_owned)?;
        *request.uri_mut() = format!("http://{authority}{}", case.path).parse()?;
        let stream = TcpStream::connect(caller_layer::ADDRESS).await?;
        return Ok(observed(call(stream, request.map(Full::new), ANSWER_LIMIT).await?));
    }
    let url: FunctionUrl = stack.url();
    let prefixed = |name: &str| match TAKEN.contains(&name) {
        true => format!("ts-{name}"),
        false => name.to_owned(),
    };
    let mut request = case.request(&url.address, prefixed)?;
    request
        .headers_mut()
        .insert("ts-target-ip", address.to_string().parse()?);
    request.headers_mut().insert("ts-target-port", port.into());
    Ok(observed(url.send(request).await?))
}
