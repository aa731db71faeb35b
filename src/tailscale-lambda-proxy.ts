import { Duration, RemovalPolicies, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { AddCallerOptions } from './add-caller-options';
import { addCallerOf } from './caller';
import { grantInvokeOf } from './grant-invoke';
import { grantSecret } from './grant-secret';
import { ImportedProxy } from './imported-proxy';
import { suppressFindings } from './nag-suppressions';
import { makeAlarms } from './proxy-alarms';
import { architectureOf, makeAlias, makeProxyFunction } from './proxy-function';
import { METRIC_NAMESPACE, proxyMetric, requestMetric, widgets } from './proxy-metrics';
import { ProxyProfiles } from './proxy-profiles';
import { makeWarmer, makeWarmerRule } from './proxy-warmer';
import { TailscaleAlarmsOptions } from './tailscale-alarms-options';
import { TailscaleCanaryOptions, TailscaleLambdaProxyCanary } from './tailscale-canary';
import { TailscaleLambdaExtension } from './tailscale-lambda-extension';
import { ITailscaleLambdaProxy, TailscaleLambdaProxyAttributes } from './tailscale-lambda-proxy-interface';
import { TailscaleLambdaProxyProfile } from './tailscale-lambda-proxy-profile';
import { TailscaleLambdaProxyProfileOptions } from './tailscale-lambda-proxy-profile-options';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { TailscaleMetricsOutput } from './tailscale-metrics-options';
import { urlOptions } from './url-options';
import { validateProxy } from './validate-proxy';
import { Validation } from './validation';
import { warnOfProxy, warnOfRetainedNames } from './warn-of-proxy';

/**
 * A Lambda function in a tailnet, behind a Function URL with IAM authentication. It forwards each HTTP request to the
 * machine that the request's `ts-target-ip` and `ts-target-port` headers name, and returns the response.
 *
 * The construct is an `IGrantable`: what is granted to it, its function gets.
 *
 * @example
 * import * as cdk from 'aws-cdk-lib';
 * import * as lambda from 'aws-cdk-lib/aws-lambda';
 * import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
 * import { TailscaleLambdaProxy } from 'tailscale-lambda-proxy';
 *
 * declare const stack: cdk.Stack;
 * declare const caller: lambda.Function;
 *
 * const proxy = new TailscaleLambdaProxy(stack, 'Proxy', {
 *   tsAuthKeySecret: secretsmanager.Secret.fromSecretNameV2(stack, 'AuthKey', 'tailscale-api-key'),
 *   tsHostname: 'lambda-proxy',
 * });
 * proxy.addCaller(caller);
 * @see https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
 */
export class TailscaleLambdaProxy extends Construct implements ITailscaleLambdaProxy, ec2.IConnectable, iam.IGrantable {
  /**
   * A proxy of another app, for its callers in this one.
   *
   * @param scope where to
   * @param id the construct's id
   * @param attributes the proxy's URL and the ARN that callers may invoke
   */
  public static fromTailscaleLambdaProxyAttributes(scope: Construct, id: string, attributes: TailscaleLambdaProxyAttributes): ITailscaleLambdaProxy {
    return new ImportedProxy(scope, id, attributes);
  }

  /**
   * How many requests of a service were answered by their target, whatever the response's status: of the requests with
   * `ts-metric-service`, through **all proxies** of the account and region. The sum over 5 minutes by default.
   *
   * @param service the value of `ts-metric-service`
   * @param props overrides for the metric: the dimension that requests name (`dimensionsMap`), period, statistic, label, …
   */
  public static metricAllSuccess(service: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return requestMetric('success', service, props);
  }

  /**
   * How many requests of a service got no complete response from their target: of the requests with `ts-metric-service`,
   * through **all proxies** of the account and region. The sum over 5 minutes by default.
   *
   * @param service the value of `ts-metric-service`
   * @param props overrides for the metric: the dimension that requests name (`dimensionsMap`), period, statistic, label, …
   */
  public static metricAllFailure(service: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return requestMetric('failure', service, props);
  }

  /**
   * The layer that joins the tailnet.
   */
  public readonly extension: TailscaleLambdaExtension;

  /**
   * The function that forwards.
   */
  public readonly lambda: lambda.Function;

  /**
   * The alias `live`, with `options.lambda.alias` or provisioned concurrency: what the Function URL then invokes.
   */
  public readonly alias?: lambda.Alias;

  /**
   * The function that keeps environments of the proxy warm, if `options.warmer` asks for it.
   */
  public readonly warmer?: lambda.Function;

  /**
   * The rule that runs the warmer.
   */
  public readonly warmerRule?: events.Rule;

  private readonly proxyName: string;
  private readonly hasProxyCounts: boolean;
  private readonly hasRequestCounts: boolean;
  private readonly functionUrl?: lambda.FunctionUrl;
  private readonly profiles: ProxyProfiles;

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
    if (sound.clientCertificateSecret) {
      grantSecret(sound.clientCertificateSecret, this.lambda);
    }
    if ((sound.metrics?.output ?? TailscaleMetricsOutput.CLOUDWATCH) === TailscaleMetricsOutput.CLOUDWATCH) {
      this.allowMetrics();
    }
    this.proxyName = sound.metrics?.proxyName || this.lambda.functionName;
    this.hasRequestCounts = sound.metrics?.output !== TailscaleMetricsOutput.OFF;
    this.hasProxyCounts = sound.metrics?.proxyCounts ?? true;
    this.alias = makeAlias(this.lambda, sound);
    if (sound.functionUrl !== false) {
      this.functionUrl = (this.alias ?? this.lambda).addFunctionUrl(urlOptions(sound));
    }
    if (sound.options?.warmer) {
      this.warmer = makeWarmer(this, 'proxy-warmer-lambda', this.alias ?? this.lambda, sound);
      this.warmerRule = makeWarmerRule(this, 'proxy-warmer-rule', this.warmer, sound);
    }
    if (sound.suppressNagFindings) {
      [this.lambda, ...this.warmer ? [this.warmer] : []].forEach(suppressFindings);
    }
    this.profiles = new ProxyProfiles(this, this.lambda, this.alias?.version ?? this.lambda.latestVersion, sound);
    warnOfProxy(this, sound);
  }

  /**
   * The Function URL: that of the function, or of the alias if there is one. Fails with `functionUrl: false`.
   */
  public get lambdaFunctionUrl(): lambda.FunctionUrl {
    return this.functionUrl ?? new Validation(this).fail('functionUrl', 'false', 'without it callers have no URL: leave it out, or use grantInvoke, or addCaller with CallerVia.INVOKE');
  }

  /**
   * The address that callers send signed requests to. It ends with a slash. Fails with `functionUrl: false`.
   */
  public get url(): string {
    return this.lambdaFunctionUrl.url;
  }

  /**
   * The ARN that callers may invoke: of the alias if there is one, of the function otherwise.
   */
  public get functionArn(): string {
    return (this.alias ?? this.lambda).functionArn;
  }

  /**
   * The function's role, for what it is granted beyond the permissions that the construct grants.
   */
  public get grantPrincipal(): iam.IPrincipal {
    return this.lambda.grantPrincipal;
  }

  /**
   * Lets a caller send requests to the Function URL: grants the two permissions that Lambda requires.
   *
   * @param grantee the caller, or its role
   * @see https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
   */
  public grantInvokeUrl(grantee: iam.IGrantable): iam.Grant {
    return this.lambdaFunctionUrl.grantInvokeUrl(grantee);
  }

  /**
   * Lets a caller invoke the proxy by Lambda's API (`lambda:InvokeFunction`): where there are no Function URLs, or from a subnet without
   * internet, by the interface endpoint of Lambda. The payload is an event of a Function URL, and so is the response; the page on callers
   * by Invoke shows both.
   *
   * More is trusted to such a caller than to one of the Function URL: it writes the event, and so chooses what the log says of it.
   * A grantee of another account needs a permission of the function as well.
   *
   * @param grantee the caller, or its role
   * @see https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
   */
  public grantInvoke(grantee: iam.IGrantable): iam.Grant {
    return grantInvokeOf(this.functionArn, grantee);
  }

  /**
   * Lets a function send requests to the Function URL, and gives it the URL in the environment variable `TS_PROXY_URL`. With
   * `{ layer: true }` its code signs nothing: it requests `http://name:port/path` by the HTTP client that it has. With
   * `{ via: CallerVia.INVOKE }` it needs no Function URL.
   *
   * The function may be of another stack or region; a stack of another region needs `crossRegionReferences`. Where it is of another
   * account, a warning says what the proxy's account must grant.
   *
   * @param caller the function that is to call
   * @param options the layer, and what it is told
   */
  public addCaller(caller: lambda.Function, options?: AddCallerOptions): iam.Grant {
    return addCallerOf(this, Stack.of(this).account, caller, options);
  }

  /**
   * Adds a profile: an alias of the function with a Function URL of its own, whose callers may name fewer targets than the proxy's.
   * Whoever may call only the profile cannot widen this: IAM decides which alias a caller may invoke, and Lambda tells the proxy which
   * one it was.
   *
   * The alias leads to the version that `live` leads to, and to `$LATEST` without the alias `live`: profiles need no environments, and
   * no machines in the tailnet, of their own. Its Function URL has the proxy's `invokeMode` and `cors`.
   *
   * @example
   * import * as lambda from 'aws-cdk-lib/aws-lambda';
   * import { TailscaleLambdaProxy } from 'tailscale-lambda-proxy';
   *
   * declare const proxy: TailscaleLambdaProxy;
   * declare const billing: lambda.Function;
   * declare const reports: lambda.Function;
   *
   * proxy.addProfile('billing', { allowedTargets: ['billing.example.ts.net:8080'] }).addCaller(billing);
   * proxy.addProfile('reports', { allowedTargets: ['10.1.0.0/16:443', 'db.example.ts.net'] }).addCaller(reports);
   * @param name the alias's name: 1 to 128 letters, digits, hyphens and underscores, not digits alone, and not `live`; once per proxy
   * @param options the targets of the profile
   * @see https://docs.aws.amazon.com/lambda/latest/dg/configuration-aliases.html
   */
  public addProfile(name: string, options: TailscaleLambdaProxyProfileOptions): TailscaleLambdaProxyProfile {
    return this.profiles.add(name, options);
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
   * role, policies and log group, to the alias with its versions, to the profiles, to the warmer and, unless the policy is `DESTROY`, to the
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
   * One of the metrics that Lambda publishes of the function, such as `ConcurrentExecutions`.
   *
   * @param metricName its name in the namespace `AWS/Lambda`
   * @param props overrides for the metric (period, statistic, label, …)
   * @see https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
   */
  public metric(metricName: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metric(metricName, props);
  }

  /**
   * How many invocations the function had: requests and warm-ups. The sum over 5 minutes by default.
   */
  public metricInvocations(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metricInvocations(props);
  }

  /**
   * How many invocations ended without a response of the proxy, because of a time-out or a crash.
   * The sum over 5 minutes by default.
   */
  public metricErrors(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metricErrors(props);
  }

  /**
   * How long invocations took, in milliseconds. The average over 5 minutes by default.
   */
  public metricDuration(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metricDuration(props);
  }

  /**
   * How many requests Lambda rejected, because no environment was available. The sum over 5 minutes by default.
   */
  public metricThrottles(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metricThrottles(props);
  }

  /**
   * How many requests the Function URL got. The sum over 5 minutes by default.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   * @see https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
   */
  public metricUrlRequests(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metric('UrlRequestCount', { statistic: cloudwatch.Stats.SUM, ...props });
  }

  /**
   * How many requests to the Function URL got a response with a status from 400 to 499, of the target, the proxy or AWS.
   * The sum over 5 minutes by default.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricUrl4xx(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metric('Url4xxCount', { statistic: cloudwatch.Stats.SUM, ...props });
  }

  /**
   * How many requests to the Function URL got a response with a status from 500 to 599, of the target, the proxy or AWS.
   * The sum over 5 minutes by default.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricUrl5xx(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metric('Url5xxCount', { statistic: cloudwatch.Stats.SUM, ...props });
  }

  /**
   * How long the Function URL took to respond, in milliseconds. The average over 5 minutes by default.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricUrlLatency(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.lambda.metric('UrlRequestLatency', props);
  }

  /**
   * How many requests this proxy got, warm-ups not included. The sum over 5 minutes by default. Needs `metrics.proxyCounts`.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricProxyRequests(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    this.requireProxyCounts('metricProxyRequests');
    return proxyMetric('requests', { proxy: this.proxyName }, props);
  }

  /**
   * How many requests this proxy answered with an error of its own, of one name. The sum over 5 minutes by default. Needs
   * `metrics.proxyCounts`.
   *
   * @param errorName the value of `ts-error-name`: `InvalidRequest`, `TargetNotAllowed`, `UnknownProfile`, `TargetUnreachable`,
   * `TailnetUnavailable`, `TargetTimeout` or `InternalError`
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricProxyErrors(errorName: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    this.requireProxyCounts('metricProxyErrors');
    return proxyMetric('errors', { proxy: this.proxyName, error: errorName }, props);
  }

  /**
   * How many requests this proxy answered with 503 `TailnetUnavailable`, because it is not in the tailnet: `metricProxyErrors`
   * of that name. The sum over 5 minutes by default. Needs `metrics.proxyCounts`.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricTailnetUnavailable(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    this.requireProxyCounts('metricTailnetUnavailable');
    return proxyMetric('errors', { proxy: this.proxyName, error: 'TailnetUnavailable' }, props);
  }

  /**
   * How many minutes this proxy's environments were in the tailnet, each from its login to its log-out, frozen time included:
   * what Tailscale's plans meter. The sum over a day by default. Needs `metrics.proxyCounts`.
   *
   * An environment tells what has passed with its invocations, once a minute at most, and the rest when it ends. One that ends
   * without a log-out has not told the time since its last invocation, nor that until Tailscale removes the machine.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricTailnetMinutes(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    this.requireProxyCounts('metricTailnetMinutes');
    return proxyMetric('tailnet-minutes', { proxy: this.proxyName }, { period: Duration.days(1), ...props });
  }

  /**
   * The same as the static `metricAllSuccess`: of **all proxies** of the account and region.
   *
   * @param service the value of `ts-metric-service`
   * @param props overrides for the metric (dimensions, period, statistic, label, …)
   * @deprecated use `TailscaleLambdaProxy.metricAllSuccess`: the metric is not of this proxy alone
   */
  public metricSuccess(service: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return requestMetric('success', service, props);
  }

  /**
   * The same as the static `metricAllFailure`: of **all proxies** of the account and region.
   *
   * @param service the value of `ts-metric-service`
   * @param props overrides for the metric (dimensions, period, statistic, label, …)
   * @deprecated use `TailscaleLambdaProxy.metricAllFailure`: the metric is not of this proxy alone
   */
  public metricFailure(service: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return requestMetric('failure', service, props);
  }

  /**
   * Makes the alarms that a proxy should have: it is not in the tailnet, its function fails, Lambda rejects requests, and the
   * warmer fails, if there is one. To be called once.
   *
   * @param options what the alarms do, and when they are raised
   */
  public createAlarms(options: TailscaleAlarmsOptions = {}): cloudwatch.Alarm[] {
    const { path } = this.node;
    return makeAlarms(this, [
      { id: 'not-in-tailnet', description: `${path} is not in the tailnet: its log says why`, metric: this.metricTailnetUnavailable() },
      { id: 'errors', description: `Invocations of ${path} time out or crash`, metric: this.metricErrors() },
      { id: 'throttles', description: `Lambda rejects requests to ${path}: no environment is available`, metric: this.metricThrottles() },
      ...this.warmer ? [{ id: 'warmer-errors', description: `Warm-ups of ${path} fail`, metric: this.warmer.metricErrors() }] : [],
    ], options);
  }

  /**
   * Asks a target through this proxy on a schedule, and raises an alarm when no response comes: because the proxy is not in the
   * tailnet, its function does not run, or the target is gone. Needs `metrics.output` to be other than `OFF`.
   *
   * @example
   * import * as actions from 'aws-cdk-lib/aws-cloudwatch-actions';
   * import * as sns from 'aws-cdk-lib/aws-sns';
   * import { TailscaleLambdaProxy } from 'tailscale-lambda-proxy';
   *
   * declare const proxy: TailscaleLambdaProxy;
   * declare const topic: sns.Topic;
   *
   * proxy.addCanary('billing', { target: 'billing:8080', path: '/health', actions: [new actions.SnsAction(topic)] });
   *
   * @param id of the canary, unique in the proxy; its metrics are those of the service `canary-<id>`
   * @param options the target, and what the alarm does
   */
  public addCanary(id: string, options: TailscaleCanaryOptions): TailscaleLambdaProxyCanary {
    if (!this.hasRequestCounts) {
      new Validation(this).fail('addCanary', 'not available', 'nothing is counted for it: leave out metrics.output, or set it to CLOUDWATCH or EMBEDDED');
    }
    return TailscaleLambdaProxyCanary._add(this, id, options, this.alias ?? this.lambda, this.proxyName);
  }

  /**
   * Graphs for a dashboard: a row of this proxy, and one of the services that requests name, through all proxies.
   *
   * @param title what the titles of this proxy's graphs begin with, its id by default
   */
  public dashboardWidgets(title?: string): cloudwatch.IWidget[] {
    return widgets(this.lambda, this.proxyName, title ?? this.node.id);
  }

  /**
   * Adds the graphs of `dashboardWidgets` to a dashboard.
   *
   * @param dashboard where to
   */
  public addToDashboard(dashboard: cloudwatch.Dashboard): void {
    dashboard.addWidgets(...this.dashboardWidgets());
  }

  /** An alarm on a metric that nothing is counted in would never be raised. */
  private requireProxyCounts(method: string): void {
    if (!this.hasProxyCounts) {
      new Validation(this).fail(method, 'not available', 'nothing is counted for it: leave out metrics.proxyCounts, or set it to true');
    }
  }

  /** PutMetricData has no resources: the namespace is what can be narrowed down. */
  private allowMetrics(): void {
    this.lambda.addToRolePolicy(new iam.PolicyStatement({
      actions: ['cloudwatch:PutMetricData'],
      resources: ['*'],
      conditions: { StringEquals: { 'cloudwatch:namespace': METRIC_NAMESPACE } },
    }));
  }
}
