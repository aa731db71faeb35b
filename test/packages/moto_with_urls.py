"""moto's server, whose CloudFormation learns what it lacks here: AWS::Lambda::Url, by moto's own Function URLs."""

import sys
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.core.common_models import CloudFormationModel
from moto.server import main


class FunctionUrl(CloudFormationModel):
    # moto files its models by the service in the module's name.
    __module__ = "moto.awslambda.urls"

    def __init__(self, function_arn: str, url: str) -> None:
        self.function_arn = function_arn
        self.url = url

    @property
    def physical_resource_id(self) -> str:
        return self.function_arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Url"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in ["FunctionArn", "FunctionUrl"]

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return {"FunctionArn": self.function_arn, "FunctionUrl": self.url}[attribute_name]

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **kwargs: Any
    ) -> "FunctionUrl":
        properties = cloudformation_json["Properties"]
        backend = lambda_backends[account_id][region_name]
        config = backend.create_function_url_config(properties["TargetFunctionArn"], properties)
        return cls(properties["TargetFunctionArn"], f"{config.url}/")


if __name__ == "__main__":
    main(sys.argv[1:])
