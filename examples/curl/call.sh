#!/usr/bin/env bash
# Asks a machine in the tailnet:
#
#   TS_PROXY_URL=https://….lambda-url.eu-west-1.on.aws/ AWS_REGION=eu-west-1 ./call.sh 100.64.0.7 8080 '/reports?month=11'
#
# Options of curl's may follow: -X POST --data-binary @file. The credentials are those of the environment
# (aws configure export-credentials --format env). Needs curl 7.84 or later.
set -euo pipefail

host=$1 port=$2 path_and_query=$3
shift 3

# A proxy's answer has the header ts-error-name: it goes to standard error.
curl --silent --show-error --path-as-is \
  --aws-sigv4 "aws:amz:$AWS_REGION:lambda" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
  ${AWS_SESSION_TOKEN:+--header "x-amz-security-token: $AWS_SESSION_TOKEN"} \
  --header "ts-target-ip: $host" --header "ts-target-port: $port" \
  --write-out '%{stderr}%header{ts-error-name}' \
  "$@" "${TS_PROXY_URL%/}$path_and_query"
