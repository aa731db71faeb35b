import { Duration, Token } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { requestMetric } from './proxy-metrics';
import { Validation } from './validation';

/** What a canary's requests are counted for. */
const SERVICE = 'canary';
/** The dimension that says by which proxy. */
const DIMENSION = 'canary-of';

/**
 * What a canary asks for, and what its alarm does.
 */
export interface TailscaleCanaryOptions {
  /**
   * The target, as `host:port`: a name or an address of the tailnet, such as `100.64.0.7:8080` or `[fd7a:115c:a1e0::7]:8080`.
   */
  readonly target: string;

  /**
   * The path to request, with its query if it has one. Any response is a success, whatever its status.
   *
   * @default '/'
   */
  readonly path?: string;

  /**
   * Whether the target speaks TLS.
   *
   * @default false
   */
  readonly https?: boolean;

  /**
   * How often to ask: whole minutes from 1 to 60. An environment that is asked every few minutes stays in the tailnet, and its
   * time there counts in Tailscale's plan.
   *
   * @default Duration.minutes(5)
   */
  readonly interval?: Duration;

  /**
   * How many requests in a row must fail before the alarm is raised: 2 to 24. One alone says little, as its count may arrive an
   * interval later.
   *
   * @default 2
   */
  readonly failures?: number;

  /**
   * What to do when the alarm is raised, such as a notification (`SnsAction` of `aws-cdk-lib/aws-cloudwatch-actions`).
   *
   * @default - nothing: the alarm shows in the console
   */
  readonly actions?: cloudwatch.IAlarmAction[];
}

/**
 * Asks a target through the proxy on a schedule, and raises an alarm when no response comes. Made by `TailscaleLambdaProxy.addCanary`.
 *
 * Each request is an asynchronous invocation of the proxy's own function, or of its alias: no other function, and no Function URL,
 * takes part.
 */
export class TailscaleLambdaProxyCanary extends Construct {
  /**
   * Makes one that asks by `fn`, the proxy's function or its alias.
   * @internal
   */
  public static _add(
    scope: Construct, id: string, options: TailscaleCanaryOptions, fn: lambda.IFunction, proxyName: string,
  ): TailscaleLambdaProxyCanary {
    return new TailscaleLambdaProxyCanary(scope, id, options, fn, proxyName);
  }

  /**
   * The rule that sends the requests.
   */
  public readonly rule: events.Rule;

  /**
   * The alarm on responses that did not come: it counts what is missing as well, so that it is raised also where the function does
   * not run at all.
   */
  public readonly alarm: cloudwatch.Alarm;

  private readonly dimensions: Record<string, string>;

  private constructor(scope: Construct, id: string, options: TailscaleCanaryOptions, fn: lambda.IFunction, proxyName: string) {
    super(scope, id);
    const target = this.validate(options);
    this.dimensions = { [DIMENSION]: proxyName };
    const interval = options.interval && isWholeMinutes(options.interval) ? options.interval : Duration.minutes(5);
    this.rule = new events.Rule(this, 'rule', {
      description: `Asks ${options.target} through the tailnet's proxy`,
      schedule: events.Schedule.rate(interval),
      targets: [new targets.LambdaFunction(fn, {
        // The next request is soon enough.
        retryAttempts: 0,
        event: events.RuleTargetInput.fromObject(this.request(target, options)),
      })],
    });
    this.alarm = this.metricSuccess({ period: interval }).createAlarm(this, 'alarm', {
      alarmDescription: `${scope.node.path} gets no response from ${options.target}: the proxy's log says why`,
      threshold: 1,
      evaluationPeriods: options.failures ?? 2,
      comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: cloudwatch.TreatMissingData.BREACHING,
    });
    options.actions?.forEach((action) => this.alarm.addAlarmAction(action));
  }

  /**
   * How many of the requests got a response, whatever its status. The sum over 5 minutes by default.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricSuccess(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return requestMetric('success', this.service, { ...props, dimensionsMap: this.dimensions });
  }

  /**
   * How many of the requests got none. The sum over 5 minutes by default.
   *
   * @param props overrides for the metric (period, statistic, label, …)
   */
  public metricFailure(props?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return requestMetric('failure', this.service, { ...props, dimensionsMap: this.dimensions });
  }

  private get service(): string {
    return `${SERVICE}-${this.node.id}`;
  }

  /** The event of a Function URL, as far as the proxy reads it. */
  private request(target: { host: string; port: string }, { path = '/', https }: TailscaleCanaryOptions): object {
    const [rawPath, ...query] = path.split('?');
    return {
      rawPath,
      rawQueryString: query.join('?'),
      headers: {
        'ts-target-ip': target.host,
        'ts-target-port': target.port,
        ...https && { 'ts-https': 'true' },
        'ts-metric-service': this.service,
        'ts-metric-dimension-name': DIMENSION,
        'ts-metric-dimension-value': this.dimensions[DIMENSION],
      },
      requestContext: { http: { method: 'GET' } },
    };
  }

  private validate({ target, path, interval, failures }: TailscaleCanaryOptions): { host: string; port: string } {
    const validation = new Validation(this);
    validation.text('id', this.node.id, /^[A-Za-z0-9_.-]{1,128}$/, 'use 1 to 128 letters, digits, hyphens, dots and underscores');
    if (Token.isUnresolved(target)) {
      validation.refuse('target', 'known to the deployment alone', 'give "host:port" as text: it is taken apart at synth');
      return { host: '', port: '' };
    }
    const [, host = '', port = ''] = /^(\[[0-9A-Fa-f:.]+\]|[^\s:/[\]]+):(\d{1,5})$/.exec(target) ?? [];
    if (!host || Number(port) < 1 || Number(port) > 65535) {
      validation.refuse('target', `"${target}"`, 'use host:port, such as "100.64.0.7:8080" or "[fd7a:115c:a1e0::7]:8080"');
    }
    validation.text('path', path, /^\/[\x21-\x7e]*$/, 'begin it with a slash, and percent-encode what is not visible ASCII');
    if (interval && !isWholeMinutes(interval)) {
      validation.refuse('interval', interval.isUnresolved() ? 'known to the deployment alone' : interval.toHumanString(), 'use whole minutes from 1 to 60');
    }
    validation.integer('failures', failures, 2, 24, 'requests');
    return { host, port };
  }
}

/** Whether a duration can be the alarm's period and the rule's rate. */
function isWholeMinutes(interval: Duration): boolean {
  return !interval.isUnresolved() && interval.toMilliseconds() % 60_000 === 0 && interval.toMinutes() >= 1 && interval.toMinutes() <= 60;
}
