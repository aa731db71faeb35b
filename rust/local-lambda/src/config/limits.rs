//! What the service itself, or this machine, would refuse, and what would pass here unnoticed.

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

impl Function {
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if Architecture::of_this_machine() != Some(self.architecture) {
            let machine = std::env::consts::ARCH;
            let remedy = format!("this machine is {machine} and runs nothing else: use zips built for it");
            return invalid("architecture", format!("{:?}", self.architecture), &remedy);
        }
        if let Some(name) = RESERVED.iter().find(|name| self.environment.contains_key(**name)) {
            let remedy = "Lambda sets this variable itself: remove it";
            return invalid(&format!("environment.{name}"), "reserved", remedy);
        }
        let bytes: usize = self
            .environment
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > ENVIRONMENT_BYTES {
            let remedy = "all variables together may take 4096 bytes";
            return invalid("environment", format!("{bytes} bytes"), remedy);
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
