// Which of Lambda's runtimes are too old: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html.
// A list of the old ones, because it does not grow.
import * as lambda from 'aws-cdk-lib/aws-lambda';

const BEFORE_2023 = new Set([
  'provided', 'provided.al2', 'go1.x',
  'nodejs', 'nodejs4.3', 'nodejs6.10', 'nodejs8.10', 'nodejs10.x', 'nodejs12.x', 'nodejs14.x', 'nodejs16.x', 'nodejs18.x',
  'python2.7', 'python3.6', 'python3.7', 'python3.8', 'python3.9', 'python3.10', 'python3.11',
  'java8', 'java8.al2', 'java11', 'java17',
  'dotnetcore1.0', 'dotnetcore2.0', 'dotnetcore2.1', 'dotnetcore3.1', 'dotnet6',
  'ruby2.5', 'ruby2.7', 'ruby3.2',
]);

/**
 * Whether a runtime is on Amazon Linux 2 or before, whose C library (glibc 2.26) is too old for the extension.
 * @internal
 */
export function isOnAmazonLinux2(runtime: lambda.Runtime): boolean {
  return BEFORE_2023.has(runtime.name);
}
