//! As whom AWS is called, and where.

use crate::Variables;
use aws_credential_types::Credentials;

use super::{proxy::ProxyVariables, wire::Wire};

/// What Lambda puts into the environment, and the SDKs' own variables for another endpoint.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The function's region.
    pub region: Option<String>,
    /// An endpoint other than the region's own.
    pub endpoint: Option<String>,
    /// The function's role.
    pub credentials: Option<Credentials>,
    /// A proxy on the way there. [`read`](Self::read) looks for none.
    pub proxy: ProxyVariables,
}

impl Access {
    /// The same, by way of a proxy where there is one.
    #[must_use]
    pub fn through(self, proxy: ProxyVariables) -> Self {
        Self { proxy, ..self }
    }

    /// Connections by way of the proxy, if there is one.
    pub fn wire(&self) -> Wire {
        Wire::default().through(self.proxy.clone())
    }

    /// The access to a service: `endpoint_variable` names its endpoint (`AWS_ENDPOINT_URL_...`), if there is another
    /// one than the region's; next comes `AWS_ENDPOINT_URL`, which is for all services
    /// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>).
    pub fn read(variables: &Variables<impl Fn(&str) -> Option<String>>, endpoint_variable: &'static str) -> Self {
        let id = variables.text("AWS_ACCESS_KEY_ID");
        let key = id.zip(variables.text("AWS_SECRET_ACCESS_KEY"));
        let token = variables.text("AWS_SESSION_TOKEN");
        Self {
            region: variables.text("AWS_REGION"),
            endpoint: variables
                .text(endpoint_variable)
                .or_else(|| variables.text("AWS_ENDPOINT_URL")),
            proxy: ProxyVariables::default(),
            credentials: key.map(|(id, secret)| Credentials::new(id, secret, token, None, "environment")),
        }
    }

    /// The access to Secrets Manager for the secret of this name or ARN, which is read where it is: in the region of its
    /// ARN, if it is named by that.
    pub fn read_for_secret(variables: &Variables<impl Fn(&str) -> Option<String>>, secret: &str) -> Self {
        let access = Self::read(variables, "AWS_ENDPOINT_URL_SECRETS_MANAGER");
        Self {
            region: region_of(secret).or(access.region),
            ..access
        }
    }
}

fn region_of(arn: &str) -> Option<String> {
    match arn.split(':').collect::<Vec<_>>()[..] {
        ["arn", _, "secretsmanager", region, _, "secret", ..] if !region.is_empty() => Some(region.to_owned()),
        _ => None,
    }
}

/// The service's endpoint in a region, by the partition's suffix.
/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>
/// <https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>
pub fn regional_endpoint(service: &str, region: &str) -> String {
    let mut words = region.split('-');
    let suffix = match (words.next(), words.next()) {
        (Some("cn"), _) => "amazonaws.com.cn",
        (Some("eusc"), _) => "amazonaws.eu",
        (Some("us"), Some("iso")) => "c2s.ic.gov",
        (Some("us"), Some("isob")) => "sc2s.sgov.gov",
        (Some("us"), Some("isof")) => "csp.hci.ic.gov",
        (Some("eu"), Some("isoe")) => "cloud.adc-e.uk",
        _ => "amazonaws.com",
    };
    format!("https://{service}.{region}.{suffix}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(pairs: &[(&str, &str)]) -> Access {
        let find = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Access::read(&Variables::new(find), "AWS_ENDPOINT_URL_X")
    }

    #[test]
    fn the_services_own_endpoint_comes_before_the_one_for_all() {
        let all = ("AWS_ENDPOINT_URL", "http://all");
        assert_eq!(access(&[all]).endpoint.as_deref(), Some("http://all"));
        let own = access(&[all, ("AWS_ENDPOINT_URL_X", "http://x")]);
        assert_eq!(own.endpoint.as_deref(), Some("http://x"));
        assert_eq!(access(&[]), Access::default());
    }

    #[test]
    fn credentials_are_whole_or_none_and_never_shown() {
        let id = ("AWS_ACCESS_KEY_ID", "AKID");
        assert_eq!(access(&[id]).credentials, None);
        let whole = access(&[id, ("AWS_SECRET_ACCESS_KEY", "s3cret"), ("AWS_SESSION_TOKEN", "t0ken")]);
        assert!(whole.credentials.is_some());
        let shown = format!("{whole:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
    }

    #[test]
    fn a_secret_is_read_in_the_region_of_its_arn() {
        let arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:mtls-AbCdEf";
        assert_eq!(region_of(arn).as_deref(), Some("us-east-1"));
        for name in [
            "mtls",
            "a:b:secretsmanager:c:d:secret:e",
            "arn:aws:secretsmanager::1:secret:a",
        ] {
            assert_eq!(region_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_endpoint_is_the_regions_own() {
        for (service, region, endpoint) in [
            ("sts", "eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
            ("sts", "us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"),
            ("ssm", "cn-north-1", "https://ssm.cn-north-1.amazonaws.com.cn/"),
            ("sts", "eusc-de-east-1", "https://sts.eusc-de-east-1.amazonaws.eu/"),
            ("sts", "us-iso-east-1", "https://sts.us-iso-east-1.c2s.ic.gov/"),
            ("sts", "us-isob-east-1", "https://sts.us-isob-east-1.sc2s.sgov.gov/"),
            ("sts", "us-isof-south-1", "https://sts.us-isof-south-1.csp.hci.ic.gov/"),
            ("sts", "eu-isoe-west-1", "https://sts.eu-isoe-west-1.cloud.adc-e.uk/"),
        ] {
            assert_eq!(regional_endpoint(service, region), endpoint);
        }
    }
}
