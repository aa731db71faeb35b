'use strict';
// Follows the README from an empty folder: its commands and its files, with what was published, and with the lowest or the
// newest CDK. The stack must be synthesized without a warning.

const { spawn } = require('child_process');
const { once } = require('events');
const fs = require('fs');
const path = require('path');

/**
 * What the README shows.
 * @typedef {object} Shown
 * @property {string} install the command that installs for an app in TypeScript
 * @property {string} pip what an app in Python needs beside it
 * @property {string} synth the command that synthesizes
 * @property {Record<string, string>} files name -> text
 */

/**
 * @param {string} readme
 * @returns {Shown}
 */
function shown(readme) {
  /** @param {RegExp} pattern @param {string} what */
  const one = (pattern, what) => {
    const found = [...readme.matchAll(pattern)];
    if (found.length !== 1) {
      throw new Error(`README.md shows ${found.length} of "${what}", and must show one`);
    }
    return found[0][1];
  };
  /** @param {string} file @param {string} language */
  const block = (file, language) => {
    const indented = one(new RegExp(`\`${file.replace('.', '\\.')}\`[^\`]*\\n\\n   \`\`\`${language}\\n([^]*?)\\n   \`\`\``, 'g'), file);
    return `${indented.replace(/^ {3}/gm, '')}\n`;
  };
  return {
    install: one(/^\$ (npm init .*)$/gm, 'npm init'),
    pip: one(/^\$ (python3 -m venv .*?) *#.*$/gm, 'python3 -m venv'),
    synth: one(/`(npx cdk synth [^`]*)`/g, 'npx cdk synth'),
    files: {
      [path.join('caller', 'index.py')]: block('caller/index.py', 'python'),
      'app.ts': block('app.ts', 'ts'),
      'app.py': block('app.py', 'python'),
    },
  };
}

/**
 * Runs a shell command and returns all that it writes.
 * @param {string} command
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} environment
 */
async function shell(command, folder, environment) {
  const child = spawn('bash', ['-eo', 'pipefail', '-c', command], { cwd: folder, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  /** @type {[string[], string[]]} */
  const [out, err] = [[], []];
  child.stdout.setEncoding('utf8').on('data', (text) => out.push(text));
  child.stderr.setEncoding('utf8').on('data', (text) => err.push(text));
  const [status] = await once(child, 'close');
  if (status !== 0) {
    throw new Error(`in ${folder}, ${command} failed with exit code ${status}:\n${out.join('')}${err.join('')}`);
  }
  return { out: out.join(''), err: err.join('') };
}

/**
 * What is wrong with what `cdk synth` wrote.
 * @param {{ out: string, err: string }} written
 * @returns {string[]}
 */
function problemsOf({ out, err }) {
  const missing = ['AWS::Lambda::Url', 'AWS::Lambda::LayerVersion', 'TS_PROXY_URL'].filter((word) => !out.includes(word));
  const complaints = err.split('\n').filter((line) => /warn|deprecat|error/i.test(line));
  return [...missing.map((word) => `the template has no ${word}`), ...complaints];
}

/**
 * What an application is made of.
 * @typedef {object} Application
 * @property {string} folder does not exist yet
 * @property {string} name of the package
 * @property {string[]} cdk the versions of the CDK, as npm is asked for them; the newest where there are none
 * @property {string} npm the registry
 * @property {string} pypi the index
 * @property {NodeJS.ProcessEnv} environment
 */

/**
 * @param {Application} application
 * @param {Shown} readme
 */
function prepare({ folder }, readme) {
  for (const [name, text] of Object.entries(readme.files)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  }
}

/**
 * Installs what every application needs.
 * @param {Application} application
 * @param {Shown} readme
 */
async function install({ folder, name, cdk, npm, environment }, readme) {
  const chosen = cdk.reduce((command, version) => command.replace(new RegExp(` ${version.split('@')[0]}(?= |$)`), ` ${version}`), readme.install);
  const env = { ...environment, npm_config_registry: `http://${npm}/`, npm_config_audit: 'false', npm_config_fund: 'false' };
  await shell(chosen.replace('CHECKOUT/dist/js/*.tgz', name), folder, env);
}

/**
 * Makes the README's application in TypeScript.
 * @param {Application} application
 * @param {Shown} readme
 */
async function inTypeScript(application, readme) {
  prepare(application, readme);
  await install(application, readme);
  return problemsOf(await shell(readme.synth, application.folder, application.environment));
}

/**
 * Makes the README's application in Python; the CDK's command line comes by npm.
 * @param {Application} application
 * @param {Shown} readme
 */
async function inPython(application, readme) {
  const { folder, name, cdk, pypi, environment } = application;
  prepare(application, readme);
  await install(application, readme);
  const chosen = [name, ...cdk.map((version) => version.replace('@', '=='))].join(' ');
  const env = { ...environment, PIP_INDEX_URL: `http://${pypi}/simple/` };
  // One shell, for the virtual environment.
  const commands = [`${readme.pip.replace('CHECKOUT/dist/python/*.whl', chosen)} --quiet`, readme.synth.replace('npx tsx app.ts', 'python3 app.py')];
  return problemsOf(await shell(commands.join('\n'), folder, env));
}

module.exports = { inPython, inTypeScript, problemsOf, shown };
