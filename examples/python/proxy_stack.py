"""The proxy, a function that calls machines through it, and an alarm for when they cannot be reached."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct
from tailscale_lambda_proxy import (
    TailscaleLambdaProxy,
    TailscaleLambdaProxyPropsLambdaOption,
    TailscaleLambdaProxyPropsOptions,
)

FUNCTIONS = Path(__file__).parent / "functions"


class ProxyStack(cdk.Stack):
    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)

        proxy = TailscaleLambdaProxy(
            self,
            "Proxy",
            ts_auth_key_secret=secretsmanager.Secret.from_secret_name_v2(self, "AuthKey", "tailscale-api-key"),
            ts_hostname="lambda-proxy",
            options=TailscaleLambdaProxyPropsOptions(lambda_=TailscaleLambdaProxyPropsLambdaOption(memory_size=512)),
        )

        # Signs nothing: its layer does, and HTTP_PROXY leads its requests there.
        unsigned = lambda_.Function(
            self,
            "Unsigned",
            code=lambda_.Code.from_asset(str(FUNCTIONS)),
            handler="unsigned.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            timeout=cdk.Duration.seconds(30),
        )
        proxy.add_caller(unsigned, layer=True, metric_service="reports")

        # Signs by itself, without a layer.
        caller = lambda_.Function(
            self,
            "Caller",
            code=lambda_.Code.from_asset(str(FUNCTIONS)),
            handler="caller.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            timeout=cdk.Duration.seconds(30),
        )
        # Sets TS_PROXY_URL, and lets the caller invoke the proxy: without that it gets a 403.
        proxy.add_caller(caller)

        # Both are counted in this metric: by metric_service, and by the header ts-metric-service.
        TailscaleLambdaProxy.metric_all_failure("reports").create_alarm(
            self,
            "Unreachable",
            alarm_description="Machines in the tailnet cannot be reached",
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

        cdk.CfnOutput(self, "UnsignedName", value=unsigned.function_name)
        cdk.CfnOutput(self, "CallerName", value=caller.function_name)
        cdk.CfnOutput(self, "ProxyUrl", value=proxy.url)
