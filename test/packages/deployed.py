"""Tells, as JSON, what a deployment left behind: each function with its code and its URL, and the layers."""

import json

import boto3

client = boto3.client("lambda")


def code(of: dict[str, object]) -> str:
    return str(of["CodeSha256"])


def url(function: str) -> dict[str, str] | None:
    try:
        config = client.get_function_url_config(FunctionName=function)
    except client.exceptions.ResourceNotFoundException:
        return None
    return {"auth": config["AuthType"], "url": config["FunctionUrl"]}


def layer(name: str) -> str:
    versions = client.list_layer_versions(LayerName=name)["LayerVersions"]
    return code(client.get_layer_version(LayerName=name, VersionNumber=versions[0]["Version"])["Content"])


functions = [
    {
        "name": function["FunctionName"],
        "code": code(function),
        "variables": function.get("Environment", {}).get("Variables", {}),
        "url": url(function["FunctionName"]),
    }
    for function in client.list_functions()["Functions"]
]
layers = [layer(found["LayerName"]) for found in client.list_layers()["Layers"]]
print(json.dumps({"functions": functions, "layers": layers}))
