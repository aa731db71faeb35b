import * as cdk from 'aws-cdk-lib';
import { ExtensionStack } from './extension-stack';
import { ProxyStack } from './proxy-stack';

const app = new cdk.App();
new ProxyStack(app, 'TailnetProxy');
new ExtensionStack(app, 'TailnetExtension');
