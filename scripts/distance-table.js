'use strict';
// Prints the table of docs/distance.md from what `npm run distance` has measured.
// `node scripts/distance-table.js [dist/distance.json]`

const fs = require('fs');
const path = require('path');

/**
 * A row of the measuring suite's.
 * @typedef {object} Row
 * @property {string} part
 * @property {string} profile
 * @property {boolean} udp
 * @property {string} who
 * @property {string} what
 * @property {number} medianMs
 * @property {number} maxMs
 */

const HEAD = [
  'round trip',
  'bare: key, ready, then first answer',
  'function: ready, then first answer',
  'whole start: bare, function',
  'bare after 3 s of quiet: new connection',
  'function after 3 s of quiet: kept, new connection',
  'dead flows: median, longest',
];

/** @param {number | undefined} millis */
function shown(millis) {
  return millis === undefined ? '' : Math.round(millis).toLocaleString('en-US');
}

/**
 * The lines of the table.
 * @param {Row[]} rows
 */
function table(rows) {
  /** @type {(profile: string, who: string, part: string, what: string) => string} */
  const median = (profile, who, part, what) => shown(rows.find((row) =>
    row.profile === profile && row.udp && row.who === who && row.part === part && row.what === what)?.medianMs);
  const profiles = [...new Set(rows.map((row) => row.profile))];
  const lines = profiles.map((profile) => {
    /** @param {string} who */
    const start = (who) =>
      `${median(profile, who, 'cold start', 'ready')}, **${median(profile, who, 'cold start', 'first answer')} ms**`;
    const quiet = ['GET, kept connection', 'GET, new connection'].map((what) =>
      median(profile, 'ours', 'quiet', `${what}, after 3 s`));
    const dead = rows.filter((row) => row.profile === profile && !row.udp && row.part === 'dead freeze');
    const medians = dead.map((row) => row.medianMs).sort((one, other) => one - other);
    const longest = dead.length > 0 ? Math.max(...dead.map((row) => row.maxMs)) : undefined;
    return [
      profile,
      `${median(profile, 'bare', 'cold start', 'key read')}, ${start('bare')}`,
      start('ours'),
      `${median(profile, 'bare', 'cold start', 'key read, start to first answer')}, ` +
        `${median(profile, 'ours', 'cold start', 'start to first answer')} ms`,
      `${median(profile, 'bare', 'quiet', 'GET, new connection, after 3 s')} ms`,
      `${quiet.join(', ')} ms`,
      `${shown(medians[medians.length >> 1])}, ${shown(longest)} ms`,
    ];
  });
  return [HEAD, HEAD.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`);
}

if (require.main === module) {
  const file = process.argv[2] ?? path.join(__dirname, '..', 'dist', 'distance.json');
  console.log(table(JSON.parse(fs.readFileSync(file, 'utf8'))).join('\n'));
}

module.exports = { table };
