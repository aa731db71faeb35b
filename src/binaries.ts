// Where the zips are: the one place that knows the layout of assets/, and that tests replace.
import * as fs from 'fs';
import * as path from 'path';
import * as lambda from 'aws-cdk-lib/aws-lambda';

const ASSETS = path.join(__dirname, '..', 'assets');

/**
 * The zips that ship.
 * @internal
 */
export enum Binary {
  /** The function's code. */
  PROXY = 'proxy',
  /** The layer with the extension and tailscaled. */
  EXTENSION = 'extension',
  /** The layer of callers, with the extension that signs. */
  CALLER = 'caller',
}

/**
 * The path of a zip. Fails if there is none for that architecture.
 * @internal
 */
export function assetPath(binary: Binary, architecture: lambda.Architecture, assets: string = ASSETS): string {
  const file = path.join(assets, architecture.name, `${binary}.zip`);
  if (!fs.existsSync(file)) {
    throw new Error(
      `architecture is "${architecture.name}", and this package holds no ${binary}.zip for it (${file} is missing): ` +
      'choose another architecture, or, in a checkout of the source, run "npx projen layers:build:all"',
    );
  }
  return file;
}
