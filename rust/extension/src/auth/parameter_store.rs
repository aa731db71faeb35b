//! A parameter (SecureString) of Systems Manager's Parameter Store.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use lambda_env::aws::{Access, Call, CallError};
use serde::Deserialize;

use crate::auth::retry::send;

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

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type")]
    code: String,
    #[serde(default)]
    message: String,
    /// Some refusals write it so, and some in both ways.
    #[serde(rename = "Message", default)]
    capital_message: String,
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
    let is_busy = |status, body: &[u8]| status >= 500 || refusal(body).is_some_and(|refusal| is_busy(refusal.code()));
    let answer = send(call, access, is_busy).await.map_err(|error| match error {
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

impl Refusal {
    /// Its code, without the namespace that may come before it.
    fn code(&self) -> &str {
        self.code.rsplit('#').next().unwrap_or_default()
    }
}

fn refusal(body: &[u8]) -> Option<Refusal> {
    serde_json::from_slice(body).ok()
}

fn refused(status: u16, body: &[u8]) -> String {
    match refusal(body) {
        Some(refusal) => {
            let code = refusal.code();
            // Some refusals have none.
            let messages = [&refusal.message, &refusal.capital_message];
            let message = messages.into_iter().find(|message| !message.is_empty());
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
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
        for names in [r#""Message":"no""#, r#""message":"no","Message":"no""#] {
            let refusal = format!(r#"{{"__type":"AccessDeniedException",{names}}}"#);
            let reason = refused(400, refusal.as_bytes());
            assert!(reason.starts_with("AccessDeniedException: no; fix: let"), "{reason}");
        }
        assert!(refused(502, b"Bad gateway").starts_with("status 502; fix: "));
    }
}
