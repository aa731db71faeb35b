import { CallerVia } from './caller-via';

/**
 * How a function calls the proxy.
 */
export interface AddCallerOptions {
  /**
   * The way by which the function calls the proxy: by the Function URL, or by Lambda's Invoke API. With `INVOKE`, it is granted
   * `lambda:InvokeFunction` alone, and finds the ARN in its environment in place of the URL. With `layer`, its code is the same for both.
   *
   * @default CallerVia.FUNCTION_URL
   */
  readonly via?: CallerVia;

  /**
   * The environment variable that the function finds the URL in, or the ARN with `CallerVia.INVOKE`. The layer reads those of the
   * default: with `layer`, leave the name. A function that calls two proxies finds each in a variable of its own.
   *
   * @default - `TS_PROXY_URL`, or `TS_PROXY_FUNCTION` with `CallerVia.INVOKE`
   */
  readonly environmentVariable?: string;

  /**
   * Whether to add the caller's layer: an HTTP proxy on `http://localhost:8055` in the function, which signs requests and sends
   * them to the tailnet's proxy. The code then requests `http://billing.example.ts.net:8080/invoices` by the HTTP client that it
   * has, without a signature and without `ts-` headers. A request to port 443 is sent on by https: write `http://name:443`.
   *
   * @default false
   */
  readonly layer?: boolean;

  /**
   * What goes into the tailnet, with `layer`: addresses, networks (`10.1.0.0/16`), names, `*.suffix` for all names below one, or
   * `<local>` for all names without a dot, each optionally followed by `:port` or `:from-to`, with IPv6 in brackets before a
   * port. All other requests go straight to where they are for.
   *
   * @default - `*.ts.net`, `100.64.0.0/10`, `fd7a:115c:a1e0::/48` and `<local>`
   */
  readonly targets?: string[];

  /**
   * The service that the function's requests are counted for, with `layer`: the `ts-metric-service` of requests that have none.
   *
   * @default - requests are counted if they say so themselves
   */
  readonly metricService?: string;

  /**
   * The `ts-metric-dimension-name` of requests that have none, with `layer`.
   *
   * @default - none
   */
  readonly metricDimensionName?: string;

  /**
   * The `ts-metric-dimension-value` of requests that have none, with `layer`.
   *
   * @default - none
   */
  readonly metricDimensionValue?: string;

  /**
   * Whether to set `HTTP_PROXY`, `http_proxy`, `NO_PROXY`, `no_proxy` and `NODE_USE_ENV_PROXY`, so that HTTP clients use the layer
   * by themselves. Without them, tell the client to use the proxy `http://localhost:8055`. Node.js reads them from 22.21 and 24 on.
   *
   * @default true with `layer`
   */
  readonly httpProxy?: boolean;
}
