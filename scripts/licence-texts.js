'use strict';
// The licence texts of a piece of software, and many of them as one readable file.

const fs = require('fs');
const path = require('path');

/** How files with licences and notices are called. */
const FILE_NAME = /^(licen[cs]e|unlicense|copying|copyright|notice|patents)([-._].*)?$/i;
const SOURCE_CODE = /\.(go|rs|py|js|toml|json|html)$/i;

/** The texts for software that names its licence but brings no text along. */
const STANDARD_TEXTS = path.join(__dirname, 'licences');

/**
 * A piece of software, and the texts that it comes under.
 * @typedef {object} Component
 * @property {string} name with the version
 * @property {string} [purl] its package URL
 * @property {string} [expression] its license as an SPDX expression, if it says one
 * @property {string[]} texts
 */

/**
 * The texts that lie in a folder, in the order of the files' names.
 * @param {string} folder
 */
function textsIn(folder) {
  return fs.readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && FILE_NAME.test(entry.name) && !SOURCE_CODE.test(entry.name))
    .map(({ name }) => name)
    .sort()
    .map((name) => normalised(fs.readFileSync(path.join(folder, name), 'utf8')));
}

/**
 * One text in one form, so that equal ones are recognised.
 * @param {string} text
 */
function normalised(text) {
  return text.replaceAll('\r\n', '\n').replace(/[ \t]+$/gm, '').replace(/^\n+/, '').trimEnd();
}

/**
 * The standard text of the first licence in an SPDX expression that there is one for.
 * @param {string} name whose licence it is
 * @param {string | null} expression
 * @param {string} holders of the copyright
 */
function standardText(name, expression, holders) {
  const licences = (expression ?? '').split(/ OR |\//).map((licence) => licence.trim());
  const licence = licences.find((candidate) => fs.existsSync(path.join(STANDARD_TEXTS, `${candidate}.txt`)));
  if (licence === undefined) {
    throw new Error(
      `${name} holds no licence text, and its licence is "${expression}": ` +
      'add the text to scripts/licences/ under that name, or use other software',
    );
  }
  const text = normalised(fs.readFileSync(path.join(STANDARD_TEXTS, `${licence}.txt`), 'utf8'));
  return licence === 'MIT' ? `MIT License\n\nCopyright (c) ${holders}\n\n${text}` : text;
}

/**
 * One file of it all: each text once, below the names of all that it covers.
 * @param {Component[]} components
 */
function render(components) {
  /** @type {Map<string, Set<string>>} */
  const covered = new Map();
  for (const { name, texts } of components) {
    texts.forEach((text) => covered.set(text, (covered.get(text) ?? new Set()).add(name)));
  }
  const sections = [...covered].map(([text, names]) => `${[...names].sort().join('\n')}\n\n${text}\n`).sort();
  const introduction = 'What is in this folder contains the software named below, each under the licence that follows its name.\n';
  return [introduction, ...sections].join(`\n${'='.repeat(100)}\n\n`);
}

module.exports = { normalised, render, standardText, textsIn };
