//! What the function logs in with: one of a secret, a parameter and its own role.

use lambda_env::aws::{Access, ProxyVariables};
use lambda_env::{SettingError, Variables};

use crate::auth::{attributes::Attributes, workload_identity::WorkloadIdentity};

const SECRET: &str = "TS_SECRET_API_KEY";
const PARAMETER: &str = "TS_AUTH_KEY_PARAMETER";
const CLIENT_ID: &str = "TS_WORKLOAD_IDENTITY_CLIENT_ID";

/// What the function logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An auth key, or a client secret, that AWS stores.
    Stored(StoredKeyConfig),
    /// The function's role.
    WorkloadIdentity(WorkloadIdentity),
}

/// Where a key is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeyConfig {
    /// In what.
    pub store: Store,
    /// The field of the text that holds the key, where the text is a JSON object.
    pub field: Option<String>,
    /// Where the service is, and as whom it is asked.
    pub access: Access,
}

/// What a key is stored in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// A secret of Secrets Manager, by its ARN or name.
    SecretsManager(String),
    /// A parameter of Systems Manager, by its name.
    ParameterStore(String),
}

impl Credential {
    /// Reads the variables that name it. `tags` are those that the machine is to have; `proxy` is on the way to all that is
    /// asked for a key.
    pub fn parse(
        variables: &Variables<impl Fn(&str) -> Option<String>>,
        tags: &[String],
        proxy: &ProxyVariables,
    ) -> Result<Self, SettingError> {
        let named = [SECRET, PARAMETER, CLIENT_ID].map(|name| variables.text(name).map(|_| name));
        let mut named = named.into_iter().flatten();
        if let (Some(first), Some(second)) = (named.next(), named.next()) {
            return Err(SettingError::Unusable {
                name: second,
                reason: format!("{first} is set as well"),
                expected: "the only one of TS_SECRET_API_KEY, TS_AUTH_KEY_PARAMETER and TS_WORKLOAD_IDENTITY_CLIENT_ID",
            });
        }
        if let Some(text) = variables.text(CLIENT_ID) {
            return workload_identity(variables, &text, tags, proxy).map(Self::WorkloadIdentity);
        }
        let (store, access) = match variables.text(PARAMETER) {
            Some(name) => (
                Store::ParameterStore(name),
                Access::read(variables, "AWS_ENDPOINT_URL_SSM"),
            ),
            None => {
                let id = variables.required(
                    SECRET,
                    "set it to the ARN of the Secrets Manager secret that holds the Tailscale auth key, or set TS_AUTH_KEY_PARAMETER or TS_WORKLOAD_IDENTITY_CLIENT_ID",
                )?;
                let access = Access::read_for_secret(variables, &id);
                (Store::SecretsManager(id), access)
            }
        };
        Ok(Self::Stored(StoredKeyConfig {
            store,
            field: variables.text("TS_SECRET_FIELD"),
            access: access.through(proxy.clone()),
        }))
    }
}

fn workload_identity(
    variables: &Variables<impl Fn(&str) -> Option<String>>,
    text: &str,
    tags: &[String],
    proxy: &ProxyVariables,
) -> Result<WorkloadIdentity, SettingError> {
    if tags.is_empty() {
        return Err(SettingError::Missing {
            name: "TS_ADVERTISE_TAGS",
            remedy: "TS_WORKLOAD_IDENTITY_CLIENT_ID is set: set it to tags of the trust credential",
        });
    }
    let (client_id, attributes) = Attributes::split(text, true).map_err(|error| SettingError::Unusable {
        name: CLIENT_ID,
        reason: format!("its {error}"),
        expected: "the client id of a trust credential of Tailscale's, with attributes such as ?ephemeral=false if need be",
    })?;
    if client_id.is_empty() {
        return Err(SettingError::invalid(
            CLIENT_ID,
            text,
            "the client id of a trust credential of Tailscale's",
        ));
    }
    Ok(WorkloadIdentity {
        audience: variables
            .text("TS_WORKLOAD_IDENTITY_AUDIENCE")
            .unwrap_or_else(|| format!("api.tailscale.com/{client_id}")),
        client_id: client_id.to_owned(),
        attributes,
        tags: tags.to_vec(),
        access: Access::read(variables, "AWS_ENDPOINT_URL_STS").through(proxy.clone()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(pairs: &[(&str, &str)], tags: &[&str]) -> Result<Credential, SettingError> {
        let find = |name: &str| {
            let all = [("AWS_REGION", "eu-west-1")];
            let mut all = pairs.iter().chain(&all);
            all.find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Credential::parse(&Variables::new(find), &tags, &ProxyVariables::default())
    }

    fn region(secret: &str) -> Option<String> {
        match parse(&[(SECRET, secret)], &[]).unwrap() {
            Credential::Stored(stored) => stored.access.region,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_secret_is_read_in_the_region_of_its_arn() {
        let arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:key-AbCdEf";
        assert_eq!(region(arn).as_deref(), Some("us-east-1"));
        assert_eq!(region("tailscale-secret").as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn a_workload_identity_has_the_audience_of_its_client_id_by_default() {
        let client = (CLIENT_ID, "kAbc?ephemeral=false");
        let Credential::WorkloadIdentity(identity) = parse(&[client], &["tag:a"]).unwrap() else {
            panic!("it is a workload identity");
        };
        assert_eq!(
            (&*identity.client_id, &*identity.audience),
            ("kAbc", "api.tailscale.com/kAbc")
        );
        assert!(!identity.attributes.ephemeral && identity.attributes.preauthorized);
        let audience = ("TS_WORKLOAD_IDENTITY_AUDIENCE", "tailnet");
        let Credential::WorkloadIdentity(identity) = parse(&[client, audience], &["tag:a"]).unwrap() else {
            panic!("it is a workload identity");
        };
        assert_eq!(identity.audience, "tailnet");
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_variable_and_what_fixes_it() {
        for (pairs, tags, expected) in [
            (&[][..], &[][..], "TS_SECRET_API_KEY is not set"),
            (
                &[(SECRET, "a"), (CLIENT_ID, "k")],
                &["tag:a"],
                "TS_SECRET_API_KEY is set as well",
            ),
            (
                &[(PARAMETER, "a"), (CLIENT_ID, "k")],
                &["tag:a"],
                "TS_AUTH_KEY_PARAMETER is set as well",
            ),
            (
                &[(SECRET, "a"), (PARAMETER, "b")],
                &[],
                "TS_AUTH_KEY_PARAMETER cannot be used",
            ),
            (&[(CLIENT_ID, "k")], &[], "TS_ADVERTISE_TAGS is not set"),
            (&[(CLIENT_ID, "?ephemeral=true")], &["tag:a"], "must be the client id"),
            (
                &[(CLIENT_ID, "k?reusable=true")],
                &["tag:a"],
                "attribute 'reusable' is unknown",
            ),
        ] {
            let error = parse(pairs, tags).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
