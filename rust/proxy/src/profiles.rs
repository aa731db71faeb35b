//! Which targets a caller may name, by the alias that it invokes the function through: `TS_PROFILES`. IAM decides who may
//! invoke an alias, and Lambda tells which one it was: nothing that the caller sends is asked.

use std::collections::BTreeMap;

use tailnet::target_list::TargetList;

use crate::{error::ProxyError, target::Target};

/// What the setting must be.
pub const EXPECTED: &str = "name=targets, one profile after another with semicolons between them: each name once, of 1 to \
                            128 letters, digits, hyphens and underscores, not of digits alone and not live; its targets \
                            as in TS_ALLOWED_TARGETS";

/// The longest name: an alias's.
const LONGEST_NAME: usize = 128;
/// The qualifiers that are no profile: the function itself, and the alias of the constructs' own, which the warmer and
/// provisioned concurrency use.
const LATEST: &str = "$LATEST";
const LIVE: &str = "live";
/// How many fields an ARN of a function has; one more is the qualifier.
const ARN_FIELDS: usize = 7;

/// The profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profiles(BTreeMap<String, Profile>);

/// The targets of those who invoke one alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    targets: TargetList,
}

impl Profiles {
    /// Reads the profiles; the error is the part that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut profiles = BTreeMap::new();
        for entry in text.split(';').map(str::trim) {
            let (name, targets) = entry.split_once('=').ok_or_else(|| entry.to_owned())?;
            if !is_name(name) {
                return Err(entry.to_owned());
            }
            let targets = TargetList::parse(targets).map_err(|target| format!("{name}={target}"))?;
            let name = name.to_owned();
            let profile = Profile {
                name: name.clone(),
                targets,
            };
            if profiles.insert(name, profile).is_some() {
                return Err(entry.to_owned());
            }
        }
        Ok(Self(profiles))
    }

    /// The profile of an invocation of this ARN, as the Runtime API tells it; `None` where the invocation is of the
    /// function itself.
    ///
    /// # Errors
    /// [`ProxyError::UnknownProfile`]: for every other qualifier, and where it is not told which it was.
    pub fn choose(&self, invoked: Option<&str>) -> Result<Option<&Profile>, ProxyError> {
        let fields: Vec<&str> = invoked.unwrap_or_default().split(':').collect();
        let unqualified = fields.len() == ARN_FIELDS;
        let qualifier = match fields.get(ARN_FIELDS) {
            None if unqualified => return Ok(None),
            Some(qualifier) if fields.len() == ARN_FIELDS + 1 => *qualifier,
            _ => return Err(self.unknown("the Runtime API does not tell which alias was invoked")),
        };
        if [LATEST, LIVE].contains(&qualifier) {
            return Ok(None);
        }
        let profile = self.0.get(qualifier);
        let unknown = || {
            self.unknown(&format!(
                "the function was invoked as \"{qualifier}\", which is no profile of it"
            ))
        };
        profile.map(Some).ok_or_else(unknown)
    }

    fn unknown(&self, what: &str) -> ProxyError {
        let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
        ProxyError::UnknownProfile(format!(
            "{what} (TS_PROFILES has {}): call the Function URL of one of these, or add the profile to the proxy",
            known.join(", ")
        ))
    }
}

impl Profile {
    /// What it is called: the alias's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the profile has `target`; the error is for the caller.
    pub fn check(&self, target: &Target) -> Result<(), ProxyError> {
        if self.targets.holds(&target.host, target.port) {
            return Ok(());
        }
        Err(ProxyError::TargetNotAllowed(format!(
            "{target} is not among the targets of the profile \"{}\" that the request came by (TS_PROFILES)",
            self.name
        )))
    }
}

fn is_name(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(is_legal)
        && !text.bytes().all(|byte| byte.is_ascii_digit())
        && text != LIVE
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-central-1:123456789012:function:proxy";

    fn target(host: &str, port: u16) -> Target {
        let headers = serde_json::json!({"ts-target-ip": host, "ts-target-port": port.to_string()});
        Target::parse(&serde_json::from_value(headers).unwrap()).unwrap()
    }

    fn chosen(profiles: &str, qualifier: &str) -> Result<Option<String>, ProxyError> {
        let profiles = Profiles::parse(profiles).unwrap();
        let profile = profiles.choose(Some(&format!("{ARN}{qualifier}")))?;
        Ok(profile.map(|profile| profile.name().to_owned()))
    }

    #[test]
    fn each_profile_has_its_own_targets() {
        let profiles = Profiles::parse("billing=db:5432,100.64.0.0/24; Web_2=[fd7a::1]:80,*.svc.net").unwrap();
        let holds = |name: &str, host: &str, port| {
            let profile = profiles.choose(Some(&format!("{ARN}:{name}"))).unwrap().unwrap();
            profile.check(&target(host, port)).is_ok()
        };
        assert!(holds("billing", "db", 5432) && holds("billing", "100.64.0.9", 1));
        assert!(holds("Web_2", "fd7a::1", 80) && holds("Web_2", "a.svc.net", 1));
        assert!(!holds("billing", "fd7a::1", 80) && !holds("billing", "db", 80) && !holds("Web_2", "db", 5432));
    }

    #[test]
    fn a_refusal_names_the_profile() {
        let profiles = Profiles::parse("billing=db").unwrap();
        let profile = profiles.choose(Some(&format!("{ARN}:billing"))).unwrap().unwrap();
        let error = profile.check(&target("wiki", 80)).unwrap_err();
        assert_eq!(error.code().1, "TargetNotAllowed");
        let message = error.to_string();
        assert!(message.contains("wiki") && message.contains("\"billing\""), "{message}");
    }

    #[test]
    fn the_function_itself_and_its_own_alias_have_no_profile() {
        for qualifier in ["", ":$LATEST", ":live"] {
            assert_eq!(chosen("billing=db", qualifier), Ok(None), "{qualifier}");
        }
        assert_eq!(chosen("billing=db", ":billing"), Ok(Some("billing".into())));
    }

    #[test]
    fn what_is_not_known_is_refused_and_told_what_is() {
        for qualifier in [":7", ":Billing", ":", ":billing ", ":shop"] {
            let error = chosen("web=wiki;billing=db", qualifier).unwrap_err();
            assert_eq!((error.code().0.as_u16(), error.code().1), (403, "UnknownProfile"));
            let (message, shown) = (error.to_string(), format!("\"{}\"", &qualifier[1..]));
            assert!(
                message.contains(&shown) && message.contains("billing, web"),
                "{message}"
            );
        }
        let profiles = Profiles::parse("billing=db").unwrap();
        for arn in [
            None,
            Some(""),
            Some("proxy:billing"),
            Some(&*format!("{ARN}:billing:x")),
        ] {
            let error = profiles.choose(arn).unwrap_err();
            assert_eq!(error.code().1, "UnknownProfile", "{arn:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_returned() {
        let long = format!("{}=db", "a".repeat(129));
        for (text, wrong) in [
            ("", ""),
            ("billing", "billing"),
            ("billing=", "billing="),
            ("billing=db,", "billing="),
            ("billing=db;", ""),
            ("billing=db;web=10.0.0.1/8", "web=10.0.0.1/8"),
            ("billing=db;billing=wiki", "billing=wiki"),
            ("=db", "=db"),
            ("live=db", "live=db"),
            ("$LATEST=db", "$LATEST=db"),
            ("12=db", "12=db"),
            ("bill ing=db", "bill ing=db"),
            (&long, &long),
        ] {
            assert_eq!(Profiles::parse(text), Err(wrong.to_owned()), "{text}");
        }
        assert!(Profiles::parse(&format!("{}=db;1a=db", "a".repeat(128))).is_ok());
    }
}
