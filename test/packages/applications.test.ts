import * as fs from 'fs';
import * as path from 'path';
import { applications, python, pythonApp, ROOT, tool, typescriptApp } from './folders';
import { run } from './run';

interface Template {
  readonly Resources: Record<string, { Type: string; Properties: Record<string, unknown>; Metadata?: unknown }>;
}

/** Where each application was synthesized into. */
const assembly = (language: string) => path.join(applications(), `${language}.out`);

function template(language: string, stack: string): Template {
  return JSON.parse(fs.readFileSync(path.join(assembly(language), `${stack}.template.json`), 'utf8'));
}

/** The template without what is the language's own: the caller's code, and what the CDK notes about its making. */
function common({ Resources, ...rest }: Template): unknown {
  const entries = Object.entries(Resources).filter(([, { Type }]) => Type !== 'AWS::CDK::Metadata');
  const kept = entries.map(([id, { Metadata: _, Properties: { Code, Handler, Runtime, ...properties }, ...resource }]) => {
    const isCaller = resource.Type === 'AWS::Lambda::Function' && /^(Caller|Unsigned)/.test(id);
    return [id, { ...resource, Properties: isCaller ? properties : { Code, Handler, Runtime, ...properties } }];
  });
  return { ...rest, Resources: Object.fromEntries(kept) };
}

beforeAll(async () => {
  // As the CDK's command line runs an app; nothing is looked up, and nothing is sent.
  const environment = (language: string) => ({ CDK_OUTDIR: assembly(language), JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: '20' });
  await run(path.join(typescriptApp(), 'node_modules', '.bin', 'tsx'), ['app.ts'], typescriptApp(), environment('typescript'));
  await run(python(), ['app.py'], pythonApp(), environment('python'));
});

test('both languages make the same stack', () => {
  const [typescript, py] = ['typescript', 'python'].map((language) => common(template(language, 'TailnetProxy')));

  expect(Object.keys((typescript as Template).Resources).length).toBeGreaterThan(5);
  expect(py).toEqual(typescript);
});

test.each(['typescript', 'python'])('the assets of the app in %s are the zips that were built, byte for byte', (language) => {
  const files = Object.values(JSON.parse(fs.readFileSync(path.join(assembly(language), 'TailnetProxy.assets.json'), 'utf8')).files) as
    { source: { path: string; packaging: string } }[];
  const zips = files.filter(({ source }) => source.path.endsWith('.zip')).map(({ source }) => fs.readFileSync(path.join(assembly(language), source.path)));

  const built = ['proxy.zip', 'extension.zip', 'caller.zip'].map((name) => fs.readFileSync(path.join(ROOT, 'assets', 'x86_64', name)));
  expect(built.map((zip) => zips.filter((asset) => asset.equals(zip)).length)).toEqual([1, 1, 1]);
  expect(zips).toHaveLength(built.length);
});

test.each([
  ['typescript', 'TailnetProxy'], ['typescript', 'TailnetExtension'], ['python', 'TailnetProxy'],
])('cfn-lint finds nothing in the %s template %s', async (language, stack) => {
  const file = path.join(assembly(language), `${stack}.template.json`);

  // W3005: the CDK itself notes a dependency on a role that the function names already.
  const told = await run(tool('cfn-lint'), ['--non-zero-exit-code', 'informational', '--ignore-checks', 'W3005', '--', file], applications());

  expect(told).toBe('');
});
