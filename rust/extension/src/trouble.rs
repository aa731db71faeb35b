//! Why the function is not in the tailnet: what is wrong, where to mend it, and what helps.

use std::fmt;

/// The control server has ended the login.
pub(crate) const LOGGED_OUT: &str = "the tailnet has logged this machine out";
/// The control server says that there is no such machine.
pub(crate) const REMOVED: &str = "the tailnet has removed this machine";
/// It would be so after a removal, but nobody says it.
pub(crate) const MAYBE_REMOVED: &str =
    "nobody answers after a long freeze, the control server included: the tailnet may have removed this machine";
/// What requests are told until it is known whether the daemon is stuck.
pub(crate) const NO_ANSWER: &str = "tailscaled does not answer; it is started again if it goes on";

/// Something that keeps the function out of the tailnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The control server does not take the key.
    KeyRefused {
        /// The control server's words.
        words: String,
    },
    /// The control server does not let this machine have its tags.
    TagsRefused {
        /// The control server's words.
        words: String,
    },
    /// The control server refuses for some other reason.
    Refused {
        /// The control server's words.
        words: String,
    },
    /// The control server cannot be reached, or fails.
    ControlUnreachable {
        /// Where it should be.
        control: String,
        /// What the attempt came to.
        words: String,
    },
    /// Nothing was heard of the control server.
    ControlSilent {
        /// Where it should be.
        control: String,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// There is no network at all.
    NoNetwork,
    /// An administrator must let the machine in.
    NeedsApproval,
    /// The tailnet refuses machines that do not send their logs to Tailscale.
    NeedsLogging,
    /// The key is none that logs a machine in without a person.
    NeedsPerson,
    /// There is no key: Secrets Manager, the secret itself, or the exchange of a client secret.
    NoKey {
        /// Why.
        words: String,
        /// Only another secret helps.
        for_good: bool,
    },
    /// The exit node that must be used cannot be.
    ExitNode {
        /// Its address or name.
        node: String,
        /// Why not.
        words: String,
    },
    /// The tailnet does not know this machine any more.
    SentAway {
        /// How that shows.
        words: String,
    },
    /// The daemon ended, or does not do what it should.
    Daemon {
        /// How.
        words: String,
    },
}

/// What helps against a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The daemon goes on by itself, as soon as somebody mends what is wrong.
    Wait,
    /// Another login, after a pause that grows.
    Again,
    /// Another secret, and nothing else.
    NewSecret,
    /// Another daemon, at once.
    Restart,
}

impl Trouble {
    /// The machine is out of the tailnet, as `words` say. A new daemon logs in as a new machine: the old one would come back
    /// with a key that the tailnet does not know.
    pub(crate) fn sent_away(words: &str) -> Self {
        Self::SentAway {
            words: words.to_owned(),
        }
    }

    /// What the words of the control server, as the daemon passes them on, mean. `None`: they tell of no trouble.
    ///
    /// A limit on registrations is none: the daemon waits as long as it was told to, and tries again by itself.
    pub fn of_refusal(words: &str) -> Option<Self> {
        let lower = words.to_ascii_lowercase();
        let words = words.to_owned();
        if lower.contains("rate limited") {
            None
        } else if lower.contains("requires logging") {
            Some(Self::NeedsLogging)
        } else if lower.contains("tag") {
            Some(Self::TagsRefused { words })
        } else if lower.contains("key") {
            Some(Self::KeyRefused { words })
        } else {
            Some(Self::Refused { words })
        }
    }

    /// What helps.
    pub fn course(&self) -> Course {
        match self {
            // Nobody sees the address at which a person would log in.
            Self::KeyRefused { .. } | Self::NeedsPerson | Self::NoKey { for_good: true, .. } => Course::NewSecret,
            Self::ControlUnreachable { .. } | Self::ControlSilent { .. } | Self::NoNetwork | Self::NeedsApproval => {
                Course::Wait
            }
            Self::TagsRefused { .. }
            | Self::Refused { .. }
            | Self::NeedsLogging
            | Self::NoKey { for_good: false, .. }
            | Self::ExitNode { .. } => Course::Again,
            Self::SentAway { .. } | Self::Daemon { .. } => Course::Restart,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyRefused { words } => write!(
                f,
                "the tailnet refuses the auth key: {words}; put a valid one (reusable and ephemeral, not expired, not \
                 used up) into the secret: the next request finds it"
            ),
            Self::TagsRefused { words } => write!(
                f,
                "the tailnet refuses this machine's tags: {words}; let the key's owner have them (tagOwners in the \
                 tailnet's policy), or change tsAdvertiseTags"
            ),
            Self::Refused { words } => write!(
                f,
                "the tailnet refuses the login: {words}; look into the tailnet's policy and the control server's log"
            ),
            Self::ControlUnreachable { control, words } => write!(
                f,
                "the control server {control} cannot be reached, or fails: {words}; check that it runs, and the \
                 function's way to it (subnets, NAT, security groups, tsControlUrl)"
            ),
            Self::ControlSilent { control, seconds } => write!(
                f,
                "the control server {control} has not answered the login for {seconds} s; check that its name is \
                 right (tsControlUrl), and the function's way out (subnets, NAT, security groups, DNS)"
            ),
            Self::NoNetwork => {
                f.write_str("the function has no network; check its subnets and their routes, if it is in a VPC")
            }
            Self::NeedsApproval => f.write_str(
                "an administrator of the tailnet must approve this machine; approve it in the admin console, or use a \
                 pre-approved auth key",
            ),
            Self::NeedsLogging => f.write_str(
                "the tailnet requires logging, as it does with network flow logs, but the function sends no logs to \
                 Tailscale; switch flow logs off, or use another tailnet",
            ),
            Self::NeedsPerson => {
                f.write_str(
                "the tailnet asks for a person's login; put an auth key that is valid into the secret: the next request \
                 finds it",
            )
            }
            Self::NoKey { words, .. } => f.write_str(words),
            Self::ExitNode { node, words } => write!(
                f,
                "the exit node '{node}' is required, but cannot be used: {words}; check that it is online, that it is \
                 approved as an exit node and that the tailnet's policy lets the function use it"
            ),
            Self::SentAway { words } | Self::Daemon { words } => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::readme::assert_told;

    #[test]
    fn keys_are_refused_in_many_words() {
        // Tailscale's, Headscale's and testcontrol's.
        for words in [
            "invalid key: unable to validate API key",
            "invalid pre auth key",
            "authkey already used",
            "authkey expired",
            "invalid authkey",
        ] {
            let trouble = Trouble::of_refusal(words).unwrap();
            assert_eq!(trouble.course(), Course::NewSecret, "{words}");
            assert!(trouble.to_string().contains(words), "{trouble}");
        }
    }

    #[test]
    fn a_limit_on_registrations_is_no_trouble() {
        assert_eq!(
            Trouble::of_refusal("node registration rate limited; will retry after 1s"),
            None
        );
    }

    #[test]
    fn other_refusals_are_told_apart() {
        let logging =
            "tailnet requires logging to be enabled. Remove --no-logs-no-support from tailscaled command line.";
        assert_eq!(Trouble::of_refusal(logging), Some(Trouble::NeedsLogging));
        let tags = Trouble::of_refusal("requested tags [tag:a] are invalid or not permitted").unwrap();
        assert!(matches!(&tags, Trouble::TagsRefused { .. }) && tags.course() == Course::Again);
        assert!(matches!(
            Trouble::of_refusal("tailnet is closed"),
            Some(Trouble::Refused { .. })
        ));
    }

    #[test]
    fn the_readme_tells_of_each() {
        let words = || "…".to_owned();
        let daemon = |how| Trouble::Daemon {
            words: format!("{how}; tailscaled is being started again"),
        };
        let troubles = [
            Trouble::KeyRefused { words: words() },
            Trouble::TagsRefused { words: words() },
            Trouble::Refused { words: words() },
            Trouble::ControlUnreachable {
                control: words(),
                words: words(),
            },
            Trouble::ControlSilent {
                control: words(),
                seconds: 7,
            },
            Trouble::NoNetwork,
            Trouble::NeedsApproval,
            Trouble::NeedsLogging,
            Trouble::NeedsPerson,
            Trouble::ExitNode {
                node: words(),
                words: words(),
            },
            Trouble::sent_away(LOGGED_OUT),
            Trouble::sent_away(REMOVED),
            Trouble::sent_away(MAYBE_REMOVED),
            daemon("tailscaled ended with …"),
            daemon("tailscaled was killed by signal …"),
            daemon("tailscaled's LocalAPI …"),
            Trouble::Daemon {
                words: NO_ANSWER.into(),
            },
        ];
        for trouble in troubles {
            match trouble {
                // A new one stops here: it belongs into the list above.
                Trouble::KeyRefused { .. }
                | Trouble::TagsRefused { .. }
                | Trouble::Refused { .. }
                | Trouble::ControlUnreachable { .. }
                | Trouble::ControlSilent { .. }
                | Trouble::NoNetwork
                | Trouble::NeedsApproval
                | Trouble::NeedsLogging
                | Trouble::NeedsPerson
                | Trouble::ExitNode { .. }
                | Trouble::SentAway { .. }
                | Trouble::Daemon { .. } => assert_told(&trouble),
                Trouble::NoKey { .. } => panic!("told where its words are made"),
            }
        }
    }
}
