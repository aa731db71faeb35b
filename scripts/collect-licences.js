'use strict';
// Collects the licences of all third-party software inside the zips, and in the program for callers outside Lambda, into
// assets/THIRD-PARTY-LICENSES.txt: of the crates, of the Go modules, and of the standard libraries, musl among them. The same
// sources make the same file.
// No tool for it was kept: those for crates take minutes to compile, and none reads Go modules and crates alike.

const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const { ARCHITECTURES } = require('./architecture');
const { ASSETS } = require('./build-layers');
const { PROGRAM, SHIPPED } = require('./build-rust');
const { MODULE, TAILSCALED, goEnvironment, omitTags } = require('./build-tailscaled');
const { normalised, render, standardText, textsIn } = require('./licence-texts');
const { runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
const FILE = path.join(ASSETS, 'THIRD-PARTY-LICENSES.txt');

/** @typedef {import('./licence-texts').Component} Component */

/**
 * A command's output.
 * @param {string} program
 * @param {string[]} args
 * @param {import('child_process').ExecFileSyncOptions} options
 */
function output(program, args, options) {
  return String(execFileSync(program, args, { maxBuffer: 1e8, stdio: ['ignore', 'pipe', 'inherit'], ...options }));
}

/**
 * The lines of a text, each once.
 * @param {string} text
 */
const uniqueLines = (text) => [...new Set(text.split('\n').map((line) => line.trim()).filter(Boolean))];

/** What the program for callers outside Lambda is built for beside Linux. */
const MACOS = ['aarch64-apple-darwin', 'x86_64-apple-darwin'];

/** The crates that are linked into what ships: `name vVersion`. */
function linkedCrates() {
  const edges = ['-e', 'normal,no-proc-macro', '--prefix', 'none', '--no-dedupe', '-f', '{p}'];
  const tree = (/** @type {string[]} */ packages, /** @type {string} */ target) => uniqueLines(output(
    'cargo', ['tree', '--locked', ...packages.flatMap((name) => ['-p', name]), '--target', target, ...edges], { cwd: path.join(ROOT, 'rust') }));
  return [
    ...Object.values(ARCHITECTURES).flatMap((names) => tree(Object.keys(SHIPPED), names.rust)),
    ...MACOS.flatMap((target) => tree([PROGRAM], target)),
  ];
}

/** @returns {Component[]} */
function crates() {
  const linked = new Set(linkedCrates());
  const metadata = JSON.parse(output('cargo', ['metadata', '--locked', '--format-version', '1'], { cwd: path.join(ROOT, 'rust') }));
  /** @type {{ name: string, version: string, source: string | null, license: string | null, authors: string[], manifest_path: string }[]} */
  const packages = metadata.packages;
  return packages
    .filter(({ name, version, source }) => source !== null && linked.has(`${name} v${version}`))
    .map(({ name, version, license, authors, manifest_path: manifest }) => {
      const texts = textsIn(path.dirname(manifest));
      const holders = authors.join(', ') || `the authors of ${name}`;
      return {
        name: `${name} ${version} (crate)`,
        purl: `pkg:cargo/${name}@${version}`,
        expression: license ?? undefined,
        texts: texts.length > 0 ? texts : [standardText(name, license, holders)],
      };
    });
}

/** @returns {Component[]} */
function goModules() {
  const tags = omitTags(fs.readFileSync(path.join(MODULE, 'features.txt'), 'utf8')).join(',');
  const format = '{{with .Module}}{{.Path}} {{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}';
  const lines = Object.keys(ARCHITECTURES).flatMap((architecture) => uniqueLines(output(
    'go', ['list', '-deps', '-tags', tags, '-f', format, TAILSCALED], { cwd: MODULE, env: goEnvironment(architecture) })));
  return lines.map((line) => line.split('\t')).map(([name, root, folder]) => {
    // A package inside a module may be somebody else's, with a licence of its own beside it.
    const texts = foldersUpTo(root, folder).flatMap(textsIn);
    return {
      name: `${name} (Go module)`,
      purl: `pkg:golang/${name.replace(' ', '@')}`,
      texts: texts.length > 0 ? texts : [standardText(name, null, '')],
    };
  });
}

/**
 * A folder, and those above it up to the root.
 * @param {string} root
 * @param {string} folder
 * @returns {string[]}
 */
function foldersUpTo(root, folder) {
  return folder === root ? [root] : [folder, ...foldersUpTo(root, path.dirname(folder))];
}

/** @returns {Component[]} */
function standardLibraries() {
  const [goRoot, goVersion] = output('go', ['env', 'GOROOT', 'GOVERSION'], { cwd: MODULE }).trim().split('\n');
  const rustVersion = output('rustc', ['--version'], { cwd: path.join(ROOT, 'rust') }).split(' ')[1];
  return [
    {
      name: 'the standard library of Go',
      purl: `pkg:golang/stdlib@${goVersion.replace('go', '')}`,
      texts: [normalised(fs.readFileSync(path.join(goRoot, 'LICENSE'), 'utf8'))],
    },
    {
      name: 'the standard library of Rust',
      purl: `pkg:generic/rust-std@${rustVersion}`,
      expression: 'MIT OR Apache-2.0',
      texts: [standardText('Rust', 'MIT', 'The Rust Project Contributors'), standardText('Rust', 'Apache-2.0', '')],
    },
    {
      // The C library that is linked statically.
      name: 'musl',
      purl: 'pkg:generic/musl',
      expression: 'MIT',
      texts: [standardText('musl', 'MIT', '2005-2025 Rich Felker, et al.')],
    },
  ];
}

/** All third-party software inside the zips. */
const components = () => [...crates(), ...goModules(), ...standardLibraries()];

function main() {
  const found = components();
  fs.mkdirSync(ASSETS, { recursive: true });
  fs.writeFileSync(FILE, render(found));
  const names = new Set(found.map(({ name }) => name));
  console.log(`${path.relative(ROOT, FILE)}: ${names.size} components`);
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { FILE, components };
