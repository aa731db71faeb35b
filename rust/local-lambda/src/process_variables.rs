//! The environment variables of the runtime and of the extensions: Lambda's own and the function's, nothing else.

use std::collections::BTreeMap;

use crate::config::Function;

/// Where the Runtime API and the Extensions API listen, seen from inside an environment.
pub(crate) const RUNTIME_API: &str = "127.0.0.1:9001";

/// The function's handler: a custom runtime ignores it.
pub(crate) const HANDLER: &str = "bootstrap";

/// Names that only the runtime gets
/// (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>, "Environment variables").
const RUNTIME_ONLY: [&str; 5] = [
    "_HANDLER",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, String>;

/// What the runtime's process is given
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>, "Defined runtime environment variables").
/// `AWS_EXECUTION_ENV` is missing, as it is for the `provided` runtimes; the X-Ray daemon's address is missing, as no
/// daemon runs here.
pub(crate) fn of_the_runtime(function: &Function, log_stream: &str) -> Variables {
    let role = &function.execution_role;
    let memory = function.memory_mb.to_string();
    let log_group = format!("/aws/lambda/{}", function.function_name);
    let token = role.session_token.as_deref().unwrap_or_default();
    let defined = [
        ("_HANDLER", HANDLER),
        ("AWS_ACCESS_KEY_ID", &role.access_key_id),
        ("AWS_DEFAULT_REGION", &function.region),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_FUNCTION_NAME", &function.function_name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream),
        ("AWS_LAMBDA_RUNTIME_API", RUNTIME_API),
        ("AWS_REGION", &function.region),
        ("AWS_SECRET_ACCESS_KEY", &role.secret_access_key),
        ("AWS_SESSION_TOKEN", token),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
    ];
    let overridable = [
        ("LANG", "en_US.UTF-8"),
        (
            "LD_LIBRARY_PATH",
            "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        ),
        ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
        ("TZ", ":UTC"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut variables: Variables = overridable.map(owned).into();
    variables.extend(function.environment.clone());
    variables.extend(defined.map(owned).into_iter().filter(|(_, value)| !value.is_empty()));
    variables
}

/// What an extension's process is given.
pub(crate) fn of_an_extension(function: &Function, log_stream: &str) -> Variables {
    let mut variables = of_the_runtime(function, log_stream);
    variables.retain(|name, _| !RUNTIME_ONLY.contains(&name.as_str()));
    variables.remove("AWS_XRAY_CONTEXT_MISSING");
    variables
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn function() -> Function {
        serde_json::from_value(serde_json::json!({
            "functionName": "proxy", "memoryMb": 256, "timeoutSeconds": 30, "handlerZip": "p.zip", "architecture": "x86_64", "region": "eu-central-1",
            "accountId": "123456789012", "environment": { "TS_HOSTNAME": "box", "TZ": "Europe/Vienna" },
            "executionRole": { "accessKeyId": "AKID", "secretAccessKey": "s", "sessionToken": "t" },
        }))
        .unwrap()
    }

    #[test]
    fn an_extension_does_not_get_what_is_the_runtimes() {
        let variables = of_an_extension(&function(), "stream");
        assert!(RUNTIME_ONLY.iter().all(|name| !variables.contains_key(*name)));
        assert_eq!(variables["AWS_LAMBDA_INITIALIZATION_TYPE"], "on-demand");
        assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "proxy");
    }
}
