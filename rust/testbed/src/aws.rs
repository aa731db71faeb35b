//! Secrets Manager, Systems Manager and CloudWatch, played by moto's server; the last in the protocol that the SDKs speak to it.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;

use crate::{
    Error, cloudwatch,
    distance::Link,
    http_call::{call, connect, json, succeeded, unexpected},
    network::ADDRESS,
    process::{Process, command},
    signed::{REGION, signed},
};

/// How long moto may take to start: it is a good deal of Python.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long moto may take to answer; its first answer imports the service.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The running stand-in.
#[derive(Debug)]
pub struct Aws {
    /// Its process.
    pub process: Process,
    address: String,
    cloudwatch: String,
}

impl Aws {
    /// Starts moto's server.
    pub async fn start(program: &Path, run_dir: &Path) -> Result<Self, Error> {
        let mut command = command(program, run_dir);
        command
            .args(["--host", &ADDRESS.to_string(), "--port", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .env("NO_COLOR", "1");
        let process = Process::spawn("moto (the stand-in for AWS services)", &mut command)?;
        let address = process.log().find(0, |line| {
            line.split_once("Running on http://")
                .map(|(_, address)| address.trim().to_owned())
        });
        let address = process.ready(START_LIMIT, "its address", address).await?;
        let cloudwatch = cloudwatch::start(&address).await?.to_string();
        Ok(Self {
            process,
            address,
            cloudwatch,
        })
    }

    /// `host:port` of Secrets Manager.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `host:port` of CloudWatch.
    pub fn cloudwatch_address(&self) -> &str {
        &self.cloudwatch
    }

    /// What `AWS_ENDPOINT_URL_CLOUDWATCH` has to say.
    pub fn cloudwatch_endpoint(&self) -> String {
        format!("http://{}", self.cloudwatch)
    }

    /// What `AWS_ENDPOINT_URL_SECRETS_MANAGER` has to say.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a secret into Secrets Manager and returns its ARN.
    pub async fn create_secret(&self, name: &str, value: &str) -> Result<String, Error> {
        let target = "secretsmanager.CreateSecret";
        let body = serde_json::json!({"Name": name, "SecretString": value, "ClientRequestToken": request_token()});
        let created: Value = json(target, &self.call("secretsmanager", target, body).await?)?;
        let arn = created["ARN"].as_str().filter(|arn| arn.contains(REGION));
        let arn = arn.ok_or_else(|| unexpected(target, format!("no ARN of {REGION} in {created}")))?;
        Ok(arn.to_owned())
    }

    /// Gives a secret another value.
    pub async fn change_secret(&self, arn: &str, value: &str) -> Result<(), Error> {
        let body = serde_json::json!({"SecretId": arn, "SecretString": value, "ClientRequestToken": request_token()});
        self.call("secretsmanager", "secretsmanager.PutSecretValue", body)
            .await
            .map(drop)
    }

    /// Reads a secret, as a program does that needs it; from the function's side of `link` if there is one.
    pub async fn read_secret(&self, arn: &str, link: Option<&Link>) -> Result<String, Error> {
        let target = "secretsmanager.GetSecretValue";
        let request = self.request("secretsmanager", target, &serde_json::json!({"SecretId": arn}))?;
        let address = self.address.clone();
        let exchange = async move { exchange(&address, request).await };
        let response = match link {
            None => exchange.await?,
            Some(link) => link.spawn(exchange).await.map_err(std::io::Error::from)??,
        };
        let value: Value = json(target, &succeeded(target, response)?)?;
        let text = value["SecretString"].as_str();
        Ok(text.ok_or_else(|| unexpected(target, "no SecretString"))?.to_owned())
    }

    /// Puts an encrypted parameter into Systems Manager.
    pub async fn put_parameter(&self, name: &str, value: &str) -> Result<(), Error> {
        let body = serde_json::json!({"Name": name, "Value": value, "Type": "SecureString"});
        self.call("ssm", "AmazonSSM.PutParameter", body).await.map(drop)
    }

    /// The sum of a metric's values of this hour and those next to it, as GetMetricStatistics tells it.
    pub async fn metric_sum(&self, namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Result<f64, Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let dimension = |(name, value): &(&str, &str)| serde_json::json!({"Name": name, "Value": value});
        let target = "GraniteServiceVersion20100801.GetMetricStatistics";
        let body = serde_json::json!({
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": dimensions.iter().map(dimension).collect::<Vec<_>>(),
            "StartTime": now - 3600,
            "EndTime": now + 3600,
            "Period": 3600,
            "Statistics": ["Sum"],
        });
        let statistics: Value = json(target, &self.call("monitoring", target, body).await?)?;
        let datapoints = statistics["Datapoints"].as_array();
        let datapoints = datapoints.ok_or_else(|| unexpected(target, &statistics))?;
        Ok(datapoints
            .iter()
            .filter_map(|datapoint| datapoint["Sum"].as_f64())
            .sum())
    }

    async fn call(&self, service: &str, target: &'static str, body: Value) -> Result<Bytes, Error> {
        let request = self.request(service, target, &body)?;
        succeeded(target, exchange(&self.address, request).await?)
    }

    fn request(&self, service: &str, target: &str, body: &Value) -> Result<Request<Full<Bytes>>, Error> {
        let request = Request::post("/")
            .header("host", &self.address)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .body(Bytes::from(body.to_string()))?;
        signed(request, service, &administrator())
    }
}

/// Sends a request over a connection of its own.
async fn exchange(address: &str, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
    call(connect(address).await?, request, CALL_LIMIT).await
}

/// Names the version of a secret that a call makes: another one each time, or the call would count as a repetition.
fn request_token() -> String {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    format!("{:032}", CALLS.fetch_add(1, Ordering::Relaxed))
}

/// moto takes any credentials.
fn administrator() -> Credentials {
    Credentials::new("AKIDADMINISTRATOR", "administrator", None, None, "testbed")
}
