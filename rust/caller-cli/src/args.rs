//! The command line.

use std::net::{Ipv4Addr, SocketAddr};

use aws_credential_types::provider::SharedCredentialsProvider;
use caller::config::Config;
use clap::Parser;
use lambda_env::{SettingError, Variables};

const DEFAULT_LISTEN: &str = "127.0.0.1:8055";

/// Sends HTTP requests into a tailnet, by a TailscaleLambdaProxy.
///
/// It is an HTTP proxy on this machine: requests for machines of the tailnet are signed with the user's AWS credentials and sent
/// to the tailnet's proxy, and all others go straight to where they are for. Start it, and set HTTP_PROXY=http://localhost:8055
/// for the programs that are to reach the tailnet.
///
/// The metric headers ts-metric-service, ts-metric-dimension-name and ts-metric-dimension-value can be set for all requests by
/// TS_METRIC_SERVICE, TS_METRIC_DIMENSION_NAME and TS_METRIC_DIMENSION_VALUE.
#[derive(Debug, Parser)]
#[command(name = "tailscale-lambda-caller")]
pub(crate) struct Args {
    /// The URL of the proxy's function, such as https://abc.lambda-url.eu-west-1.on.aws/ [env: TS_PROXY_URL]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The ARN of the proxy's function, to invoke it by Lambda's API instead of its URL [env: TS_PROXY_FUNCTION]
    #[arg(long, value_name = "ARN", conflicts_with = "url")]
    pub(crate) function: Option<String>,
    /// Where to listen [env: TS_PROXY_LISTEN] [default: 127.0.0.1:8055]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Listen where other machines can connect: all of them then speak with your rights [env: TS_PROXY_ALLOW_REMOTE=true]
    #[arg(long)]
    pub(crate) allow_remote: bool,
    /// What goes into the tailnet, separated by commas [env: TS_PROXY_TARGETS] [default: *.ts.net, Tailscale's addresses,
    /// and names without a dot]
    #[arg(long, value_name = "LIST")]
    pub(crate) targets: Option<String>,
    /// The profile of the AWS configuration to take credentials from [env: AWS_PROFILE]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The region of the proxy's function, if neither its URL nor its ARN names it [env: AWS_REGION]
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Log each request [env: TS_DEBUG=true]
    #[arg(long)]
    pub(crate) debug: bool,
}

impl Args {
    /// The proxy's settings: these arguments, and the variables that `get` finds for those that are not given. `region` is that
    /// of the AWS configuration.
    pub(crate) fn config(
        &self,
        get: impl Fn(&str) -> Option<String>,
        credentials: SharedCredentialsProvider,
        region: Option<String>,
    ) -> Result<Config, SettingError> {
        // An option that names the proxy replaces both variables.
        let named = self.url.is_some() || self.function.is_some();
        let given = |name: &str| match name {
            "TS_PROXY_URL" => self.url.clone().or_else(|| get(name).filter(|_| !named)),
            "TS_PROXY_FUNCTION" => self.function.clone().or_else(|| get(name).filter(|_| !named)),
            "TS_PROXY_LISTEN" => self.listen.clone().or_else(|| get(name)),
            "TS_PROXY_TARGETS" => self.targets.clone().or_else(|| get(name)),
            "TS_PROXY_ALLOW_REMOTE" if self.allow_remote => Some("true".to_owned()),
            "TS_DEBUG" if self.debug => Some("true".to_owned()),
            name => get(name),
        };
        let variables = Variables::new(&given);
        if variables.text("TS_PROXY_URL").is_none() && variables.text("TS_PROXY_FUNCTION").is_none() {
            return Err(SettingError::Missing {
                name: "--url (TS_PROXY_URL)",
                remedy: "set it to the URL of the proxy's function, such as https://abc.lambda-url.eu-west-1.on.aws/, or --function to its ARN",
            });
        }
        let listen = listen(&variables)?;
        let config = Config::with_credentials(given, credentials, region);
        Ok(Config {
            listen,
            ..config.map_err(named_as_options)?
        })
    }
}

fn listen(variables: &Variables<impl Fn(&str) -> Option<String>>) -> Result<SocketAddr, SettingError> {
    const NAME: &str = "--listen (TS_PROXY_LISTEN)";
    let text = variables
        .text("TS_PROXY_LISTEN")
        .unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    let Some(address) = address else {
        return Err(SettingError::invalid(
            NAME,
            text,
            "an IP address or localhost, and a port, such as 127.0.0.1:8055 or [::1]:8055",
        ));
    };
    if address.ip().is_loopback() || variables.switch("TS_PROXY_ALLOW_REMOTE", false)? {
        return Ok(address);
    }
    Err(SettingError::invalid(
        NAME,
        text,
        "an address that this machine alone can reach, such as 127.0.0.1:8055: whoever connects speaks with your rights. If other \
         machines may do so, add --allow-remote",
    ))
}

/// The same error with the option beside the variable that it replaces.
fn named_as_options(mut error: SettingError) -> SettingError {
    let (SettingError::Missing { name, .. } | SettingError::Invalid { name, .. } | SettingError::Unusable { name, .. }) =
        &mut error;
    *name = match *name {
        "TS_PROXY_URL" => "--url (TS_PROXY_URL)",
        "TS_PROXY_FUNCTION" => "--function (TS_PROXY_FUNCTION)",
        "TS_PROXY_TARGETS" => "--targets (TS_PROXY_TARGETS)",
        "AWS_REGION" => "--region (AWS_REGION)",
        other => other,
    };
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_credential_types::Credentials;
    use caller::config::Via;
    use clap::CommandFactory;

    use super::*;

    const URL: [&str; 2] = ["--url", "https://abc.lambda-url.us-east-2.on.aws/"];
    const ARN: &str = "arn:aws:lambda:us-east-2:111122223333:function:proxy";

    fn with_variables(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, SettingError> {
        let args = Args::try_parse_from([&["tailscale-lambda-caller"], arguments].concat()).unwrap();
        let credentials = SharedCredentialsProvider::new(Credentials::new("AKIA", "s3cret", None, None, "test"));
        let get = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        args.config(get, credentials, Some("eu-central-1".to_owned()))
    }

    fn config(arguments: &[&str]) -> Result<Config, SettingError> {
        with_variables(arguments, &[])
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_url_is_enough() {
        let config = config(&URL).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8055");
        assert_eq!((config.via, config.region.as_str()), (Via::FunctionUrl, "us-east-2"));
        assert!(!config.debug);
    }

    #[test]
    fn a_function_is_invoked_by_its_arn() {
        let config = config(&["--function", ARN, "--listen", "localhost:0", "--debug"]).unwrap();
        assert_eq!(config.via, Via::Invoke { function: ARN.into() });
        assert_eq!(config.listen.to_string(), "127.0.0.1:0");
        assert!(config.debug);
        assert!(Args::try_parse_from([&["x", "--function", ARN][..], &URL].concat()).is_err());
    }

    #[test]
    fn each_option_has_its_variable_and_comes_before_it() {
        let variables = [
            ("TS_PROXY_FUNCTION", ARN),
            ("TS_PROXY_LISTEN", "[::1]:1"),
            ("TS_PROXY_TARGETS", "db:5432"),
            ("TS_METRIC_SERVICE", "billing"),
            ("TS_DEBUG", "true"),
        ];
        let by_variables = with_variables(&[], &variables).unwrap();
        assert_eq!(by_variables.via, Via::Invoke { function: ARN.into() });
        assert_eq!(by_variables.listen.to_string(), "[::1]:1");
        assert_eq!(by_variables.defaults[0].1, "billing");
        assert!(by_variables.debug);
        let by_options = [&URL[..], &["--listen", "127.0.0.1:2"]].concat();
        let by_options = with_variables(&by_options, &variables).unwrap();
        assert_eq!((by_options.via, by_options.listen.port()), (Via::FunctionUrl, 2));
    }

    #[test]
    fn the_region_is_that_of_the_aws_configuration_where_the_url_has_none() {
        let region = config(&["--url", "https://proxy.example.com"]).unwrap().region;
        assert_eq!(region, "eu-central-1");
    }

    #[test]
    fn other_machines_are_let_in_by_consent_alone() {
        for address in ["0.0.0.0:8055", "[::]:8055", "192.0.2.1:8055"] {
            let listen = [&URL[..], &["--listen", address]].concat();
            let message = config(&listen).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("--listen (TS_PROXY_LISTEN) is '{address}'")),
                "{message}"
            );
            assert!(message.contains("--allow-remote"), "{message}");
            assert!(config(&[&listen[..], &["--allow-remote"]].concat()).is_ok());
            assert!(with_variables(&listen, &[("TS_PROXY_ALLOW_REMOTE", "true")]).is_ok());
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_option_and_its_variable() {
        for (arguments, start) in [
            (
                &[][..],
                "--url (TS_PROXY_URL) is not set: set it to the URL of the proxy's function",
            ),
            (&["--url", ""], "--url (TS_PROXY_URL) is not set"),
            (&["--url", "abc"], "--url (TS_PROXY_URL) is 'abc', but must be the URL"),
            (
                &["--function", "proxy"],
                "--function (TS_PROXY_FUNCTION) is 'proxy', but must be the ARN",
            ),
            (
                &["--url", "https://a.b", "--targets", "db,*"],
                "--targets (TS_PROXY_TARGETS) is '*'",
            ),
            (
                &["--url", "https://a.b", "--listen", "8055"],
                "--listen (TS_PROXY_LISTEN) is '8055', but must be",
            ),
        ] {
            let message = config(arguments).unwrap_err().to_string();
            assert!(message.starts_with(start), "{arguments:?}: {message}");
        }
    }
}
