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

/** What lets a role of another account in, with the URL and without it. */
const OTHER_ACCOUNTS = {
  url: 'proxy.grantInvokeUrl(new iam.ArnPrincipal(...))',
  invoke: 'addPermission(id, { principal: new iam.ArnPrincipal(...) }) of proxy.lambda, or of proxy.alias if there is one,',
};

/** The functions that have the layer already. */
const LAYERED = new WeakSet<lambda.Function>();

/** Which proxy each of a function's variables names. */
const NAMED = new WeakMap<lambda.Function, Map<string, ITailscaleLambdaProxy>>();

/**
 * Lets a function call a proxy, which is in `proxyAccount`, and tells it how.
 * @internal
 */
export function addCallerOf(
  proxy: ITailscaleLambdaProxy, proxyAccount: string, caller: lambda.Function, options: AddCallerOptions = {},
): iam.Grant {
  const byInvoke = options.via === CallerVia.INVOKE;
  // Of this function alone, so that another caller is not held back.
  const validation = new Validation(caller);
  const variable = byInvoke ? Variable.PROXY_FUNCTION : Variable.PROXY_URL;
  validateCaller(validation, caller, options, variable);
  validateVariable(validation, caller, options.environmentVariable || variable, proxy);
  warnOfAccount(proxyAccount, caller, byInvoke);
  if (!validation.failed) {
    const variables = {
      [options.environmentVariable || variable]: byInvoke ? proxy.functionArn : proxy.url, ...options.layer ? layerVariables(options) : {},
    };
    Object.entries(variables).forEach(([name, value]) => caller.addEnvironment(name, value));
    if (options.layer) {
      LAYERED.add(caller);
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

/** The later proxy would take the place of the earlier one, unnoticed. */
function validateVariable(validation: Validation, caller: lambda.Function, name: string, proxy: ITailscaleLambdaProxy): void {
  const named = NAMED.get(caller) ?? new Map<string, ITailscaleLambdaProxy>();
  NAMED.set(caller, named);
  const other = named.get(name);
  if (other && other !== proxy) {
    validation.refuse('environmentVariable', `"${name}", in which ${caller.node.path} finds ${other.node.path} already`, 'set it to another name for this proxy');
  }
  named.set(name, proxy);
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
