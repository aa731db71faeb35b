// What docs/signing.md says becomes of unusual paths.
import * as fs from 'fs';
import * as path from 'path';

/** A row: what is asked for, and what each caller's cell says. */
export interface Row {
  readonly asked: string;
  readonly typescript: string;
  readonly python: string;
}

/** The rows of the table. */
export function signingTable(): Row[] {
  const page = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'signing.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `(\/[^`]*)` \| ([^|]+) \| ([^|]+) \|/gm)]
    .map(([, asked, typescript, python]) => ({ asked, typescript, python }));
  if (rows.length === 0) {
    throw new Error('docs/signing.md has no table of paths any more: let the tests on AWS read what took its place');
  }
  return rows;
}

/** What a caller that asks the target to echo `asked` is to find, by the words of the cell. */
export function expected(asked: string, cell: string): { status: number; arrived?: string } {
  if (cell === 'refused') {
    return { status: 403 };
  }
  const seen = cell === 'as is' ? asked : cell.replace(/`/g, '');
  // The target redirects from paths that hold a double slash, and from no other: so it arrived.
  return seen.includes('//') ? { status: 307, arrived: 'redirected' } : { status: 200, arrived: seen };
}
