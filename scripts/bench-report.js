'use strict';
// Reads what `npm run bench` has measured, prints the table, the goals, and what changed since the committed figures, and
// draws the chart. `node scripts/bench-report.js [dist/bench.json] [--keep]`; --keep puts all of it into docs/.

const fs = require('fs');
const os = require('os');
const path = require('path');

const ROOT = path.join(__dirname, '..');
const DOCS = path.join(ROOT, 'docs');
/** A change that is named: smaller ones are the machine's. */
const NOTABLE = 0.15;

/**
 * A figure of the measuring suite's: the median of the rounds, and the least and the greatest of them.
 * @typedef {object} Row
 * @property {string} part
 * @property {string} at
 * @property {string} who
 * @property {string} what
 * @property {string} unit
 * @property {number} median
 * @property {number} low
 * @property {number} high
 * @property {number} rounds
 * @property {number} failed
 */

/** @typedef {[part: string, at: string, who: string, what: string]} Name of a figure */

/** @type {(who: string, what: string) => Name} */
const near = (who, what) => ['requests', 'near', who, what];
/** @type {(who: string) => Name} */
const share = (who) => ['share of a core', '0.145 core', who, 'GET kept, over direct'];
/** @type {(who: string) => Name} */
const coldStart = (who) => ['start', 'near', who, 'cold start to first answer'];
/** @type {(what: string) => Name} */
const thaw = (what) => ['thaw', '3 s, DERP', 'ours', what];
/** @type {(what: string) => Name} */
const memory = (what) => ['memory', '10,000 requests', 'ours', what];

/**
 * What the bench holds the product to: what a figure may be at most, or its ratio to another one.
 * @type {[name: string, most: number, unit: string, figure: Name, by?: Name][]}
 */
const GOALS = [
  ['CPU of a kept GET, by that of go', 0.75, 'x', near('ours', 'GET kept, CPU'), near('go', 'GET kept, CPU')],
  ['CPU of a kept POST, by that of a GET', 1.1, 'x', near('ours', 'POST kept, CPU'), near('ours', 'GET kept, CPU')],
  ['CPU of kept https, by that of a GET', 1.2, 'x', near('ours', 'https kept, CPU'), near('ours', 'GET kept, CPU')],
  ['median over direct, by that of go', 0.85, 'x', near('ours', 'GET kept, over direct'), near('go', 'GET kept, over direct')],
  ['the same at 0.145 core', 0.85, 'x', share('ours'), share('go')],
  ['cold start to first answer, by that of go', 1.5, 'x', coldStart('ours'), coldStart('go')],
  ['first GET after a freeze of 3 s, live flows', 10, 'ms', thaw('first GET, live flows')],
  ['first GET after a freeze of 3 s, dead flows', 40, 'ms', thaw('first GET, dead flows')],
  ['first https beyond the second', 10, 'ms', ['firsts', 'near', 'ours', 'first https beyond second']],
  ['first metric beyond the second', 10, 'ms', ['firsts', 'near', 'ours', 'first metric beyond second']],
  ['proxy after 10,000 requests', 12, 'MB', memory('resident memory of bootstrap')],
  ['proxy during a stream of 200 MB', 25, 'MB', ['stream', '200 MB', 'ours', 'peak memory of bootstrap']],
  ['proxy, extension and tailscaled after 10,000 requests', 60, 'MB', memory('resident memory, all')],
];

/**
 * The goals with what a run shows; NaN where that was not measured.
 * @param {Row[]} rows
 */
function goals(rows) {
  const figure = (/** @type {Name} */ name) =>
    rows.find(({ part, at, who, what }) => [part, at, who, what].join() === name.join())?.median ?? NaN;
  return GOALS.map(([name, most, unit, own, by]) => ({ name, most, unit, value: by ? figure(own) / figure(by) : figure(own) }));
}

/** @param {number} value */
function shown(value) {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** @param {string[][]} lines with a head */
function markdown([head, ...lines]) {
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`);
}

/** @param {Row[]} rows */
function goalTable(rows) {
  return markdown([
    ['goal', 'at most', 'this run', ''],
    ...goals(rows).map(({ name, value, most, unit }) => Number.isNaN(value)
      ? [name, `${most} ${unit}`, 'not measured', '']
      : [name, `${most} ${unit}`, `${shown(value)} ${unit}`, value <= most ? 'met' : '**missed**']),
  ]);
}

/**
 * One line for each figure, one column for each contender. Tails and the shares of single processes are left to the JSON.
 * @param {Row[]} rows
 */
function figureTable(rows) {
  const main = rows.filter(({ what }) => !/p99|CPU of /.test(what));
  const columns = ['direct', 'empty', 'ours', 'go', 'node', 'ours alone'].filter((who) => main.some((row) => row.who === who));
  const keys = [...new Set(main.map(({ part, at, what, unit }) => JSON.stringify([part, at, what, unit])))];
  return markdown([
    ['part', 'at', 'what', ...columns],
    ...keys.map((key) => {
      const [part, at, what, unit] = JSON.parse(key);
      const cells = columns.map((who) => {
        const row = main.find((one) => one.part === part && one.at === at && one.what === what && one.who === who);
        if (row === undefined) {
          return '';
        }
        const spread = row.rounds > 1 ? ` (${shown(row.low)} to ${shown(row.high)})` : '';
        return `${shown(row.median)}${spread}${row.failed > 0 ? `, ${row.failed} failed` : ''}`;
      });
      return [part, at, unit === '' ? what : `${what}, ${unit}`, ...cells];
    }),
  ]);
}

/**
 * Ratios that changed against other figures. Ratios alone: the machine may have been another one, or busier.
 * @param {Row[]} rows
 * @param {Row[]} before
 */
function changes(rows, before) {
  const were = goals(before);
  return goals(rows).flatMap(({ name, value, unit }, index) => {
    const was = were[index].value;
    return Math.abs(value - was) > NOTABLE * Math.abs(was) ? [`${name}: ${shown(was)} ${unit} before, ${shown(value)} ${unit} now`] : [];
  });
}

const COLORS = { direct: '#9aa5b1', empty: '#c3cbd4', ours: '#2f6fed', go: '#e0912f', node: '#4d9a57' };

/**
 * Bars of the medians over the direct path and of the CPU time, of one kind of request each.
 * @param {Row[]} rows
 * @returns {string} an SVG document
 */
function chart(rows) {
  const groups = [
    ...['GET kept', 'POST kept', 'https kept', 'GET new'].map((kind) => ({ title: `${kind}: median, ms`, part: 'requests', at: 'near', what: `${kind}, median` })),
    ...['GET kept', 'GET new'].map((kind) => ({ title: `${kind}: CPU, ms`, part: 'requests', at: 'near', what: `${kind}, CPU` })),
    { title: 'GET kept at 0.145 core: median, ms', part: 'share of a core', at: '0.145 core', what: 'GET kept, median' },
    { title: 'cold start to first answer, ms', part: 'start', at: 'near', what: 'cold start to first answer' },
  ];
  const width = 640;
  const left = 60;
  const bar = 14;
  let y = 8;
  /** @type {string[]} */
  const shapes = [];
  for (const { title, part, at, what } of groups) {
    const bars = rows.filter((row) => row.part === part && row.at === at && row.what === what && row.who in COLORS);
    if (bars.length === 0) {
      continue;
    }
    const scale = (width - left - 70) / Math.max(...bars.map((row) => row.median));
    y += 14;
    shapes.push(`<text x="4" y="${y}" font-weight="bold">${title}</text>`);
    y += 5;
    for (const { who, median } of bars) {
      const length = Math.max(1, Math.round(median * scale));
      shapes.push(
        `<text x="4" y="${y + 11}">${who}</text>`,
        `<rect x="${left}" y="${y}" width="${length}" height="${bar - 3}" fill="${COLORS[/** @type {keyof typeof COLORS} */ (who)]}"/>`,
        `<text x="${left + length + 5}" y="${y + 10}">${shown(median)}</text>`,
      );
      y += bar;
    }
    y += 6;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${y}" fill="#fff"/>`,
    ...shapes,
    '</svg>',
    '',
  ].join('\n');
}

/**
 * The page with its tables renewed: what stands between the markers.
 * @param {string} page
 * @param {Record<string, string[]>} tables marker -> lines
 */
function renewed(page, tables) {
  return Object.entries(tables).reduce((text, [name, lines]) => {
    const between = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- end -->)`);
    if (!between.test(text)) {
      throw new Error(`docs/bench.md has no place for "${name}": it needs the lines "<!-- ${name} -->" and "<!-- end -->"`);
    }
    return text.replace(between, (_, start, end) => `${start}${lines.join('\n')}\n${end}`);
  }, page);
}

/**
 * Where it was measured.
 * @param {Row[]} rows
 */
function machine(rows) {
  const rounds = Math.max(...rows.map((row) => row.rounds));
  const [one, five] = os.loadavg();
  return `${os.cpus().length} cores (${os.cpus()[0]?.model ?? 'unknown'}), load ${one.toFixed(1)} at the end and ${five.toFixed(1)} over 5 minutes, ${rounds} rounds.`;
}

/** @param {string[]} options */
function main(options) {
  const keep = options.includes('--keep');
  const file = options.find((option) => !option.startsWith('--')) ?? path.join(ROOT, 'dist', 'bench.json');
  /** @type {Row[]} */
  const rows = JSON.parse(fs.readFileSync(file, 'utf8'));
  const tables = { goals: goalTable(rows), figures: figureTable(rows), machine: [machine(rows)] };
  console.log([...tables.figures, '', ...tables.goals, '', ...tables.machine].join('\n'));
  const kept = path.join(DOCS, 'bench.json');
  if (fs.existsSync(kept)) {
    const changed = changes(rows, JSON.parse(fs.readFileSync(kept, 'utf8')));
    console.log(['', 'against docs/bench.json:', ...(changed.length > 0 ? changed : ['no goal changed by more than 15 %'])].join('\n'));
  }
  fs.writeFileSync(path.join(ROOT, 'dist', 'bench.svg'), chart(rows));
  if (keep) {
    // One figure a line: what changed shows in a diff.
    fs.writeFileSync(kept, `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`);
    fs.writeFileSync(path.join(DOCS, 'bench.svg'), chart(rows));
    const page = path.join(DOCS, 'bench.md');
    fs.writeFileSync(page, renewed(fs.readFileSync(page, 'utf8'), tables));
  }
}

if (require.main === module) {
  main(process.argv.slice(2));
}

module.exports = { changes, figureTable, goalTable };
