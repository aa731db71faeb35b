//! What the construct set: read once from the environment, checked in full before the first request.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lambda_env::aws::{Access, ProxyVariables};
use lambda_env::{SettingError, Variables};

use crate::{
    allowlist::Allowlist,
    ca_certificates::CaCertificates,
    client_certificate::ClientCertificate,
    metrics::{self, Output},
    profiles::{self, Profiles},
};

/// The port of tailscaled's SOCKS5 server. A variable that names it as a proxy is no way to AWS.
const SOCKS_PORT: u16 = 1055;
/// How long opening a connection to a target may take where nothing else is set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a target may be silent where nothing else is set, as nginx and AWS's load balancers have it: Lambda does not
/// tell the function when the caller has gone, and each of its retries holds another environment.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How often metrics are sent, and how long the next request may wait for that, where nothing else is set.
const METRICS_INTERVAL: Duration = Duration::from_secs(10);
const METRICS_BUDGET: Duration = Duration::from_millis(100);

/// The proxy's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// tailscaled's SOCKS5 server.
    pub socks: SocketAddr,
    /// Lambda's Runtime API, as `host:port`; empty outside Lambda.
    pub runtime_api: String,
    /// The extension's socket.
    pub extension_socket: PathBuf,
    /// How long opening a connection to a target may take, the wait for the tailnet included. 5 s by default.
    pub connect_timeout: Duration,
    /// How long a target may take from the request to the end of its answer.
    /// By default as long as the invocation lasts; the invocation's end always comes first.
    pub response_timeout: Option<Duration>,
    /// How long a target may take from the request to the head of its response. 60 s by default.
    pub first_byte_timeout: Option<Duration>,
    /// How long a target may be silent in the middle of its response. 60 s by default.
    pub idle_timeout: Option<Duration>,
    /// How answers leave. Buffered by default.
    pub invoke_mode: InvokeMode,
    /// Certificates to trust beside the public authorities.
    pub ca_certificates: Option<CaCertificates>,
    /// The secret with the certificate for targets that ask their clients for one.
    pub client_certificate_secret: Option<String>,
    /// Where Secrets Manager is.
    pub secrets: Access,
    /// What that secret holds, as soon as it has been read.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// Take any certificate of a target.
    pub skip_tls_verification: bool,
    /// The only targets that may be reached, where there is such a list.
    pub allowed_targets: Option<Allowlist>,
    /// The targets by the alias that was invoked, beside those that all may reach, where there are such.
    pub profiles: Option<Profiles>,
    /// Tell the target who asked.
    pub forward_caller_arn: bool,
    /// What tells this environment from others: its log stream's name; empty outside Lambda.
    pub environment: String,
    /// What is counted, and how it leaves.
    pub metrics: metrics::Settings,
    /// Log everything but bodies and secrets.
    pub debug: bool,
}

/// How the function's answers leave: the Function URL's invoke mode, which the two must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokeMode {
    /// Whole, up to 6 MB.
    Buffered,
    /// As they come, up to 200 MB.
    ResponseStream,
}

impl Config {
    /// Reads the settings through `get`, which is the process's environment everywhere but in tests.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let variables = Variables::new(get);
        let client_certificate_secret = variables.text("TS_CLIENT_CERTIFICATE_SECRET");
        Ok(Self {
            socks: SocketAddr::from(([127, 0, 0, 1], SOCKS_PORT)),
            runtime_api: variables.text("AWS_LAMBDA_RUNTIME_API").unwrap_or_default(),
            extension_socket: tailnet::protocol::SOCKET.into(),
            connect_timeout: variables.milliseconds("TS_CONNECT_TIMEOUT")?.unwrap_or(CONNECT_TIMEOUT),
            response_timeout: variables.milliseconds("TS_RESPONSE_TIMEOUT")?,
            first_byte_timeout: silence(&variables, "TS_FIRST_BYTE_TIMEOUT")?,
            idle_timeout: silence(&variables, "TS_IDLE_TIMEOUT")?,
            invoke_mode: invoke_mode(variables.text("TS_INVOKE_MODE"))?,
            ca_certificates: ca_certificates(
                variables.text("TS_CA_CERTIFICATES"),
                variables.text("TS_CA_CERTIFICATES_FILE"),
            )?,
            secrets: Access::read_for_secret(&variables, client_certificate_secret.as_deref().unwrap_or_default())
                .through(ProxyVariables::read(&variables, &[SOCKS_PORT])),
            client_certificate_secret,
            client_certificate: None,
            skip_tls_verification: variables.switch("TS_SKIP_TLS_VERIFICATION", false)?,
            allowed_targets: allowed_targets(variables.text("TS_ALLOWED_TARGETS"))?,
            profiles: profiles(variables.text("TS_PROFILES"))?,
            forward_caller_arn: variables.switch("TS_FORWARD_CALLER_ARN", false)?,
            environment: variables.text("AWS_LAMBDA_LOG_STREAM_NAME").unwrap_or_default(),
            metrics: metrics(&variables)?,
            debug: variables.switch("TS_DEBUG", false)?,
        })
    }
}

/// How long a target may be silent: 0 for no limit of its own.
fn silence(
    variables: &Variables<impl Fn(&str) -> Option<String>>,
    name: &'static str,
) -> Result<Option<Duration>, SettingError> {
    let limit = variables.milliseconds_or_none(name)?.unwrap_or(SILENCE_LIMIT);
    Ok((!limit.is_zero()).then_some(limit))
}

fn invoke_mode(value: Option<String>) -> Result<InvokeMode, SettingError> {
    match value.as_deref() {
        None | Some("BUFFERED") => Ok(InvokeMode::Buffered),
        Some("RESPONSE_STREAM") => Ok(InvokeMode::ResponseStream),
        Some(value) => Err(SettingError::invalid(
            "TS_INVOKE_MODE",
            value,
            "BUFFERED or RESPONSE_STREAM",
        )),
    }
}

fn metrics(variables: &Variables<impl Fn(&str) -> Option<String>>) -> Result<metrics::Settings, SettingError> {
    let output = match variables.text("TS_METRICS").as_deref() {
        None | Some("cloudwatch") => Output::CloudWatch,
        Some("embedded") => Output::Embedded,
        Some("off") => Output::Off,
        Some(value) => {
            return Err(SettingError::invalid(
                "TS_METRICS",
                value,
                "cloudwatch, embedded or off",
            ));
        }
    };
    Ok(metrics::Settings {
        proxy: lambda_env::metrics::proxy_name(variables)?,
        output,
        details: variables.switch("TS_METRICS_DETAILS", false)?,
        interval: variables
            .milliseconds_or_none("TS_METRICS_INTERVAL")?
            .unwrap_or(METRICS_INTERVAL),
        budget: variables.milliseconds("TS_METRICS_BUDGET")?.unwrap_or(METRICS_BUDGET),
        access: Access::read(variables, "AWS_ENDPOINT_URL_CLOUDWATCH")
            .through(ProxyVariables::read(variables, &[SOCKS_PORT])),
    })
}

fn ca_certificates(text: Option<String>, file: Option<String>) -> Result<Option<CaCertificates>, SettingError> {
    let given = text.map(|text| CaCertificates::parse(&text)).transpose();
    let given = given.map_err(|error| SettingError::Unusable {
        name: "TS_CA_CERTIFICATES",
        reason: error.to_string(),
        expected: "certificates as PEM text",
    })?;
    let read = file.map(|path| CaCertificates::read(Path::new(&path)).map_err(|error| (path, error)));
    let read = read.transpose().map_err(|(path, error)| SettingError::Unusable {
        name: "TS_CA_CERTIFICATES_FILE",
        reason: format!("{path}: {error}"),
        expected: "the path of a file with certificates as PEM text, such as /opt/authorities.pem in a layer",
    })?;
    Ok(given.into_iter().chain(read).reduce(CaCertificates::with))
}

fn allowed_targets(list: Option<String>) -> Result<Option<Allowlist>, SettingError> {
    let parsed = list.map(|list| Allowlist::parse(&list)).transpose();
    parsed.map_err(|value| SettingError::invalid("TS_ALLOWED_TARGETS", value, tailnet::target_list::EXPECTED))
}

fn profiles(text: Option<String>) -> Result<Option<Profiles>, SettingError> {
    let parsed = text.map(|text| Profiles::parse(&text)).transpose();
    parsed.map_err(|value| SettingError::invalid("TS_PROFILES", value, profiles::EXPECTED))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::LazyLock;

    use lambda_env::contract::Contract;

    use super::*;

    static CERTIFICATE: LazyLock<String> = LazyLock::new(|| {
        rcgen::generate_simple_self_signed(["db".to_owned()])
            .unwrap()
            .cert
            .pem()
    });

    fn parse(name: &str, value: &str) -> Result<Config, SettingError> {
        Config::parse(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn the_settings_have_defaults() {
        let config = parse("", "").unwrap();
        assert_eq!(config.connect_timeout, Duration::from_secs(5));
        assert_eq!(config.response_timeout, None);
        assert_eq!(config.first_byte_timeout, Some(Duration::from_secs(60)));
        assert_eq!(config.idle_timeout, Some(Duration::from_secs(60)));
        assert!(!config.debug);
    }

    #[test]
    fn aws_is_asked_by_way_of_a_proxy_that_is_not_the_tailnet() {
        for (proxy, on_the_way) in [
            ("http://proxy.corp.example:3128", true),
            ("http://localhost:1055", false),
        ] {
            let config = parse("HTTPS_PROXY", proxy).unwrap();
            for access in [config.secrets, config.metrics.access] {
                assert_eq!(access.proxy != ProxyVariables::default(), on_the_way, "{proxy}");
            }
        }
    }

    #[test]
    fn time_outs_are_read_in_milliseconds() {
        assert_eq!(
            parse("TS_CONNECT_TIMEOUT", "250").unwrap().connect_timeout,
            Duration::from_millis(250)
        );
        assert_eq!(
            parse("TS_RESPONSE_TIMEOUT", "9000").unwrap().response_timeout,
            Some(Duration::from_secs(9))
        );
    }

    #[test]
    fn a_silent_target_is_waited_for_without_end_where_the_owner_says_so() {
        assert_eq!(parse("TS_FIRST_BYTE_TIMEOUT", "0").unwrap().first_byte_timeout, None);
        assert_eq!(parse("TS_IDLE_TIMEOUT", "0").unwrap().idle_timeout, None);
        let set = parse("TS_FIRST_BYTE_TIMEOUT", "45000").unwrap();
        assert_eq!(set.first_byte_timeout, Some(Duration::from_secs(45)));
    }

    #[test]
    fn a_bad_value_is_named_with_what_it_must_be() {
        for (name, value) in [
            ("TS_CONNECT_TIMEOUT", "0"),
            ("TS_RESPONSE_TIMEOUT", "5s"),
            ("TS_FIRST_BYTE_TIMEOUT", "-1"),
            ("TS_IDLE_TIMEOUT", "1m"),
            ("TS_DEBUG", "1"),
            ("TS_INVOKE_MODE", "STREAM"),
            ("TS_SKIP_TLS_VERIFICATION", "yes"),
            ("TS_FORWARD_CALLER_ARN", "arn"),
            ("TS_ALLOWED_TARGETS", "10.0.0.1/8"),
            ("TS_PROFILES", "live=db"),
            ("TS_METRICS", "on"),
            ("TS_METRICS_DETAILS", "1"),
            ("TS_METRICS_PROXY_COUNTS", "no"),
            ("TS_METRICS_PROXY_NAME", "the office"),
            ("TS_METRICS_INTERVAL", "-1"),
            ("TS_METRICS_BUDGET", "0"),
        ] {
            let message = parse(name, value).unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains(value) && message.contains("must be"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_proxy_is_counted_under_its_functions_name_or_the_one_that_is_set() {
        let name = |pairs: &[(&str, &str)]| {
            let find = |asked: &str| pairs.iter().find(|(name, _)| *name == asked);
            let config = Config::parse(|asked| find(asked).map(|(_, value)| (*value).to_owned()));
            config.unwrap().metrics.proxy
        };
        let function = ("AWS_LAMBDA_FUNCTION_NAME", "stack-proxy-1A");
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[function]).as_deref(), Some("stack-proxy-1A"));
        let named = ("TS_METRICS_PROXY_NAME", "office/proxy");
        assert_eq!(name(&[function, named]).as_deref(), Some("office/proxy"));
        assert_eq!(name(&[function, named, ("TS_METRICS_PROXY_COUNTS", "false")]), None);
    }

    #[test]
    fn certificates_that_cannot_be_trusted_are_refused_before_the_first_request() {
        let no_certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let (one, broken) = (CERTIFICATE.as_str(), &CERTIFICATE[..200]);
        assert!(parse("TS_CA_CERTIFICATES", &format!("{one}\n{one}")).is_ok());
        for (text, reason) in [
            ("nonsense".to_owned(), "there is no certificate in it"),
            (broken.to_owned(), "certificate 1 is not PEM text"),
            (no_certificate.to_owned(), "certificate 1 cannot be trusted"),
            (format!("{one}{no_certificate}"), "certificate 2 cannot be trusted"),
        ] {
            let message = parse("TS_CA_CERTIFICATES", &text).unwrap_err().to_string();
            assert!(
                message.contains("TS_CA_CERTIFICATES") && message.contains(reason),
                "{message}"
            );
        }
    }

    /// A file with this text; it is removed when this is dropped.
    struct File(PathBuf);

    impl File {
        fn of(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("proxy-config-{}-{name}", std::process::id()));
            std::fs::write(&path, text).unwrap();
            Self(path)
        }

        fn path(&self) -> String {
            self.0.to_str().unwrap().to_owned()
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            // Best effort: the folder is the system's temporary one.
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_file_of_certificates_is_trusted_beside_those_that_are_set() {
        // More than all environment variables of a function have room for.
        let file = File::of("bundle.pem", &format!("# Authorities\n{}", CERTIFICATE.repeat(200)));
        let config = Config::parse(|name| match name {
            "TS_CA_CERTIFICATES" => Some(CERTIFICATE.clone()),
            "TS_CA_CERTIFICATES_FILE" => Some(file.path()),
            _ => None,
        });
        assert_eq!(config.unwrap().ca_certificates.unwrap().certificates().len(), 201);
    }

    #[test]
    fn a_file_of_certificates_that_cannot_be_used_is_refused_before_the_first_request() {
        let (empty, broken) = (File::of("empty.pem", ""), File::of("broken.pem", &CERTIFICATE[..200]));
        let large = File::of("large.pem", &"#".repeat(1 << 20 | 1));
        for (path, reason) in [
            (
                "/opt/none.pem".to_owned(),
                "/opt/none.pem: it cannot be read: No such file",
            ),
            ("/opt".to_owned(), "it cannot be read: "),
            (empty.path(), "there is no certificate in it"),
            (broken.path(), "certificate 1 is not PEM text"),
            (large.path(), "it is 1048577 bytes long, but must have 1048576 at most"),
        ] {
            let message = parse("TS_CA_CERTIFICATES_FILE", &path).unwrap_err().to_string();
            assert!(
                message.contains("TS_CA_CERTIFICATES_FILE") && message.contains(&path) && message.contains(reason),
                "{message}"
            );
        }
    }

    #[test]
    fn what_the_constructs_set_is_what_is_read_and_nothing_else() {
        let contract = Contract::of("proxy");
        let file = File::of("contract.pem", &CERTIFICATE);
        let read = contract.asked_for(&[], |get| {
            // The table's example of a certificate is none, and nobody has made its file.
            let get = |name: &str| match name {
                "TS_CA_CERTIFICATES" => get(name).map(|_| CERTIFICATE.clone()),
                "TS_CA_CERTIFICATES_FILE" => get(name).map(|_| file.path()),
                _ => get(name),
            };
            Config::parse(get).unwrap();
        });
        assert_eq!(read, contract.names());
    }
}
