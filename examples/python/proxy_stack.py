"""The proxy, a function that calls machines through it, and an alarm for when they cannot be reached."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct
from tailscale_lambda_proxy import TailscaleLambdaProxy

FUNCTIONS = Path(__file__).parent / "functions"


class ProxyStack(cdk.Stack):
    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)

        proxy = TailscaleLambdaProxy(
            self,
            "Proxy",
            ts_secret_api_key=secretsmanager.Secret.from_secret_name_v2(self, "AuthKey", "tailscale-api-key"),
            ts_hostname="lambda-proxy",
        )

        caller = lambda_.Function(
            self,
            "Caller",
            code=lambda_.Code.from_asset(str(FUNCTIONS)),
            handler="caller.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            timeout=cdk.Duration.seconds(30),
            environment={"TS_PROXY_URL": proxy.lambda_function_url.url},
        )
        # Without this the caller gets a 403.
        proxy.grant_invoke_url(caller)

        # The caller asks for this metric by its header ts-metric-service.
        proxy.metric_failure("reports").create_alarm(
            self,
            "Unreachable",
            alarm_description="Machines in the tailnet cannot be reached",
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

        cdk.CfnOutput(self, "CallerName", value=caller.function_name)
        cdk.CfnOutput(self, "ProxyUrl", value=proxy.lambda_function_url.url)
