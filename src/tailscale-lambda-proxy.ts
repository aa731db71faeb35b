import { RemovalPolicies, RemovalPolicy } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { argueManagedPolicies, argueMetrics } from './nag-suppressions';
import { architectureOf, makeAlias, makeProxyFunction } from './proxy-function';
import { graphs, METRIC_NAMESPACE, requestMetric } from './proxy-metrics';
import { makeWarmer, makeWarmerRule } from './proxy-warmer';
import { TailscaleLambdaExtension } from './tailscale-lambda-extension';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { TailscaleMetricsOutput } from './tailscale-metrics-options';
import { validateProxy } from './validate-proxy';
import { Validation } from './validation';
import { warnOfProxy, warnOfRetainedNames } from './warn-of-proxy';

/**
 * A Lambda function in a tailnet, behind a Function URL with IAM authentication: it forwards each HTTP request to the
 * machine that the request's `ts-target-ip` and `ts-target-port` headers name, and hands back the answer.
 *
 * Allow a caller with `proxy.grantInvokeUrl(caller)`.
 */
export class TailscaleLambdaProxy extends Construct implements ec2.IConnectable {
  /**
   * The layer that joins the tailnet.
   */
  public readonly extension: TailscaleLambdaExtension;

  /**
   * The function that forwards.
   */
  public readonly lambda: lambda.Function;

  /**
   * The alias `live`, if there is provisioned concurrency: what the Function URL then invokes.
   */
  public readonly alias?: lambda.Alias;

  /**
   * The address that callers send signed requests to: that of the function, or of the alias where there is one.
   */
  public readonly lambdaFunctionUrl: lambda.FunctionUrl;

  /**
   * The function that keeps environments of the proxy warm, if `options.warmer` asks for it.
   */
  public readonly warmer?: lambda.Function;

  /**
   * The rule that runs the warmer.
   */
  public readonly warmerRule?: events.Rule;

  constructor(scope: Construct, id: string, props: TailscaleLambdaProxyProps) {
    super(scope, id);
    const sound = validateProxy(this, props);
    this.extension = new TailscaleLambdaExtension(this, 'tailscale-proxy-extension', {
      architecture: architectureOf(sound),
      options: sound.options?.extension,
    });
    // The ids of the function and its URL stay: another id is another URL, and a deployment that fails on a set name.
    this.lambda = makeProxyFunction(this, 'tailscale-proxy-lambda', sound);
    this.extension._attach(this.lambda, sound);
    argueManagedPolicies(this.lambda);
    if ((sound.metrics?.output ?? TailscaleMetricsOutput.CLOUDWATCH) === TailscaleMetricsOutput.CLOUDWATCH) {
      this.allowMetrics();
    }
    argueMetrics(this.lambda);
    this.alias = makeAlias(this.lambda, sound);
    this.lambdaFunctionUrl = (this.alias ?? this.lambda).addFunctionUrl({
      authType: lambda.FunctionUrlAuthType.AWS_IAM,
      invokeMode: sound.invokeMode ?? lambda.InvokeMode.BUFFERED,
      cors: sound.cors,
    });
    if (sound.options?.warmer) {
      this.warmer = makeWarmer(this, 'proxy-warmer-lambda', this.alias ?? this.lambda, sound);
      argueManagedPolicies(this.warmer);
      this.warmerRule = makeWarmerRule(this, 'proxy-warmer-rule', this.warmer, sound);
    }
    warnOfProxy(this, sound);
  }

  /**
   * Lets a caller send requests to the Function URL: gives it the two permissions that Lambda asks for.
   *
   * @param grantee the caller, or its role
   */
  public grantInvokeUrl(grantee: iam.IGrantable): iam.Grant {
    return this.lambdaFunctionUrl.grantInvokeUrl(grantee);
  }

  /**
   * The security groups of the function. Fails without `options.lambda.vpc`.
   */
  public get connections(): ec2.Connections {
    if (!this.lambda.isBoundToVpc) {
      new Validation(this).fail('connections', 'not available', 'the function is not in a VPC: set options.lambda.vpc');
    }
    return this.lambda.connections;
  }

  /**
   * Sets what happens to the resources when the stack is deleted, or when they are removed from it: to the function, its URL,
   * role, policies and log group, to the alias with its versions, to the warmer and, unless the policy is `DESTROY`, to the
   * layer, which other constructs of the stack may share. Resources that were passed in are left alone.
   *
   * A retained function with a fixed `functionName` blocks the next deployment of the same name.
   *
   * @param policy applied to each of them, last
   */
  public applyRemovalPolicy(policy: RemovalPolicy): void {
    RemovalPolicies.of(this).apply(policy);
    if (policy !== RemovalPolicy.DESTROY) {
      this.extension.layer.applyRemovalPolicy(policy);
      warnOfRetainedNames(this, [this.lambda, ...this.warmer ? [this.warmer] : []]);
    }
  }

  /**
   * One of the metrics that Lambda keeps of the function as a whole.
   *
   * @param metricName its name in the namespace `AWS/Lambda`
   * @param props what is not as of Lambda's metrics
   */
  public metric(metricName: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metric(metricName, props);
  }

  /**
   * How many requests reached the function. The sum over 5 minutes by default.
   */
  public metricInvocations(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metricInvocations(props);
  }

  /**
   * How many requests ended without an answer of the proxy's, because its time ran out or its environment broke.
   * The sum over 5 minutes by default.
   */
  public metricErrors(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metricErrors(props);
  }

  /**
   * How long requests took, in milliseconds. The average over 5 minutes by default.
   */
  public metricDuration(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metricDuration(props);
  }

  /**
   * How many requests Lambda turned away, because no environment was to be had. The sum over 5 minutes by default.
   */
  public metricThrottles(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metricThrottles(props);
  }

  /**
   * How many requests of a service were answered by their target, whatever the answer's status. Of those that ask for
   * it with `ts-metric-service`, by way of any proxy of the account and region. The sum over 5 minutes by default.
   *
   * @param service the value of `ts-metric-service`
   * @param props the dimension that the requests name, if they do (`dimensionsMap`), and what else is not as by default
   */
  public metricSuccess(service: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return requestMetric('success', service, props);
  }

  /**
   * How many requests of a service got no answer from their target, or one that broke off. Of those that ask for
   * it with `ts-metric-service`, by way of any proxy of the account and region. The sum over 5 minutes by default.
   *
   * @param service the value of `ts-metric-service`
   * @param props the dimension that the requests name, if they do (`dimensionsMap`), and what else is not as by default
   */
  public metricFailure(service: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return requestMetric('failure', service, props);
  }

  /**
   * Adds a row of graphs to a dashboard: what requests came to by service, how long the function took, and how many it
   * could not serve.
   *
   * @param dashboard where to
   */
  public addToDashboard(dashboard: cloudwatch.Dashboard): void {
    dashboard.addWidgets(...graphs(this.lambda));
  }

  /** CloudWatch knows no resources for PutMetricData: the namespace is what can be narrowed down. */
  private allowMetrics(): void {
    this.lambda.addToRolePolicy(new iam.PolicyStatement({
      actions: ['cloudwatch:PutMetricData'],
      resources: ['*'],
      conditions: { StringEquals: { 'cloudwatch:namespace': METRIC_NAMESPACE } },
    }));
  }
}
