//! Requests to machines in the tailnet.

use std::{env, error::Error, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use http::{Request, Uri};
use reqwest::{Client, Response, redirect};

/// The proxy, and who calls it.
pub struct Proxy {
    url: String,
    region: String,
    credentials: Credentials,
    client: Client,
}

impl Proxy {
    /// As the environment says.
    pub fn from_env() -> Result<Self, Box<dyn Error>> {
        let variable = |name| env::var(name).map_err(|error| format!("{name}: {error}"));
        let url = variable("TS_PROXY_URL")?.trim_end_matches('/').to_owned();
        Ok(Self {
            region: region_of(&url).map_or_else(|| variable("AWS_REGION"), Ok)?,
            url,
            credentials: Credentials::new(
                variable("AWS_ACCESS_KEY_ID")?,
                variable("AWS_SECRET_ACCESS_KEY")?,
                env::var("AWS_SESSION_TOKEN").ok(),
                None,
                "environment",
            ),
            // A redirect is an answer of the machine's, whose addresses are not the proxy's.
            client: Client::builder()
                .redirect(redirect::Policy::none())
                .build()?,
        })
    }

    /// Sends a request, whose URI is a path and a query, to the machine that its `ts-target-` headers name. An answer of
    /// the machine's is one whatever its status; one of the proxy's own is an error.
    pub async fn send(&self, mut request: Request<Vec<u8>>) -> Result<Response, Box<dyn Error>> {
        *request.uri_mut() = format!("{}{}", self.url, request.uri()).parse::<Uri>()?;
        self.sign(&mut request)?;
        let answer = self.client.execute(request.try_into()?).await?;
        match answer.headers().get("ts-error-name") {
            None => Ok(answer),
            Some(name) => {
                let message = answer.headers().get("ts-error-message");
                Err(format!("{name:?}: {message:?}").into())
            }
        }
    }

    fn sign(&self, request: &mut Request<Vec<u8>>) -> Result<(), Box<dyn Error>> {
        let identity = self.credentials.clone().into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("lambda")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = request.headers().iter();
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.uri().to_string(),
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))),
            SignableBody::Bytes(request.body()),
        )?;
        let (instructions, _signature) = sign(signable, &parameters)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

/// The proxy's region, which may be another than the caller's, is in its address.
fn region_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once(".lambda-url.")?;
    let (region, _) = rest.split_once('.')?;
    Some(region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::region_of;

    #[test]
    fn a_function_url_names_its_region() {
        let region = region_of("https://abc.lambda-url.us-east-2.on.aws");
        assert_eq!(region.as_deref(), Some("us-east-2"));
        assert_eq!(region_of("http://127.0.0.1:9000"), None);
    }
}
