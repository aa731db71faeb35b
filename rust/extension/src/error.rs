//! Why the function is not in the tailnet: a stable code, what happened, what fixes it, and when the login is retried.

use std::fmt;

use tailnet::protocol::EXIT_NODE_UNAVAILABLE;

/// What happens after a [`JoinError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPolicy {
    /// tailscaled keeps trying by itself; a request triggers its next attempt.
    Wait,
    /// Another login, with back-off.
    Backoff,
    /// Another login when the secret has changed; the same secret is tried again every few minutes.
    NewSecret,
    /// A new tailscaled, with back-off.
    Restart,
}

/// Why the auth key cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretError {
    /// Trying again may help: throttling, a permission that is granted meanwhile.
    Temporary,
    /// Only another secret or another deployment helps.
    Permanent,
}

/// A reason why the function is not in the tailnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinError {
    /// The control server rejected the auth key.
    AuthKeyRejected {
        /// The control server's words.
        reason: String,
    },
    /// The control server does not let this machine have its tags.
    TagsRejected {
        /// The control server's words.
        reason: String,
    },
    /// The control server refused the registration for another reason.
    RegistrationRefused {
        /// The control server's words.
        reason: String,
    },
    /// The control server cannot be reached, or fails.
    ControlUnreachable {
        /// Its URL.
        control: String,
        /// The result of the last attempt.
        reason: String,
    },
    /// The control server has not answered the login.
    ControlSilent {
        /// Its URL.
        control: String,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// The function has no network.
    NoNetwork,
    /// An administrator must approve the machine.
    ApprovalRequired,
    /// The tailnet refuses machines that do not send their logs to Tailscale.
    LoggingRequired,
    /// The auth key was not accepted; tailscaled asks for an interactive login.
    InteractiveLoginRequired,
    /// Tailnet Lock is on, and no trusted node has signed this machine.
    LockedOut,
    /// There is no auth key: Secrets Manager, the secret itself, or the exchange of a client secret.
    NoAuthKey {
        /// What happened and what fixes it.
        reason: String,
        /// Whether trying again may help.
        kind: SecretError,
    },
    /// The required exit node cannot be used.
    ExitNodeUnavailable {
        /// Its address or name.
        node: String,
        /// Why not.
        reason: String,
    },
    /// The control server does not know this machine any more.
    NodeRemoved {
        /// How that showed.
        reason: String,
    },
    /// tailscaled ended, or does not work as it should.
    TailscaledFailed {
        /// How.
        reason: String,
    },
}

impl JoinError {
    /// Interprets the control server's words, as tailscaled's bus passes them on without a code. `None`: not an error.
    ///
    /// A rate limit on registrations is not an error: tailscaled waits as long as it was told to, and retries by itself.
    pub fn from_refusal(reason: &str) -> Option<Self> {
        /// What Tailscale's, Headscale's and testcontrol's rejections of a key begin with.
        const KEY_REJECTED: [&str; 5] = [
            "invalid key",
            "invalid pre auth key",
            "invalid authkey",
            "authkey ",
            "auth key ",
        ];
        let lower = reason.to_ascii_lowercase();
        let reason = reason.to_owned();
        if lower.contains("rate limited") {
            None
        } else if lower.contains("requires logging") {
            Some(Self::LoggingRequired)
        } else if lower.contains("requested tags") || lower.contains("tags are invalid") {
            Some(Self::TagsRejected { reason })
        } else if KEY_REJECTED.iter().any(|start| lower.starts_with(start)) {
            Some(Self::AuthKeyRejected { reason })
        } else {
            Some(Self::RegistrationRefused { reason })
        }
    }

    /// The stable code: in the log, in `ts-error-message` and in the table of docs/troubleshooting.md.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AuthKeyRejected { .. } => "AuthKeyRejected",
            Self::TagsRejected { .. } => "TagsRejected",
            Self::RegistrationRefused { .. } => "RegistrationRefused",
            Self::ControlUnreachable { .. } => "ControlUnreachable",
            Self::ControlSilent { .. } => "ControlSilent",
            Self::NoNetwork => "NoNetwork",
            Self::ApprovalRequired => "ApprovalRequired",
            Self::LoggingRequired => "LoggingRequired",
            Self::InteractiveLoginRequired => "InteractiveLoginRequired",
            Self::LockedOut => "LockedOut",
            Self::NoAuthKey { .. } => "NoAuthKey",
            Self::ExitNodeUnavailable { .. } => EXIT_NODE_UNAVAILABLE,
            Self::NodeRemoved { .. } => "NodeRemoved",
            Self::TailscaledFailed { .. } => "TailscaledFailed",
        }
    }

    /// What happens next.
    pub fn retry_policy(&self) -> RetryPolicy {
        match self {
            Self::AuthKeyRejected { .. }
            | Self::InteractiveLoginRequired
            | Self::NoAuthKey {
                kind: SecretError::Permanent,
                ..
            } => RetryPolicy::NewSecret,
            Self::ControlUnreachable { .. }
            | Self::ControlSilent { .. }
            | Self::NoNetwork
            | Self::ApprovalRequired
            | Self::LockedOut
            | Self::ExitNodeUnavailable { .. } => RetryPolicy::Wait,
            Self::TagsRejected { .. }
            | Self::RegistrationRefused { .. }
            | Self::LoggingRequired
            | Self::NoAuthKey {
                kind: SecretError::Temporary,
                ..
            } => RetryPolicy::Backoff,
            Self::NodeRemoved { .. } | Self::TailscaledFailed { .. } => RetryPolicy::Restart,
        }
    }

    /// What happened, without the code.
    fn cause(&self) -> String {
        match self {
            Self::AuthKeyRejected { reason } => format!("the control server rejected the auth key: {reason}"),
            Self::TagsRejected { reason } => format!("the control server rejected this machine's tags: {reason}"),
            Self::RegistrationRefused { reason } => format!("the control server refused the login: {reason}"),
            Self::ControlUnreachable { control, reason } => {
                format!("the control server {control} cannot be reached, or fails: {reason}")
            }
            Self::ControlSilent { control, seconds } => {
                format!("the control server {control} has not answered the login for {seconds} s")
            }
            Self::NoNetwork => "the function has no network".to_owned(),
            Self::ApprovalRequired => "an administrator of the tailnet must approve this machine".to_owned(),
            Self::LoggingRequired => {
                "the tailnet requires logging (network flow logs are on), and the function sends no logs to Tailscale"
                    .to_owned()
            }
            Self::InteractiveLoginRequired => {
                "Tailscale requires an interactive login: the auth key was not accepted".to_owned()
            }
            Self::LockedOut => "Tailnet Lock is on, and this machine is not signed".to_owned(),
            Self::NoAuthKey { reason, .. } | Self::NodeRemoved { reason } | Self::TailscaledFailed { reason } => {
                reason.clone()
            }
            Self::ExitNodeUnavailable { node, reason } => {
                format!("the exit node '{node}' is required, and cannot be used: {reason}")
            }
        }
    }

    /// What fixes it. `None`: the cause says it already.
    fn fix(&self) -> Option<&'static str> {
        Some(match self {
            Self::AuthKeyRejected { .. } | Self::InteractiveLoginRequired => {
                "put a valid key (reusable and ephemeral, not expired, not used up) into the secret"
            }
            Self::TagsRejected { .. } => {
                "let the key's owner have them (tagOwners in the tailnet's policy), or change tsAdvertiseTags"
            }
            Self::RegistrationRefused { .. } => "check the tailnet's policy and the control server's log",
            Self::ControlUnreachable { .. } => {
                "check that it runs, and the function's way to it (subnets, NAT, security groups, tsControlUrl)"
            }
            Self::ControlSilent { .. } => {
                "check its name (tsControlUrl), and the function's way out (subnets, NAT, security groups, DNS)"
            }
            Self::NoNetwork => "check the function's subnets and their routes, if it is in a VPC",
            Self::ApprovalRequired => "approve it in the admin console, or use a pre-approved auth key",
            Self::LoggingRequired => "switch flow logs off, or use another tailnet",
            Self::LockedOut => {
                "use an auth key that is pre-signed for Tailnet Lock (tailscale lock sign), or sign the machine"
            }
            Self::ExitNodeUnavailable { .. } => {
                "check that it is online and approved as an exit node, and that the tailnet's policy lets the function use it"
            }
            Self::NodeRemoved { .. } => "none: the function logs in again as a new machine",
            Self::TailscaledFailed { .. } => "none: tailscaled is started again",
            Self::NoAuthKey { .. } => return None,
        })
    }
}

impl JoinError {
    /// What happened and what fixes it, without the code.
    pub fn message(&self) -> String {
        match self.fix() {
            Some(fix) => format!("{}; fix: {fix}", self.cause()),
            None => self.cause(),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PAGE: &str = include_str!("../../../docs/troubleshooting.md");

    /// The page has a row for this error: its code, what fixes it, and when the login is tried again.
    pub(crate) fn assert_documented(error: &JoinError, fix: &str) {
        let again = match error.retry_policy() {
            RetryPolicy::Wait => "as soon as it is fixed",
            RetryPolicy::Backoff => "with back-off, 1 s to 60 s",
            RetryPolicy::NewSecret => "when the secret has changed, and every 5 min",
            RetryPolicy::Restart => "with back-off, 50 ms to 10 s",
        };
        let start = format!("| `{}` | ", error.code());
        let end = format!(" | {fix} | {again} |");
        assert!(
            PAGE.lines()
                .any(|line| line.starts_with(&start) && line.ends_with(&end)),
            "docs/troubleshooting.md has no row\n{start}…{end}"
        );
    }

    fn all() -> Vec<JoinError> {
        let text = || "…".to_owned();
        vec![
            JoinError::AuthKeyRejected { reason: text() },
            JoinError::TagsRejected { reason: text() },
            JoinError::RegistrationRefused { reason: text() },
            JoinError::ControlUnreachable {
                control: text(),
                reason: text(),
            },
            JoinError::ControlSilent {
                control: text(),
                seconds: 7,
            },
            JoinError::NoNetwork,
            JoinError::ApprovalRequired,
            JoinError::LoggingRequired,
            JoinError::InteractiveLoginRequired,
            JoinError::LockedOut,
            JoinError::ExitNodeUnavailable {
                node: text(),
                reason: text(),
            },
            JoinError::NodeRemoved { reason: text() },
            JoinError::TailscaledFailed { reason: text() },
        ]
    }

    #[test]
    fn rejections_of_a_key_are_recognized() {
        for reason in [
            "invalid key: unable to validate API key",
            "invalid key: API key does not exist",
            "invalid pre auth key",
            "authkey already used",
            "authkey expired",
            "invalid authkey",
        ] {
            let error = JoinError::from_refusal(reason).unwrap();
            assert_eq!(error.retry_policy(), RetryPolicy::NewSecret, "{reason}");
            assert!(
                error.to_string().starts_with("AuthKeyRejected: ") && error.to_string().contains(reason),
                "{error}"
            );
        }
    }

    #[test]
    fn other_refusals_are_told_apart_and_retried() {
        for (reason, code) in [
            (
                "tailnet requires logging to be enabled. Remove --no-logs-no-support from tailscaled",
                "LoggingRequired",
            ),
            ("requested tags [tag:a] are invalid or not permitted", "TagsRejected"),
            (
                "handling register with auth key: creating new node: requested tags [tag:a] are invalid or not permitted",
                "TagsRejected",
            ),
            ("tailnet is closed", "RegistrationRefused"),
            ("maintenance of the storage", "RegistrationRefused"),
            ("the machine key store is unavailable", "RegistrationRefused"),
        ] {
            let error = JoinError::from_refusal(reason).unwrap();
            assert_eq!(
                (error.code(), error.retry_policy()),
                (code, RetryPolicy::Backoff),
                "{reason}"
            );
        }
        assert_eq!(
            JoinError::from_refusal("node registration rate limited; will retry after 1s"),
            None
        );
    }

    #[test]
    fn the_readme_documents_each_error() {
        for error in all() {
            assert_documented(&error, error.fix().unwrap());
        }
    }
}
