//! What the construct set: read once from the environment, checked in full before the first request.

use std::net::SocketAddr;

use aws_credential_types::provider::SharedCredentialsProvider;
use http::{HeaderName, HeaderValue, Uri};
use lambda_env::{
    SettingError, Variables,
    aws::{Access, regional_endpoint},
};
use tailnet::target_list::{self, TargetList};

/// Where HTTP clients find the proxy. Part of the contract with the constructs.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8055);

/// What goes into the tailnet where nothing else is set: Tailscale's names and addresses, and MagicDNS's short names.
const TARGETS: &str = "*.ts.net,100.64.0.0/10,fd7a:115c:a1e0::/48,<local>";

/// A function's ARN: what Lambda's API takes, and where it is.
const FUNCTION: &str = "the ARN of the proxy's function, such as arn:aws:lambda:eu-west-1:111122223333:function:proxy, with its alias at the end if it has one";
/// Another endpoint of Lambda's API.
const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_LAMBDA";
const ENDPOINT: &str = "the URL of an endpoint of Lambda's API, without a path";

const URL: &str = "the URL of the proxy's function, such as https://abc.lambda-url.eu-west-1.on.aws/";

/// The headers that a variable gives to requests that have none of their own.
const METRIC_HEADERS: [(&str, &str); 3] = [
    ("TS_METRIC_SERVICE", "ts-metric-service"),
    ("TS_METRIC_DIMENSION_NAME", "ts-metric-dimension-name"),
    ("TS_METRIC_DIMENSION_VALUE", "ts-metric-dimension-value"),
];

/// The caller's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTP clients find the proxy.
    pub listen: SocketAddr,
    /// Lambda's Extensions API, as `host:port`; empty outside Lambda.
    pub runtime_api: String,
    /// How the tailnet's proxy is called.
    pub via: Via,
    /// What requests are sent to: the Function URL, or Lambda's API.
    pub endpoint: Endpoint,
    /// The region that requests are signed for.
    pub region: String,
    /// What goes into the tailnet.
    pub targets: TargetList,
    /// What signs.
    pub credentials: SharedCredentialsProvider,
    /// Who calls, for messages: the function's name, or empty.
    pub function: String,
    /// Headers for requests that have none of these names.
    pub defaults: Vec<(HeaderName, HeaderValue)>,
    /// Log each request.
    pub debug: bool,
}

/// How the tailnet's proxy is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// By its Function URL.
    FunctionUrl,
    /// By Lambda's Invoke API.
    Invoke {
        /// The function's ARN, with its alias if it has one.
        function: String,
    },
}

/// A Function URL, or an endpoint of Lambda's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is reached by TLS, as every one is but those of tests.
    pub tls: bool,
    /// Its host, IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of the `host` header.
    pub authority: HeaderValue,
}

impl Config {
    /// Reads the settings of a function's extension through `get`, which is the process's environment everywhere but in tests.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let access = Access::read(&Variables::new(&get), ENDPOINT_VARIABLE);
        let credentials = access.credentials.ok_or(SettingError::Missing {
            name: "AWS_ACCESS_KEY_ID",
            remedy: "Lambda sets it, and AWS_SECRET_ACCESS_KEY, from the function's role, but not with SnapStart: switch SnapStart off",
        })?;
        Self::with_credentials(get, SharedCredentialsProvider::new(credentials), access.region)
    }

    /// The same with other credentials; `region` is where the proxy's function is unless its URL or ARN says so.
    pub fn with_credentials(
        get: impl Fn(&str) -> Option<String>,
        credentials: SharedCredentialsProvider,
        region: Option<String>,
    ) -> Result<Self, SettingError> {
        let variables = Variables::new(get);
        // The function may use the URL as well, for what it signs itself.
        let (via, endpoint, region) = match variables.text("TS_PROXY_FUNCTION") {
            Some(function) => by_invoke(function, Access::read(&variables, ENDPOINT_VARIABLE).endpoint)?,
            None => by_url(&variables, region)?,
        };
        Ok(Self {
            listen: LISTEN,
            runtime_api: variables.text("AWS_LAMBDA_RUNTIME_API").unwrap_or_default(),
            via,
            endpoint,
            region,
            targets: targets(variables.text("TS_PROXY_TARGETS"))?,
            credentials,
            function: variables.text("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            defaults: defaults(&variables)?,
            debug: variables.switch("TS_DEBUG", false)?,
        })
    }

    /// What is called: the Function URL's host, or the function's ARN.
    pub fn called(&self) -> &str {
        match &self.via {
            Via::FunctionUrl => &self.endpoint.host,
            Via::Invoke { function } => function,
        }
    }
}

impl Endpoint {
    /// Reads a URL that has a host, and no path, query or user.
    pub fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.trim().parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if uri.path() != "/" || uri.query().is_some() || authority.as_str().contains('@') {
            return None;
        }
        Some(Self {
            tls,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: HeaderValue::try_from(authority.as_str()).ok()?,
        })
    }

    /// The region that a Function URL's name has in it: `<id>.lambda-url.<region>.on.aws`.
    fn region(&self) -> Option<&str> {
        let (_, rest) = self.host.split_once(".lambda-url.")?;
        rest.split('.').next().filter(|region| !region.is_empty())
    }
}

fn by_url(
    variables: &Variables<impl Fn(&str) -> Option<String>>,
    region: Option<String>,
) -> Result<(Via, Endpoint, String), SettingError> {
    let url = variables.required(
        "TS_PROXY_URL",
        "set it to the URL of the proxy's function, as proxy.addCaller does, or TS_PROXY_FUNCTION to its ARN",
    )?;
    let endpoint = Endpoint::parse(&url).ok_or_else(|| SettingError::invalid("TS_PROXY_URL", &*url, URL))?;
    let region = endpoint.region().map(str::to_owned).or(region);
    let region = region.ok_or(SettingError::Missing {
        name: "AWS_REGION",
        remedy: "set it to the region of the proxy's function",
    })?;
    Ok((Via::FunctionUrl, endpoint, region))
}

/// `endpoint`: another one than that of the function's region, such as an interface endpoint without private DNS.
fn by_invoke(function: String, endpoint: Option<String>) -> Result<(Via, Endpoint, String), SettingError> {
    let Some(region) = region_of(&function) else {
        return Err(SettingError::invalid("TS_PROXY_FUNCTION", function, FUNCTION));
    };
    let region = region.to_owned();
    let url = endpoint.unwrap_or_else(|| regional_endpoint("lambda", &region));
    let endpoint = Endpoint::parse(&url).ok_or_else(|| SettingError::invalid(ENDPOINT_VARIABLE, &*url, ENDPOINT))?;
    Ok((Via::Invoke { function }, endpoint, region))
}

/// The region of a function, from its ARN. In a path, colons and dollar signs are all that must be encoded in one that this
/// takes.
fn region_of(arn: &str) -> Option<&str> {
    let legal = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_$".contains(&b));
    match arn.split(':').collect::<Vec<_>>()[..] {
        [
            "arn",
            partition,
            "lambda",
            region,
            account,
            "function",
            name,
            ref alias @ ..,
        ] if alias.len() <= 1 => {
            let parts = [partition, region, account, name];
            parts.iter().chain(alias).all(|part| legal(part)).then_some(region)
        }
        _ => None,
    }
}

fn targets(value: Option<String>) -> Result<TargetList, SettingError> {
    TargetList::parse(value.as_deref().unwrap_or(TARGETS))
        .map_err(|entry| SettingError::invalid("TS_PROXY_TARGETS", entry, target_list::EXPECTED))
}

fn defaults(
    variables: &Variables<impl Fn(&str) -> Option<String>>,
) -> Result<Vec<(HeaderName, HeaderValue)>, SettingError> {
    let set = METRIC_HEADERS
        .into_iter()
        .filter_map(|(variable, header)| Some((variable, header, variables.text(variable)?)));
    set.map(|(variable, header, text)| {
        let value = HeaderValue::try_from(text.as_str());
        let value = value.map_err(|_| SettingError::invalid(variable, text, "text without control characters"))?;
        Ok((HeaderName::from_static(header), value))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lambda_env::contract::Contract;
    use tailnet::host::Host;

    use super::*;

    const ROLE: [(&str, &str); 3] = [
        ("AWS_ACCESS_KEY_ID", "ASIAROLE"),
        ("AWS_SECRET_ACCESS_KEY", "s3cret"),
        ("AWS_REGION", "eu-central-1"),
    ];

    fn parse(pairs: &[(&str, &str)]) -> Result<Config, SettingError> {
        let all = [&ROLE, pairs].concat();
        Config::parse(|name| {
            let found = all.iter().rev().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_variable_of_the_contract_is_read_and_no_other() {
        let contract = Contract::of("caller");
        // No function's requests go both ways.
        let asked = contract.asked_for(&ROLE, |get| {
            Config::parse(get).unwrap();
            Config::parse(|name| get(name).filter(|_| name != "TS_PROXY_FUNCTION")).unwrap();
        });
        assert_eq!(asked, contract.names());
    }

    #[test]
    fn the_region_is_that_of_the_url_and_else_the_functions_own() {
        let region = |url| parse(&[("TS_PROXY_URL", url)]).unwrap().region;
        assert_eq!(region("https://abc.lambda-url.us-east-2.on.aws/"), "us-east-2");
        assert_eq!(region("https://proxy.example.com"), "eu-central-1");
    }

    #[test]
    fn a_function_is_invoked_where_its_arn_says() {
        for (arn, host, region) in [
            (
                "arn:aws:lambda:us-east-2:1:function:proxy",
                "lambda.us-east-2.amazonaws.com",
                "us-east-2",
            ),
            (
                "arn:aws-cn:lambda:cn-north-1:1:function:proxy:live",
                "lambda.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
        ] {
            let config = parse(&[("TS_PROXY_FUNCTION", arn), ("TS_PROXY_URL", "https://a.b")]).unwrap();
            assert_eq!((config.endpoint.host.as_str(), config.region.as_str()), (host, region));
            assert_eq!(
                config.via,
                Via::Invoke {
                    function: arn.to_owned()
                }
            );
        }
    }

    #[test]
    fn another_endpoint_of_the_api_is_taken_and_the_region_stays_the_functions() {
        let function = ("TS_PROXY_FUNCTION", "arn:aws:lambda:us-east-2:1:function:proxy");
        let config = parse(&[function, ("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9001")]).unwrap();
        assert_eq!((config.endpoint.port, config.endpoint.tls), (9001, false));
        assert_eq!(config.region, "us-east-2");
        let message = parse(&[function, ("AWS_ENDPOINT_URL_LAMBDA", "vpce")])
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("AWS_ENDPOINT_URL_LAMBDA is 'vpce'"), "{message}");
    }

    #[test]
    fn what_is_no_functions_arn_is_refused() {
        for arn in [
            "proxy",
            "arn:aws:lambda::1:function:proxy",
            "arn:aws:lambda:eu-west-1:1:layer:proxy",
            "arn:aws:lambda:eu-west-1:1:function:proxy:live:more",
            "arn:aws:lambda:eu-west-1/x:1:function:proxy",
            "arn:aws:s3:eu-west-1:1:function:proxy",
        ] {
            let message = parse(&[("TS_PROXY_FUNCTION", arn)]).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("TS_PROXY_FUNCTION is '{arn}'")),
                "{message}"
            );
        }
    }

    #[test]
    fn what_goes_into_the_tailnet_by_default() {
        let targets = parse(&[("TS_PROXY_URL", "https://a.b")]).unwrap().targets;
        for host in [
            "billing.example.ts.net",
            "100.64.0.1",
            "100.127.255.255",
            "[fd7a:115c:a1e0::1]",
            "billing",
        ] {
            assert!(targets.holds(&Host::parse(host).unwrap(), 8080), "{host}");
        }
        for host in [
            "api.example.com",
            "10.1.2.3",
            "100.128.0.1",
            "localhost",
            "169.254.169.254",
            "ts.net",
        ] {
            assert!(!targets.holds(&Host::parse(host).unwrap(), 80), "{host}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_it_must_be() {
        for url in ["abc", "ftp://a/", "https://a/path", "https://a/?q", "https://user@a/"] {
            let message = parse(&[("TS_PROXY_URL", url)]).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("TS_PROXY_URL is '{url}', but must be")),
                "{message}"
            );
        }
        assert!(
            parse(&[])
                .unwrap_err()
                .to_string()
                .starts_with("TS_PROXY_URL is not set")
        );
        let url = ("TS_PROXY_URL", "https://a/");
        let message = parse(&[url, ("TS_PROXY_TARGETS", "db,*")]).unwrap_err().to_string();
        assert!(message.starts_with("TS_PROXY_TARGETS is '*'"), "{message}");
        let message = parse(&[url, ("AWS_ACCESS_KEY_ID", "")]).unwrap_err().to_string();
        assert!(message.contains("SnapStart"), "{message}");
    }

    #[test]
    fn secrets_are_never_shown() {
        let shown = format!("{:?}", parse(&[("TS_PROXY_URL", "https://a/")]).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
