/** What came of one check. */
export interface Finding {
  /** What was checked. */
  readonly check: string;
  /** `failed` breaks the way to the target; `skipped` could not be checked, and says why. */
  readonly outcome: 'ok' | 'failed' | 'skipped';
  /** What was found. */
  readonly detail: string;
  /** What mends it. */
  readonly fix?: string;
}

export const ok = (check: string, detail: string): Finding => ({ check, outcome: 'ok', detail });
export const skipped = (check: string, detail: string): Finding => ({ check, outcome: 'skipped', detail });
export const failed = (check: string, detail: string, fix: string): Finding => ({ check, outcome: 'failed', detail, fix });

/** The message of one of the proxy's errors, which may end with its fix: `…; fix: …`. */
export function failedWith(check: string, message: string, otherwise: string): Finding {
  const [detail, fix] = message.split('; fix: ', 2);
  return failed(check, detail, fix ?? otherwise);
}

/** The first check that failed: what comes after it follows from it. */
export function firstBroken(findings: readonly Finding[]): Finding | undefined {
  return findings.find(({ outcome }) => outcome === 'failed');
}

const SIGNS = { ok: '✓', failed: '✗', skipped: '-' };

/** A tree of the findings, and the fix of the first one that failed. */
export function tree(findings: readonly Finding[]): string {
  const lines = findings.map(({ check, outcome, detail }, index) => {
    const branch = index === findings.length - 1 ? '└─' : '├─';
    return `${branch} ${SIGNS[outcome]} ${check}: ${detail}`;
  });
  const broken = firstBroken(findings);
  const conclusion = broken ? `✗ ${broken.check}: ${broken.detail}\n  fix: ${broken.fix}` : '✓ the target can be reached';
  return [...lines, '', conclusion].join('\n');
}
