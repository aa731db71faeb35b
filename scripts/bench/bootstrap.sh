#!/bin/sh
# Runs the published handler in this machine's Node.js.
exec node /var/task/runtime.js
