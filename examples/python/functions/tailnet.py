"""Requests to machines in the tailnet. Needs nothing that Lambda's Python does not bring: botocore and urllib3."""

import os
import re

import botocore.session
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

_session = botocore.session.get_session()
_http = urllib3.PoolManager(timeout=urllib3.Timeout(total=25))


class TailnetError(Exception):
    """The machine was not reached: the proxy answered in its place."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.status = status
        self.name = name


def _region(url: str) -> str:
    """The proxy's region, which may be another than the caller's, is in its address."""
    found = re.search(r"\.lambda-url\.([^./]+)\.", url)
    return found[1] if found else os.environ["AWS_REGION"]


def request(
    host: str,
    port: int,
    method: str,
    path_and_query: str,
    headers: "dict[str, str] | None" = None,
    body: bytes = b"",
) -> urllib3.BaseHTTPResponse:
    """Sends a request to a machine in the tailnet, and returns its answer, whatever its status."""
    signed = AWSRequest(
        method,
        os.environ["TS_PROXY_URL"].rstrip("/") + path_and_query,
        data=body,
        headers={**(headers or {}), "ts-target-ip": host, "ts-target-port": str(port)},
    )
    SigV4Auth(_session.get_credentials(), "lambda", _region(signed.url)).add_auth(signed)

    # A redirect is an answer of the machine's, whose addresses are not the proxy's.
    answer = _http.request(method, signed.url, headers=dict(signed.headers), body=body, redirect=False, retries=False)
    if "ts-error-name" in answer.headers:
        raise TailnetError(answer.status, answer.headers["ts-error-name"], answer.headers["ts-error-message"])
    return answer
