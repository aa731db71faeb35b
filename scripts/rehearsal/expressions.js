'use strict';
// The part of GitHub's expressions that the release workflow uses: paths, texts, !, ==, != and &&. Anything else is refused.

/**
 * What an expression reads: `steps`, `needs`, `inputs`, `github`, …
 * @typedef {Record<string, unknown>} Contexts
 */

/**
 * The value of one operand.
 * @param {string} text
 * @param {Contexts} contexts
 * @returns {unknown}
 */
function operand(text, contexts) {
  const quoted = /^'([^']*)'$/.exec(text);
  if (quoted) {
    return quoted[1];
  }
  if (text.startsWith('!')) {
    return !operand(text.slice(1).trim(), contexts);
  }
  if (!/^[a-z][\w-]*(\.[\w-]+)+$/i.test(text)) {
    throw new Error(`cannot evaluate "${text}": teach scripts/rehearsal/expressions.js what it means`);
  }
  const [context, ...path] = text.split('.');
  if (!(context in contexts)) {
    throw new Error(`"${text}" reads the context "${context}", which no rehearsal has`);
  }
  // What is not there is empty, as with GitHub.
  return path.reduce((value, name) => /** @type {any} */ (value)?.[name], contexts[context]) ?? '';
}

/**
 * The value of an expression without its `${{ }}`.
 * @param {string} expression
 * @param {Contexts} contexts
 * @returns {unknown}
 */
function evaluate(expression, contexts) {
  const values = expression.split('&&').map((part) => {
    const comparison = /^(.+?)\s*([=!]=)\s*(.+)$/.exec(part.trim());
    if (!comparison) {
      return operand(part.trim(), contexts);
    }
    const [left, right] = [comparison[1], comparison[3]].map((side) => operand(side, contexts));
    return (left === right) === (comparison[2] === '==');
  });
  return values.length === 1 ? values[0] : values.every(Boolean);
}

/**
 * A text with its `${{ }}` replaced.
 * @param {string} text
 * @param {Contexts} contexts
 */
function interpolate(text, contexts) {
  return text.replace(/\$\{\{(.*?)\}\}/g, (_, expression) => String(evaluate(expression.trim(), contexts)));
}

/**
 * Whether an `if:` holds, which may come with or without `${{ }}`; without one, it does.
 * @param {string | undefined} condition
 * @param {Contexts} contexts
 */
function holds(condition, contexts) {
  return condition === undefined || Boolean(evaluate(condition.replace(/^\$\{\{(.*)\}\}$/, '$1').trim(), contexts));
}

module.exports = { evaluate, holds, interpolate };
