import aws_cdk as cdk
from tailscale_lambda_proxy import TailscaleLambdaProxy, TailscaleWorkloadIdentityOptions

app = cdk.App(analytics_reporting=False)
TailscaleLambdaProxy(
    cdk.Stack(app, "Keyless"), "Proxy",
    ts_workload_identity=TailscaleWorkloadIdentityOptions(
        client_id="T1234567890CNTRL-kQ9", tags=["tag:lambda", "tag:reports"]),
    ts_hostname="lambda-proxy",
)
app.synth()
