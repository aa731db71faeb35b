'use strict';
// Runs the jobs of a workflow file on this machine: the shell steps as they are written there, and in place of the actions
// what they do to the files. An action or an expression that is not known here ends the rehearsal.

const { spawn } = require('child_process');
const { once } = require('events');
const fs = require('fs');
const path = require('path');
const { run } = require('../run');

/** @typedef {Record<string, any>} Step as GitHub documents it */
/** @typedef {Record<string, any> & { steps: Step[] }} Job as GitHub documents it */
/** @typedef {Record<string, any>} Contexts what expressions read: `steps`, `needs`, `inputs`, `github`, … */
/** @typedef {{ name: string, job: Job, folder: string, contexts: Contexts }} Run a job that runs, and its folder */

/**
 * The value of an expression without its `${{ }}`. JavaScript reads what the release workflow uses of GitHub's language: paths,
 * texts, !, ==, != and &&. A function or a context that it does not know ends the rehearsal.
 * @param {string} expression
 * @param {Contexts} contexts
 */
function evaluate(expression, contexts) {
  const script = expression.replace(/\.(\w+(?:-\w+)+)/g, '["$1"]');
  // What is not there is empty, as with GitHub.
  return new Function(...Object.keys(contexts), `return ${script}`)(...Object.values(contexts)) ?? '';
}

/**
 * Texts by names, each with its `${{ }}` replaced.
 * @param {Record<string, unknown> | undefined} texts
 * @param {Contexts} contexts
 */
function interpolateAll(texts, contexts) {
  const interpolate = (/** @type {unknown} */ text) =>
    String(text).replace(/\$\{\{(.*?)\}\}/g, (_, expression) => String(evaluate(expression, contexts)));
  return Object.fromEntries(Object.entries(texts ?? {}).map(([key, text]) => [key, interpolate(text)]));
}

/**
 * Whether an `if:` holds, which may come with or without `${{ }}`; without one, it does.
 * @param {string | undefined} condition
 * @param {Contexts} contexts
 */
function holds(condition, contexts) {
  return condition === undefined || Boolean(evaluate(condition.replace(/^\$\{\{(.*)\}\}$/, '$1'), contexts));
}

/**
 * What stands for GitHub.
 * @typedef {object} Place
 * @property {string} folder for everything that is made
 * @property {string} repository what is checked out
 * @property {string} tag that was pushed
 * @property {string} commit that it points to
 * @property {NodeJS.ProcessEnv} environment of every step
 * @property {Record<string, NodeJS.ProcessEnv>} overrides by job: what its steps get in place of what the workflow says
 * @property {Record<string, string>} leftOut by step id: steps that are not run, and why
 */

/** A workflow, and how far it has come. */
class Rehearsal {
  /**
   * @param {Record<string, Job>} jobs
   * @param {Place} place
   */
  constructor(jobs, place) {
    this.jobs = jobs;
    this.place = place;
    /** @type {Record<string, { outputs: Record<string, string> }>} */
    this.done = {};
  }

  /**
   * Runs one job in an empty folder; the jobs that it needs must have run.
   * @param {string} name
   */
  async job(name) {
    const job = this.jobs[name];
    const missing = [job.needs ?? []].flat().filter((needed) => !(needed in this.done));
    if (missing.length > 0) {
      throw new Error(`the job ${name} needs ${missing.join(', ')}, which did not run before it`);
    }
    const contexts = { github: { sha: this.place.commit }, inputs: {}, secrets: { GITHUB_TOKEN: 'none' }, needs: this.done, steps: /** @type {any} */ ({}) };
    if (!holds(job.if, contexts)) {
      throw new Error(`the job ${name} would not run: ${job.if}`);
    }
    const folder = path.join(this.place.folder, 'jobs', name);
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true });
    for (const step of job.steps) {
      contexts.steps[step.id ?? ''] = { outputs: await this.step(step, { name, job, folder, contexts }) };
    }
    this.done[name] = { outputs: interpolateAll(job.outputs, contexts) };
  }

  /**
   * @param {Step} step
   * @param {Run} of
   * @returns {Promise<Record<string, string>>} its outputs
   */
  async step(step, of) {
    const title = `${of.name}: ${step.name ?? step.uses}`;
    const why = this.place.leftOut[step.id ?? ''];
    if (why || !holds(step.if, of.contexts)) {
      console.log(`- ${title} (left out: ${why ?? step.if})`);
      return {};
    }
    console.log(`- ${title}`);
    return step.uses ? this.action(step, of) : this.script(step, of);
  }

  /**
   * What an action does to the files.
   * @param {Step} step
   * @param {Run} of
   * @returns {Record<string, string>}
   */
  action(step, { folder, contexts }) {
    const inputs = interpolateAll(step.with, contexts);
    const artifacts = path.join(this.place.folder, 'artifacts');
    const [name] = String(step.uses).split('@');
    switch (name) {
      case 'actions/checkout': {
        const target = path.join(folder, inputs.path ?? '.');
        run('git', ['clone', '--quiet', this.place.repository, target]);
        run('git', ['-c', 'advice.detachedHead=false', 'checkout', '--quiet', this.place.tag], { cwd: target });
        return {};
      }
      case 'actions/upload-artifact':
        fs.rmSync(path.join(artifacts, inputs.name), { recursive: true, force: true });
        fs.cpSync(path.join(folder, inputs.path), path.join(artifacts, inputs.name), { recursive: true });
        return { 'artifact-id': inputs.name };
      case 'actions/download-artifact':
        fs.cpSync(path.join(artifacts, inputs['artifact-ids']), path.join(folder, inputs.path), { recursive: true });
        return {};
      case 'actions/attest-build-provenance':
        console.log('  not attested here:');
        // Each pattern must name a file.
        run('bash', ['-c', `ls -d ${inputs['subject-path'].split('\n').join(' ')}`], { cwd: folder });
        return {};
      case 'actions/setup-node':
      case 'actions/setup-go':
      case 'actions/setup-python':
        console.log('  this machine\'s own');
        return {};
      default:
        throw new Error(`no rehearsal knows what ${name} does: teach scripts/rehearsal/workflow.js`);
    }
  }

  /**
   * Runs a shell step as GitHub's runner does.
   * @param {Step} step
   * @param {Run} of
   * @returns {Promise<Record<string, string>>}
   */
  async script(step, { name, job, folder, contexts }) {
    const output = path.join(this.place.folder, 'output');
    fs.writeFileSync(output, '');
    const { script, ...env } = interpolateAll({ ...job.env, ...step.env, script: step.run }, contexts);
    const shell = step.shell === 'bash' ? ['--noprofile', '--norc', '-eo', 'pipefail'] : ['-e'];
    // Not synchronously: this process may be what the step talks to.
    const child = spawn('bash', [...shell, '-c', script], {
      cwd: folder,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...this.place.environment,
        ...env,
        ...this.place.overrides[name],
        GITHUB_OUTPUT: output,
        GITHUB_REF_TYPE: 'tag',
        GITHUB_REF_NAME: this.place.tag,
        GITHUB_REF: `refs/tags/${this.place.tag}`,
        GITHUB_SHA: this.place.commit,
      },
    });
    const [status, signal] = await once(child, 'exit');
    if (status !== 0) {
      const problem = `the step "${step.name}" of the job ${name} failed: ${signal ?? `exit code ${status}`}`;
      if (!step['continue-on-error']) {
        throw new Error(problem);
      }
      console.log(`  ${problem}; the workflow goes on`);
    }
    return Object.fromEntries(fs.readFileSync(output, 'utf8').split('\n').filter(Boolean).map((line) => {
      const [key, ...value] = line.split('=');
      return [key, value.join('=')];
    }));
  }
}

module.exports = { Rehearsal };
