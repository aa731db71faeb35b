// What makes a function a caller of a proxy: of this app, or imported.
import { Stack, Token } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { AddCallerOptions } from './add-caller-options';
import { callerLayerOf } from './caller-layer';
import { CallerVia } from './caller-via';
import { callerEnvironment, Variable } from './environment';
import { ITailscaleLambdaProxy } from './tailscale-lambda-proxy-interface';
import { Validation } from './validation';
import { warn, Warning } from './warnings';

/** Where the layer listens. Part of the contract with rust/caller. */
const LAYER_URL = 'http://localhost:8055';

/** This machine, and what AWS's own programs ask in a function: Lambda's Runtime API, and the sources of credentials. */
const NO_PROXY = 'localhost,127.0.0.1,::1,169.254.100.1,169.254.169.254,169.254.170.2';

/** Where callers, and the layer, look for the proxy. */
const DEFAULT_VARIABLES: Record<CallerVia, Variable> = {
  [CallerVia.FUNCTION_URL]: Variable.PROXY_URL,
  [CallerVia.INVOKE]: Variable.PROXY_FUNCTION,
};

/** What lets a role of another account in, with the URL and without it. */
const OTHER_ACCOUNTS = {
  url: 'proxy.grantInvokeUrl(new iam.ArnPrincipal(...))',
  invoke: 'addPermission(id, { principal: new iam.ArnPrincipal(...) }) of proxy.lambda, or of proxy.alias if there is one,',
};

/** The functions that have the layer already, and how it calls. */
const LAYERED = new WeakMap<lambda.Function, CallerVia>();

/** The proxies that functions find in their variables. */
const FOUND_IN = new WeakMap<lambda.Function, Map<string, ITailscaleLambdaProxy>>();

/**
 * Lets a function call a proxy, which is in `proxyAccount`, and tells it how.
 * @internal
 */
export function addCallerOf(
  proxy: ITailscaleLambdaProxy, proxyAccount: string, caller: lambda.Function, options: AddCallerOptions = {},
): iam.Grant {
  const via = options.via ?? CallerVia.FUNCTION_URL;
  const byInvoke = via === CallerVia.INVOKE;
  // Of this function alone, so that another caller is not held back.
  const validation = new Validation(caller);
  const variable = DEFAULT_VARIABLES[via];
  const name = options.environmentVariable || variable;
  validateCaller(validation, caller, options, variable);
  validateVariable(validation, proxy, caller, name, options);
  warnOfAccount(proxyAccount, caller, byInvoke);
  if (!validation.failed) {
    const variables = {
      [name]: byInvoke ? proxy.functionArn : proxy.url, ...options.layer ? layerVariables(options) : {},
    };
    Object.entries(variables).forEach(([key, value]) => caller.addEnvironment(key, value));
    FOUND_IN.set(caller, new Map(FOUND_IN.get(caller)).set(name, proxy));
    if (options.layer) {
      LAYERED.set(caller, via);
      caller.addLayers(callerLayerOf(Stack.of(caller), caller.architecture));
    }
  }
  return byInvoke ? proxy.grantInvoke(caller) : proxy.grantInvokeUrl(caller);
}

function layerVariables({ httpProxy, ...settings }: AddCallerOptions): Record<string, string> {
  // Some clients read the one case, some the other.
  const clients = { HTTP_PROXY: LAYER_URL, http_proxy: LAYER_URL, NO_PROXY, no_proxy: NO_PROXY, NODE_USE_ENV_PROXY: '1' };
  return { ...callerEnvironment(settings), ...httpProxy === false ? {} : clients };
}

function validateCaller(validation: Validation, caller: lambda.Function, options: AddCallerOptions, variable: Variable): void {
  const { path } = caller.node;
  validation.text('environmentVariable', options.environmentVariable || undefined, /^[A-Za-z][A-Za-z0-9_]+$/,
    'use letters, digits and underscores, with a letter first');
  if (!options.layer) {
    for (const name of ['targets', 'httpProxy', 'metricService', 'metricDimensionName', 'metricDimensionValue'] as const) {
      if (options[name] !== undefined) {
        validation.refuse(name, 'set without the layer', 'set layer to true as well');
      }
    }
    return;
  }
  validation.targets('targets', options.targets);
  if (options.environmentVariable && options.environmentVariable !== variable) {
    validation.refuse('environmentVariable', `"${options.environmentVariable}"`, `the layer reads ${variable}: leave it out`);
  }
  if (LAYERED.has(caller)) {
    validation.refuse('layer', `true for ${path}, which has it already`, 'a function has one proxy that the layer sends to: sign requests to others');
  }
  if (caller.runtime.name === lambda.Runtime.FROM_IMAGE.name) {
    validation.refuse('layer', `true for ${path}, which is a container image`,
      'Lambda has no layers for images: put the layer\'s content into the image\'s /opt, and leave out layer');
  }
  refuseSnapStart(caller);
}

/** A variable holds one proxy, and what its name says: the layer trusts both. */
function validateVariable(
  validation: Validation, proxy: ITailscaleLambdaProxy, caller: lambda.Function, name: string, { layer, via }: AddCallerOptions,
): void {
  const byInvoke = via === CallerVia.INVOKE;
  if (!layer && name === DEFAULT_VARIABLES[byInvoke ? CallerVia.FUNCTION_URL : CallerVia.INVOKE]) {
    validation.refuse('environmentVariable', `"${name}"`,
      `callers look for ${byInvoke ? 'a Function URL' : 'an ARN'} in it: leave it out, or choose another name`);
  }
  const found = FOUND_IN.get(caller);
  const other = found?.get(name);
  if (other && other !== proxy) {
    validation.refuse('environmentVariable', `"${name}"`, `${caller.node.path} finds ${other.node.path} in it already: choose another name`);
  }
  // With both, the layer invokes.
  const turnsLayer = !layer && name === Variable.PROXY_FUNCTION && LAYERED.get(caller) === CallerVia.FUNCTION_URL;
  if (turnsLayer || layer && !byInvoke && found?.has(Variable.PROXY_FUNCTION)) {
    validation.refuse('via', 'FUNCTION_URL for the layer, and INVOKE without it',
      `the layer would take the ARN in ${Variable.PROXY_FUNCTION}: give the ARN another environmentVariable`);
  }
}

/** SnapStart may also be switched on later, by an aspect or on the function's resource: it is looked for at the end. */
function refuseSnapStart(caller: lambda.Function): void {
  caller.node.addValidation({
    validate: () => (caller.node.defaultChild as lambda.CfnFunction).snapStart === undefined ? [] : [
      'snapStart is set: the layer would sign with credentials of the snapshot, which expire: leave out snapStart, or call addCaller without layer',
    ],
  });
}

/** Between accounts, both sides must allow a call. */
function warnOfAccount(proxyAccount: string, caller: lambda.Function, byInvoke: boolean): void {
  const { account } = Stack.of(caller);
  const known = ![proxyAccount, account].some(Token.isUnresolved);
  if (known && proxyAccount !== account) {
    warn(caller, Warning.CALLER_OF_OTHER_ACCOUNT, `the proxy is in account ${proxyAccount}, and this function in ${account}: the proxy's account must ` +
      `allow the call as well. In the proxy's app, call ${byInvoke ? OTHER_ACCOUNTS.invoke : OTHER_ACCOUNTS.url} with the ARN of this function's role.`);
  }
}
