//! What may follow a client secret or a client id: `?ephemeral=…&preauthorized=…&baseURL=…`, as on Tailscale's own command
//! line (tailscale.com/feature/oauthkey).

use thiserror::Error;

/// Tailscale's API.
const TAILSCALE: &str = "https://api.tailscale.com";

/// An attribute cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("attribute '{name}' {problem}")]
pub struct AttributeError {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What is said of the keys to be made, and of the API that makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The machine leaves the tailnet when its environment ends.
    pub ephemeral: bool,
    /// Nobody needs to approve the machine.
    pub preauthorized: bool,
    /// Where the API is, without a slash at the end.
    pub base: String,
}

impl Attributes {
    /// Takes the attributes off `text`: returns what comes before them. Where nothing is said of it, a machine is ephemeral
    /// and as `preauthorized` as this.
    pub fn split(text: &str, preauthorized: bool) -> Result<(&str, Self), AttributeError> {
        let (credential, pairs) = text.split_once('?').unwrap_or((text, ""));
        let mut attributes = Self {
            ephemeral: true,
            preauthorized,
            base: TAILSCALE.to_owned(),
        };
        for (name, value) in form_urlencoded::parse(pairs.as_bytes()) {
            attributes.set(&name, &value)?;
        }
        Ok((credential, attributes))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), AttributeError> {
        let wrong = |problem| AttributeError {
            name: name.to_owned(),
            problem,
        };
        match name {
            _ if value.is_empty() => {}
            "ephemeral" => self.ephemeral = truth(value).ok_or_else(|| wrong("must be true or false"))?,
            "preauthorized" => self.preauthorized = truth(value).ok_or_else(|| wrong("must be true or false"))?,
            "baseURL" => {
                if !(value.starts_with("https://") || value.starts_with("http://")) {
                    return Err(wrong("must be an address that begins with https://"));
                }
                self.base = value.trim_end_matches('/').to_owned();
            }
            _ => return Err(wrong("is unknown: there are ephemeral, preauthorized and baseURL")),
        }
        Ok(())
    }
}

/// As Go's strconv.ParseBool, which reads these attributes elsewhere.
fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_taken_off_and_have_defaults() {
        let defaults = Attributes {
            ephemeral: true,
            preauthorized: true,
            base: TAILSCALE.to_owned(),
        };
        assert_eq!(Attributes::split("kAbc", true), Ok(("kAbc", defaults.clone())));
        assert_eq!(Attributes::split("kAbc?ephemeral=", true), Ok(("kAbc", defaults)));
        let all = "kAbc?ephemeral=f&preauthorized=1&baseURL=https%3A%2F%2Fapi.example.com%2F";
        let expected = Attributes {
            ephemeral: false,
            preauthorized: true,
            base: "https://api.example.com".to_owned(),
        };
        assert_eq!(Attributes::split(all, false), Ok(("kAbc", expected)));
    }
}
