"""The same stack as in ../typescript, with a caller in Python."""

import aws_cdk as cdk

from proxy_stack import ProxyStack

app = cdk.App()
ProxyStack(app, "TailnetProxy")
app.synth()
