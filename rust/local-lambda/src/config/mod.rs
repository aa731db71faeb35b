//! `function.json`: what a deployed function's configuration would say, read once and strictly.

mod limits;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Why `function.json` cannot be used. The message names the field, its value and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or not readable.
    #[error("cannot read the configuration {path}: {source}; name an existing file with --config")]
    Unreadable {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not the JSON that is expected: a missing, unknown or mistyped field.
    #[error("{path}: field `{field}`: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value that cannot be.
    #[error("`{field}` is {value}: {remedy}")]
    Invalid {
        /// The field.
        field: String,
        /// The value that was given.
        value: String,
        /// What it must be.
        remedy: String,
    },
}

/// Text that never shows in logs.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// AWS credentials: a caller's, or the execution role's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// The session token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<Secret>,
}

/// The instruction set that the zips were built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[serde(rename = "arm64")]
    Arm64,
}

impl Architecture {
    /// This machine's, if Lambda has it.
    pub fn of_this_machine() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

/// How the URL hands the function's answer to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InvokeMode {
    /// As one piece.
    #[default]
    Buffered,
    /// As it comes.
    ResponseStream,
}

/// The function, as its configuration on the service would describe it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    /// The function's name.
    pub function_name: String,
    /// The zip that becomes `/var/task`.
    pub handler_zip: PathBuf,
    /// The zips that become `/opt`, later ones over earlier ones.
    #[serde(default)]
    pub layer_zips: Vec<PathBuf>,
    /// The folder whose programs and libraries the environments have, as an image's root would be: this machine's own unless
    /// another is named. Where another is named and there are no layers, its `/opt` is the function's.
    #[serde(default = "machine_root")]
    pub root_filesystem: PathBuf,
    /// What the zips were built for.
    pub architecture: Architecture,
    /// Memory in MB: told to the function, and the measure of its CPU share. Not enforced.
    #[serde(default = "default_memory")]
    pub memory_mb: u32,
    /// The function's time-out in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u32,
    /// The region that it claims to be in.
    pub region: String,
    /// The account that owns it: twelve digits.
    pub account_id: String,
    /// Its environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The URL's invoke mode.
    #[serde(default)]
    pub invoke_mode: InvokeMode,
    /// Who may call the URL, and the Invoke API.
    #[serde(default)]
    pub callers: Vec<Credentials>,
    /// The names, beside its own, that the Invoke API finds the function under; each can have a URL of its own.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What the function finds in `AWS_ACCESS_KEY_ID` and its companions.
    pub execution_role: Credentials,
    /// How many environments may live at once: the reserved concurrency.
    #[serde(default = "default_environments")]
    pub max_environments: usize,
    /// Whether idle environments are stopped, as the service does between invocations.
    #[serde(default = "default_freeze")]
    pub freeze: bool,
    /// Whether an environment gets only the share of a core that its memory buys.
    #[serde(default)]
    pub cpu_quota: bool,
}

fn machine_root() -> PathBuf {
    PathBuf::from("/")
}

fn default_memory() -> u32 {
    256
}
fn default_timeout() -> u32 {
    30
}
fn default_environments() -> usize {
    1
}
fn default_freeze() -> bool {
    true
}

impl Function {
    /// Reads and checks a configuration. Relative paths in it are taken from the file's own folder.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut function = Self::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        function.handler_zip = folder.join(&function.handler_zip);
        for layer in &mut function.layer_zips {
            *layer = folder.join(&layer);
        }
        function.root_filesystem = folder.join(&function.root_filesystem);
        // Nothing would be taken over from it, and no program would run.
        if !function.root_filesystem.is_dir() {
            return Err(ConfigError::Invalid {
                field: "rootFilesystem".into(),
                value: function.root_filesystem.display().to_string(),
                remedy: "name a folder that is there, or leave it out for this machine's own".into(),
            });
        }
        Ok(function)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let reader = &mut serde_json::Deserializer::from_str(text);
        let function: Self = serde_path_to_error::deserialize(reader).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            field: error.path().to_string(),
            message: error.into_inner().to_string(),
        })?;
        function.check()?;
        Ok(function)
    }

    /// The function's ARN, without a qualifier.
    pub fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}:{}:function:{}",
            self.region, self.account_id, self.function_name
        )
    }

    /// What the runtime gets as the ARN of the invoked function: with the qualifier by which it was invoked.
    pub(crate) fn invoked_arn(&self, qualifier: Option<&str>) -> String {
        let arn = self.arn();
        qualifier.map_or_else(|| arn.clone(), |qualifier| format!("{arn}:{qualifier}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn minimal() -> Value {
        let architecture = if cfg!(target_arch = "x86_64") {
            "x86_64"
        } else {
            "arm64"
        };
        json!({
            "functionName": "proxy", "handlerZip": "proxy.zip", "architecture": architecture,
            "region": "eu-central-1", "accountId": "123456789012",
            "executionRole": { "accessKeyId": "AKIDROLE", "secretAccessKey": "the-role-secret", "sessionToken": "token" },
        })
    }

    fn parse(value: &Value) -> Result<Function, ConfigError> {
        Function::parse(&value.to_string(), Path::new("function.json"))
    }

    fn refusal(field: &str, value: Value) -> String {
        let mut config = minimal();
        config[field] = value;
        parse(&config).unwrap_err().to_string()
    }

    #[test]
    fn what_is_left_out_has_the_documented_default() {
        let function = parse(&minimal()).unwrap();
        assert_eq!(
            (function.memory_mb, function.timeout_seconds, function.max_environments),
            (256, 30, 1)
        );
        assert_eq!(
            (function.invoke_mode, function.freeze, function.cpu_quota),
            (InvokeMode::Buffered, true, false)
        );
        assert_eq!(
            function.arn(),
            "arn:aws:lambda:eu-central-1:123456789012:function:proxy"
        );
        assert_eq!(function.invoked_arn(None), function.arn());
        assert_eq!(
            function.invoked_arn(Some("billing")),
            format!("{}:billing", function.arn())
        );
    }

    #[test]
    fn a_wrong_field_is_named() {
        assert!(refusal("memory", json!(64)).contains("unknown field `memory`"));
        assert!(refusal("timeoutSeconds", json!("3")).contains("field `timeoutSeconds`: invalid type: string"));
        assert!(refusal("callers", json!([{ "accessKeyId": "A" }])).contains("field `callers[0]`: missing field"));
    }

    #[test]
    fn variables_that_lambda_sets_are_refused() {
        let message = refusal("environment", json!({ "AWS_REGION": "x" }));
        assert_eq!(
            message,
            "`environment.AWS_REGION` is reserved: Lambda sets this variable itself: remove it"
        );
        assert!(refusal("environment", json!({ "TS_BIG": "x".repeat(5000) })).contains("5006 bytes"));
    }

    #[test]
    fn secrets_never_show() {
        let shown = format!("{:?}", parse(&minimal()).unwrap());
        assert!(
            !shown.contains("the-role-secret") && !shown.contains("\"token\""),
            "{shown}"
        );
    }
}
