"""Asks a machine in the tailnet: {"host": "100.64.0.7", "port": 8080, "path": "/"}."""

from typing import Any

import tailnet


def handler(event: "dict[str, Any]", context: object) -> "dict[str, Any]":
    answer = tailnet.request(
        event["host"],
        event["port"],
        event.get("method", "GET"),
        event["path"],
        headers={"ts-metric-service": "reports"},
        body=event.get("body", "").encode(),
    )
    return {"status": answer.status, "body": answer.data.decode()}
