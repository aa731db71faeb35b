'use strict';
// Follows the README from an empty folder: its commands and its files, with what was published, and with the lowest or the
// newest CDK. The stack must be synthesized without a warning.

const { execFile } = require('child_process');
const fs = require('fs');
const path = require('path');
const { promisify } = require('util');

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
 * @param {NodeJS.ProcessEnv} env
 */
async function shell(command, folder, env) {
  const running = promisify(execFile)('bash', ['-eo', 'pipefail', '-c', command], { cwd: folder, env, maxBuffer: 1e8 });
  running.child.stdin?.end();
  const { stdout, stderr } = await running.catch((error) => {
    throw new Error(`in ${folder}, ${command} failed with exit code ${error.code}:\n${error.stdout}${error.stderr}`);
  });
  return { out: stdout, err: stderr };
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
 * Makes the README's application, in TypeScript or Python; the CDK's command line comes by npm for both.
 * @param {'typescript' | 'python'} language
 * @param {object} application
 * @param {string} application.folder does not exist yet
 * @param {string} application.name of the package
 * @param {string[]} application.cdk the versions of the CDK, as npm is asked for them; the newest where there are none
 * @param {string} application.npm the registry
 * @param {string} application.pypi the index
 * @param {NodeJS.ProcessEnv} application.environment
 * @param {Shown} readme
 */
async function make(language, { folder, name, cdk, npm, pypi, environment }, readme) {
  for (const [file, text] of Object.entries(readme.files)) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), text);
  }
  const install = cdk.reduce((command, version) => command.replace(new RegExp(` ${version.split('@')[0]}(?= |$)`), ` ${version}`), readme.install);
  const env = { ...environment, npm_config_registry: `http://${npm}/`, npm_config_audit: 'false', npm_config_fund: 'false' };
  await shell(install.replace('CHECKOUT/dist/js/*.tgz', name), folder, env);
  if (language === 'typescript') {
    return problemsOf(await shell(readme.synth, folder, environment));
  }
  const wheels = [name, ...cdk.map((version) => version.replace('@', '=='))].join(' ');
  // One shell, for the virtual environment.
  const commands = [`${readme.pip.replace('CHECKOUT/dist/python/*.whl', wheels)} --quiet`, readme.synth.replace('npx tsx app.ts', 'python3 app.py')];
  return problemsOf(await shell(commands.join('\n'), folder, { ...environment, PIP_INDEX_URL: `http://${pypi}/simple/` }));
}

module.exports = { make, problemsOf, shown };
