//! A parameter (SecureString) of Systems Manager's Parameter Store.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use lambda_env::aws::{Access, Call, CallError, JsonRefusal};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    parameter: Parameter,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: String,
    #[serde(default)]
    r#type: String,
}

/// The parameter's text, decrypted; or why it cannot be read, and what fixes it.
pub(crate) async fn read(access: &Access, name: &str) -> Result<String, String> {
    let body = serde_json::json!({"Name": name, "WithDecryption": true}).to_string();
    let call = Call {
        service: "ssm",
        path: "",
        content_type: "application/x-amz-json-1.1",
        target: Some("AmazonSSM.GetParameter"),
        body: &body,
    };
    let is_busy = |body: &[u8]| JsonRefusal::read(body).is_some_and(|refusal| is_busy(refusal.code()));
    let answer = call.send(access, is_busy).await.map_err(|error| match error {
        CallError::Refused(response) => refused(response.status().as_u16(), response.body()),
        CallError::NoResponse(reason) => format!("{reason}; fix: {}", fix(None)),
    })?;
    // The parser's own words could show a piece of the key.
    let Ok(Answer { parameter }) = serde_json::from_slice(&answer) else {
        return Err(format!("the answer is not as documented; fix: {}", fix(Some(""))));
    };
    if parameter.r#type != "SecureString" {
        tracing::warn!("the parameter '{name}' is not encrypted: make it a SecureString");
    }
    Ok(parameter.value)
}

fn refused(status: u16, body: &[u8]) -> String {
    match JsonRefusal::read(body) {
        Some(refusal) => {
            let code = refusal.code();
            let message = refusal
                .message()
                .map(|message| format!(": {message}"))
                .unwrap_or_default();
            format!("{code}{message}; fix: {}", fix(Some(code)))
        }
        None => format!("status {status}; fix: {}", fix(Some(""))),
    }
}

fn is_busy(code: &str) -> bool {
    matches!(code, "ThrottlingException" | "InternalServerError")
}

/// What fixes it, by the error's code. `None`: there was no response.
fn fix(code: Option<&str>) -> &'static str {
    match code {
        Some(code) if is_busy(code) => "none: Parameter Store is busy, and is asked again",
        Some("ParameterNotFound") => "check that the parameter exists in the function's region (tsAuthKeyParameter)",
        Some("AccessDeniedException") => {
            "let the function's role do ssm:GetParameter on it (and kms:Decrypt on its key)"
        }
        Some("InvalidKeyId") => "check that the parameter's KMS key is enabled and not scheduled for deletion",
        Some(_) => "check the parameter and the function's role",
        None => "check the function's way to Parameter Store (subnets, NAT or a VPC endpoint, security groups)",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A reason of each kind.
    pub(crate) fn reasons() -> Vec<String> {
        let codes = [
            "ParameterNotFound",
            "AccessDeniedException",
            "InvalidKeyId",
            "ThrottlingException",
            "InternalServerError",
            "…",
        ];
        let refusals = codes.map(|code| refused(400, format!(r#"{{"__type":"com.amazonaws.ssm#{code}"}}"#).as_bytes()));
        let silent = format!("…; fix: {}", fix(None));
        refusals.into_iter().chain([silent]).collect()
    }

    #[test]
    fn a_refusal_is_told_with_its_code_and_message() {
        let reason = refused(
            400,
            br#"{"__type":"ParameterNotFound","message":"Parameter /a not found."}"#,
        );
        assert!(
            reason.starts_with("ParameterNotFound: Parameter /a not found.; fix: check that"),
            "{reason}"
        );
        assert!(refused(502, b"Bad gateway").starts_with("status 502; fix: "));
    }
}
