import { App, Stack } from 'aws-cdk-lib';
// eslint-disable-next-line import/no-unresolved -- it runs where the package is installed
import { TailscaleLambdaProxy } from 'tailscale-lambda-proxy';

const app = new App({ analyticsReporting: false });
new TailscaleLambdaProxy(new Stack(app, 'Keyless'), 'Proxy', {
  tsWorkloadIdentity: { clientId: 'T1234567890CNTRL-kQ9', tags: ['tag:lambda', 'tag:reports'] },
  tsHostname: 'lambda-proxy',
});
app.synth();
