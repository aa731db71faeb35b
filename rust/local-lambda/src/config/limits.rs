//! What the service itself, or this machine, would refuse.

use std::collections::HashSet;
use std::fmt;

use super::{Architecture, ConfigError, Function};

/// Names that the service sets itself, and refuses in a function's configuration
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>, "Reserved environment variables").
const RESERVED: [&str; 18] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// All environment variables together may take 4 KB (the service's quota).
const ENVIRONMENT_BYTES: usize = 4096;

/// Each environment takes a /30 of the /24 that a local-lambda has.
const MAX_ENVIRONMENTS: usize = 64;

impl Function {
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let name_is_legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = &self.function_name;
        if name.is_empty() || name.len() > 64 || !name.chars().all(name_is_legal) {
            return invalid(
                "functionName",
                name,
                "it must be 1 to 64 letters, digits, hyphens or underscores",
            );
        }
        if self.account_id.len() != 12 || !self.account_id.chars().all(|c| c.is_ascii_digit()) {
            return invalid("accountId", &self.account_id, "it must be twelve digits");
        }
        if self.region.is_empty() {
            return invalid("region", &self.region, "name a region, such as eu-central-1");
        }
        if !(128..=10_240).contains(&self.memory_mb) {
            return invalid("memoryMb", self.memory_mb, "it must be 128 to 10240");
        }
        if !(1..=900).contains(&self.timeout_seconds) {
            return invalid("timeoutSeconds", self.timeout_seconds, "it must be 1 to 900");
        }
        if !(1..=MAX_ENVIRONMENTS).contains(&self.max_environments) {
            return invalid("maxEnvironments", self.max_environments, "it must be 1 to 64");
        }
        if self.layer_zips.len() > 5 {
            return invalid("layerZips", self.layer_zips.len(), "a function has at most 5 layers");
        }
        self.check_architecture()?;
        self.check_callers()?;
        self.check_aliases()?;
        self.check_environment()
    }

    fn check_architecture(&self) -> Result<(), ConfigError> {
        if Architecture::of_this_machine() == Some(self.architecture) {
            return Ok(());
        }
        let remedy = format!(
            "this machine is {} and runs nothing else: use zips built for it",
            std::env::consts::ARCH
        );
        invalid("architecture", format!("{:?}", self.architecture), &remedy)
    }

    fn check_callers(&self) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        for (index, caller) in self.callers.iter().enumerate() {
            let field = format!("callers[{index}].accessKeyId");
            if caller.access_key_id.is_empty() {
                return invalid(&field, "empty", "give the id that the caller signs with");
            }
            if !seen.insert(&caller.access_key_id) {
                return invalid(
                    &field,
                    &caller.access_key_id,
                    "another caller has this id: each needs its own",
                );
            }
        }
        Ok(())
    }

    fn check_aliases(&self) -> Result<(), ConfigError> {
        for (index, alias) in self.aliases.iter().enumerate() {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if !(1..=128).contains(&alias.len()) || !alias.chars().all(legal) {
                let remedy = "an alias has 1 to 128 letters, digits, hyphens or underscores";
                return invalid(&format!("aliases[{index}]"), format!("'{alias}'"), remedy);
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`ConfigError::Invalid`], where the function has no alias of this name.
    pub(crate) fn has_alias(&self, name: &str) -> Result<(), ConfigError> {
        if self.aliases.iter().any(|alias| alias == name) {
            return Ok(());
        }
        let remedy = "it must be one of the configuration's `aliases`";
        invalid("--listen-alias", format!("'{name}'"), remedy)
    }

    fn check_environment(&self) -> Result<(), ConfigError> {
        let mut bytes = 0;
        for (name, value) in &self.environment {
            let field = format!("environment.{name}");
            if RESERVED.contains(&name.as_str()) {
                return invalid(&field, "reserved", "Lambda sets this variable itself: remove it");
            }
            let legal = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if name.len() < 2 || !legal || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                let remedy = "a name starts with a letter and has two or more letters, digits or underscores";
                return invalid(&field, "not a legal name", remedy);
            }
            if value.contains('\0') {
                return invalid(&field, "text with a NUL", "remove it: no process can be given one");
            }
            bytes += name.len() + value.len();
        }
        if bytes > ENVIRONMENT_BYTES {
            return invalid(
                "environment",
                format!("{bytes} bytes"),
                "all variables together may take 4096 bytes",
            );
        }
        Ok(())
    }
}

fn invalid<T>(field: &str, value: impl fmt::Display, remedy: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid {
        field: field.into(),
        value: value.to_string(),
        remedy: remedy.into(),
    })
}
