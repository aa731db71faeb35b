//! The command line.

use std::net::SocketAddr;

use aws_credential_types::provider::SharedCredentialsProvider;
use caller::config::Config;
use clap::Parser;
use lambda_env::SettingError;

/// An HTTP proxy into a tailnet, by a TailscaleLambdaProxy: requests for the tailnet are signed with the AWS credentials of this
/// machine's user, and all others go straight to where they are for.
///
/// Start it, and set HTTP_PROXY=http://localhost:8055 for the programs that are to reach the tailnet.
#[derive(Debug, Parser)]
#[command(name = "tailscale-lambda-caller", version)]
pub(crate) struct Args {
    /// The URL of the proxy's function, such as https://abc.lambda-url.eu-west-1.on.aws/
    #[arg(long, env = "TS_PROXY_URL", required_unless_present = "function")]
    pub(crate) url: Option<String>,
    /// The ARN of the proxy's function, to invoke it by Lambda's API instead of its URL
    #[arg(long, env = "TS_PROXY_FUNCTION", value_name = "ARN")]
    pub(crate) function: Option<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8055")]
    pub(crate) listen: SocketAddr,
    /// Listen where other machines reach it: all of them speak with the rights of the credentials
    #[arg(long)]
    pub(crate) allow_remote: bool,
    /// What goes into the tailnet, by commas; by default *.ts.net, Tailscale's addresses, and names without a dot
    #[arg(long, env = "TS_PROXY_TARGETS", value_name = "LIST")]
    pub(crate) targets: Option<String>,
    /// The profile of the AWS configuration to take credentials from
    #[arg(long)]
    pub(crate) profile: Option<String>,
    /// The region of the proxy's function, where neither its URL nor its ARN says so
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Log each request
    #[arg(long)]
    pub(crate) debug: bool,
}

impl Args {
    /// The proxy's settings: these arguments, and `get` for what is set by variables alone.
    pub(crate) fn config(
        &self,
        get: impl Fn(&str) -> Option<String>,
        credentials: Option<SharedCredentialsProvider>,
        region: Option<String>,
    ) -> Result<Config, SettingError> {
        if !self.listen.ip().is_loopback() && !self.allow_remote {
            return Err(SettingError::invalid(
                "--listen",
                self.listen.to_string(),
                "an address of this machine alone, such as 127.0.0.1:8055, unless --allow-remote is given: whoever reaches it \
                 speaks with the rights of your credentials",
            ));
        }
        let given = |name: &str| match name {
            "TS_PROXY_URL" => self.url.clone(),
            "TS_PROXY_FUNCTION" => self.function.clone(),
            "TS_PROXY_TARGETS" => self.targets.clone(),
            "TS_DEBUG" if self.debug => Some("true".to_owned()),
            name => get(name),
        };
        let credentials = credentials.ok_or(SettingError::Missing {
            name: "--profile",
            remedy: "name a profile of the AWS configuration",
        })?;
        Ok(Config {
            listen: self.listen,
            ..Config::with_credentials(given, credentials, region)?
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_credential_types::Credentials;
    use caller::config::Via;
    use clap::CommandFactory;

    use super::*;

    const URL: [&str; 2] = ["--url", "https://abc.lambda-url.us-east-2.on.aws/"];

    fn config(arguments: &[&str]) -> Result<Config, SettingError> {
        let args = Args::try_parse_from([&["tailscale-lambda-caller"], arguments].concat()).unwrap();
        let credentials = SharedCredentialsProvider::new(Credentials::new("AKIA", "s3cret", None, None, "test"));
        args.config(|_| None, Some(credentials), Some("eu-central-1".to_owned()))
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
        let arn = "arn:aws:lambda:us-east-2:111122223333:function:proxy";
        let config = config(&["--function", arn, "--listen", "127.0.0.1:0", "--debug"]).unwrap();
        assert_eq!(config.via, Via::Invoke { function: arn.into() });
        assert_eq!(config.listen.port(), 0);
        assert!(config.debug);
    }

    #[test]
    fn the_region_is_that_of_the_aws_configuration_where_the_url_has_none() {
        assert_eq!(
            config(&["--url", "https://proxy.example.com"]).unwrap().region,
            "eu-central-1"
        );
    }

    #[test]
    fn other_machines_are_let_in_by_consent_alone() {
        let listen = [&URL[..], &["--listen", "0.0.0.0:8055"]].concat();
        let message = config(&listen).unwrap_err().to_string();
        assert!(message.starts_with("--listen is '0.0.0.0:8055'"), "{message}");
        assert!(config(&[&listen[..], &["--allow-remote"]].concat()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = config(&["--url", "abc"]).unwrap_err().to_string();
        assert!(message.starts_with("TS_PROXY_URL is 'abc'"), "{message}");
        let error = Args::try_parse_from(["tailscale-lambda-caller"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("--url"), "{error}");
    }
}
