// The settings that the Function URLs of a proxy share: its own, and those of its profiles.
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';

/**
 * A Function URL for signed requests, as the proxy's props describe it.
 * @internal
 */
export function urlOptions(props: TailscaleLambdaProxyProps): lambda.FunctionUrlOptions {
  return {
    authType: lambda.FunctionUrlAuthType.AWS_IAM,
    invokeMode: props.invokeMode ?? lambda.InvokeMode.BUFFERED,
    cors: props.cors,
  };
}
