//! `function.json`: what a deployed function's configuration would say, read once and strictly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, failed};

/// AWS credentials, made up for a run: a caller's, or the execution role's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The session token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<String>,
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
    /// What the zips were built for: it must be this machine's, or nothing in them runs.
    pub architecture: IgnoredAny,
    /// Memory in MB: told to the function, and the measure of its CPU share. Not enforced.
    pub memory_mb: u32,
    /// The function's time-out in seconds.
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

fn default_environments() -> usize {
    1
}
fn default_freeze() -> bool {
    true
}

impl Function {
    /// Reads a configuration. Relative paths in it are taken from the file's own folder.
    ///
    /// # Errors
    /// The field that is missing, unknown or of the wrong type.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(failed(path.display()))?;
        let mut function: Self = serde_json::from_str(&text).map_err(failed(path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        function.handler_zip = folder.join(&function.handler_zip);
        for layer in &mut function.layer_zips {
            *layer = folder.join(&layer);
        }
        function.root_filesystem = folder.join(&function.root_filesystem);
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
