import * as fs from 'fs';
import * as path from 'path';
import { python, pythonApp, tool, typescriptApp } from './folders';
import { run } from './run';

test('the types of the app in TypeScript are right', async () => {
  await run(path.join(typescriptApp(), 'node_modules', '.bin', 'tsc'), ['--noEmit'], typescriptApp());
});

test('the types of the app in Python are right, and would be told if they were not', async () => {
  // A comment that silences nothing is an error by itself.
  const wrong = ['from tailscale_lambda_proxy import TailscaleNodeOptions', '', 'TailscaleNodeOptions()  # type: ignore[call-arg]', ''];
  fs.writeFileSync(path.join(pythonApp(), 'wrong.py'), wrong.join('\n'));
  const files = ['app.py', 'proxy_stack.py', 'wrong.py'];

  const told = await run(tool('mypy'), ['--strict', '--python-executable', python(), ...files], pythonApp());

  expect(told).toContain(`no issues found in ${files.length} source files`);
});
