# The proxy as a Terraform module. Put this file, extension-ARCHITECTURE.zip and proxy-ARCHITECTURE.zip of the same release
# into one folder, and use that folder as the module's source.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.32"
    }
  }
}

variable "auth_key_secret_arn" {
  type        = string
  description = "Complete ARN of the secret in Secrets Manager that holds the auth key or the OAuth client secret."
  validation {
    condition     = can(regex("^arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$", var.auth_key_secret_arn))
    error_message = "auth_key_secret_arn must be the secret's complete ARN, with the six characters at its end."
  }
}

variable "hostname" {
  type        = string
  description = "Name of the machine in the tailnet."
  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", var.hostname))
    error_message = "hostname must have 1 to 63 letters, digits and hyphens, and begin and end with a letter or a digit."
  }
}

variable "name" {
  type        = string
  default     = "tailscale-lambda-proxy"
  description = "Name of the function, and of the role, the layer and the log group."
}

variable "architecture" {
  type        = string
  default     = "x86_64"
  description = "Processor of the function: x86_64 or arm64. It chooses the zips."
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64."
  }
}

variable "reserved_concurrency" {
  type        = number
  default     = -1
  description = "The most environments, and so machines in the tailnet, at once. -1: no limit but the account's."
}

variable "environment" {
  type        = map(string)
  default     = {}
  description = "More environment variables of the function, such as TS_ADVERTISE_TAGS."
}

data "aws_partition" "current" {}

locals {
  extension = "${path.module}/extension-${var.architecture}.zip"
  proxy     = "${path.module}/proxy-${var.architecture}.zip"
}

resource "aws_cloudwatch_log_group" "proxy" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 90
}

resource "aws_iam_role" "proxy" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Action    = "sts:AssumeRole"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.proxy.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_iam_role_policy" "proxy" {
  name = var.name
  role = aws_iam_role.proxy.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Action   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
        Effect   = "Allow"
        Resource = var.auth_key_secret_arn
      },
      {
        Action    = "cloudwatch:PutMetricData"
        Effect    = "Allow"
        Resource  = "*"
        Condition = { StringEquals = { "cloudwatch:namespace" = "tailscale-service" } }
      },
    ]
  })
}

resource "aws_lambda_layer_version" "extension" {
  layer_name               = "${var.name}-extension"
  description              = "Joins a tailnet, and serves SOCKS5 on localhost:1055"
  filename                 = local.extension
  source_code_hash         = filebase64sha256(local.extension)
  compatible_architectures = [var.architecture]
}

resource "aws_lambda_function" "proxy" {
  function_name                  = var.name
  description                    = "Forwards HTTP requests into a tailnet"
  role                           = aws_iam_role.proxy.arn
  filename                       = local.proxy
  source_code_hash               = filebase64sha256(local.proxy)
  handler                        = "bootstrap"
  runtime                        = "provided.al2023"
  architectures                  = [var.architecture]
  memory_size                    = 256
  timeout                        = 900
  layers                         = [aws_lambda_layer_version.extension.arn]
  reserved_concurrent_executions = var.reserved_concurrency

  environment {
    variables = merge({
      TS_DIRECT_SOCKS     = "true"
      TS_HOSTNAME         = var.hostname
      TS_RESPONSE_TIMEOUT = "60000"
      TS_SECRET_API_KEY   = var.auth_key_secret_arn
    }, var.environment)
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.proxy.name
  }

  # The first environment needs all of it to join.
  depends_on = [aws_iam_role_policy.proxy, aws_iam_role_policy_attachment.logs]
}

resource "aws_lambda_function_url" "proxy" {
  function_name      = aws_lambda_function.proxy.function_name
  authorization_type = "AWS_IAM"
  invoke_mode        = "BUFFERED"
}

output "url" {
  value       = aws_lambda_function_url.proxy.function_url
  description = "Where callers send signed requests: TS_PROXY_URL of the callers."
}

output "function_arn" {
  value       = aws_lambda_function.proxy.arn
  description = "What callers need lambda:InvokeFunctionUrl and lambda:InvokeFunction for."
}
