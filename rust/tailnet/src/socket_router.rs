//! A [`Router`] that asks the extension over its socket.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    connect::{Route, RouteError, Router},
    diagnosis::Diagnosis,
    protocol::{self, Request, Response, VERSION, epoch_ms},
};

/// How long after a request's deadline the response may still arrive: it says more than "no response".
const MARGIN: Duration = Duration::from_millis(250);

/// Asks the extension for routes.
#[derive(Debug, Clone)]
pub struct SocketRouter {
    socket: PathBuf,
}

impl SocketRouter {
    /// A router that asks the extension behind `socket`.
    pub fn new(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
        }
    }

    /// Makes sure that the whole path to the tailnet is alive; returns its generation.
    pub async fn keep_alive(&self, deadline: Instant) -> Result<u64, RouteError> {
        let deadline_ms = epoch_ms(deadline);
        self.verified(&Request::KeepAlive { deadline_ms }, deadline).await
    }

    /// Tells of an invocation; returns the path's generation when the environment need not be awake any longer.
    pub async fn invoked(&self, deadline: Instant) -> Result<u64, RouteError> {
        let deadline_ms = epoch_ms(deadline);
        self.verified(&Request::Invoked { deadline_ms }, deadline).await
    }

    /// How the function stands in the tailnet, and how it reaches `host`.
    pub async fn diagnose(&self, host: &str, deadline: Instant) -> Result<Diagnosis, RouteError> {
        let request = Request::Diagnose {
            host: host.to_owned(),
            deadline_ms: epoch_ms(deadline),
        };
        match self.ask(&request, deadline).await? {
            Response::Diagnosed { diagnosis } => Ok(*diagnosis),
            other => Err(refusal(other)),
        }
    }

    async fn verified(&self, request: &Request, deadline: Instant) -> Result<u64, RouteError> {
        match self.ask(request, deadline).await? {
            Response::Verified { path } => Ok(path),
            other => Err(refusal(other)),
        }
    }

    async fn ask(&self, request: &Request, deadline: Instant) -> Result<Response, RouteError> {
        protocol::ask(&self.socket, request, deadline + MARGIN)
            .await
            .map_err(|error| no_response(&error))
    }
}

impl Router for SocketRouter {
    async fn route(&self, host: &str, deadline: Instant) -> Result<Route, RouteError> {
        let request = Request::Route {
            host: host.to_owned(),
            deadline_ms: epoch_ms(deadline),
        };
        match self.ask(&request, deadline).await? {
            Response::Route {
                addresses,
                sources,
                path,
                round_trip_us,
                just_joined,
                ready_ms,
                verified,
            } => Ok(Route {
                addresses,
                sources,
                path,
                round_trip: round_trip_us.map(Duration::from_micros),
                just_joined,
                ready: Duration::from_millis(ready_ms),
                verified,
            }),
            other => Err(refusal(other)),
        }
    }

    async fn verify(&self, address: IpAddr, deadline: Instant) -> Result<u64, RouteError> {
        let deadline_ms = epoch_ms(deadline);
        self.verified(&Request::Verify { address, deadline_ms }, deadline).await
    }

    async fn stalled(&self, address: IpAddr, deadline: Instant) {
        let deadline_ms = epoch_ms(deadline);
        // Nothing depends on the outcome: the dials go on meanwhile.
        drop(self.ask(&Request::Stalled { address, deadline_ms }, deadline).await);
    }
}

fn unavailable(code: &str, message: String) -> RouteError {
    RouteError::Unavailable {
        code: code.to_owned(),
        message,
        retry_after: None,
    }
}

fn no_response(error: &io::Error) -> RouteError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => unavailable(
            "ExtensionMissing",
            format!("the Tailscale extension is not running ({error}): is its layer attached to the function?"),
        ),
        io::ErrorKind::TimedOut => unavailable(
            "ExtensionSilent",
            "the Tailscale extension did not respond in the time allowed: its log says what it was doing".to_owned(),
        ),
        _ => unavailable(
            "ExtensionSilent",
            format!("the Tailscale extension broke off without a response ({error}): its log says why"),
        ),
    }
}

/// What a response means that is not the one asked for.
fn refusal(response: Response) -> RouteError {
    match response {
        Response::NotAllowed { message } => RouteError::NotAllowed(message),
        Response::UnknownName { message } => RouteError::UnknownName(message),
        Response::Unavailable {
            code,
            message,
            retry_after_ms,
        } => RouteError::Unavailable {
            code,
            message,
            retry_after: retry_after_ms.map(Duration::from_millis),
        },
        Response::VersionMismatch { version } => unavailable(
            "ExtensionVersion",
            format!(
                "the proxy speaks version {VERSION} of the protocol with the Tailscale extension, which speaks {}: \
                 deploy both from the same release",
                if version == 0 { "another".to_owned() } else { format!("version {version}") }
            ),
        ),
        Response::Route { .. } | Response::Verified { .. } | Response::Diagnosed { .. } => unavailable(
            "ExtensionVersion",
            "the Tailscale extension gave the response to another request: deploy it and the proxy from the same release"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::{io::AsyncWriteExt, net::UnixListener};

    use super::*;

    /// What a router finds whose extension says `response`, and nothing if that is `None`.
    async fn keep_alive(name: &str, response: Option<&'static str>) -> Result<u64, RouteError> {
        let socket = std::env::temp_dir().join(format!("tailnet-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = protocol::read_request(&mut stream).await.unwrap();
            assert!(matches!(request, Request::KeepAlive { .. }), "{request:?}");
            match response {
                Some(response) => stream.write_all(response.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        let deadline = Instant::now() + Duration::from_millis(100);
        let outcome = SocketRouter::new(&socket).keep_alive(deadline).await;
        server.abort();
        std::fs::remove_file(&socket).unwrap();
        outcome
    }

    fn code(outcome: &Result<u64, RouteError>) -> &str {
        match outcome {
            Err(RouteError::Unavailable { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_extension_that_is_missing_is_told_from_one_that_is_silent() {
        let deadline = Instant::now() + Duration::from_secs(5);
        let missing = SocketRouter::new("/nonexistent/socket").keep_alive(deadline).await;
        assert_eq!(code(&missing), "ExtensionMissing");
        assert!(missing.unwrap_err().to_string().contains("is its layer attached"));
        for (name, response) in [("silent", None), ("closes", Some(""))] {
            let outcome = keep_alive(name, response).await;
            assert_eq!(code(&outcome), "ExtensionSilent");
            assert!(!outcome.unwrap_err().to_string().contains("attached"));
        }
    }

    #[tokio::test]
    async fn an_extension_of_another_release_is_named_as_the_cause() {
        for (name, response, version) in [
            ("newer", "{\"version\":2}\n", "version 2:"),
            ("older", "{\"verdict\":\"alive\"}\n", "another:"),
        ] {
            let outcome = keep_alive(name, Some(response)).await;
            assert_eq!(code(&outcome), "ExtensionVersion");
            let message = outcome.unwrap_err().to_string();
            assert!(
                message.contains(version) && message.contains("same release"),
                "{message}"
            );
        }
    }

    #[tokio::test]
    async fn what_the_extension_says_is_passed_on() {
        let verified = keep_alive("good", Some("{\"version\":1,\"response\":\"verified\",\"path\":7}\n")).await;
        assert_eq!(verified.unwrap(), 7);
        let line = "{\"version\":1,\"response\":\"unavailable\",\"code\":\"AuthKeyRejected\",\"message\":\"m\",\"retry_after_ms\":1500}\n";
        let expected = RouteError::Unavailable {
            code: "AuthKeyRejected".into(),
            message: "m".into(),
            retry_after: Some(Duration::from_millis(1500)),
        };
        assert_eq!(keep_alive("refused", Some(line)).await.unwrap_err(), expected);
    }
}
