import { parse, USAGE, UsageError } from './arguments';
import { examine } from './doctor';
import { firstBroken, tree } from './report';

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.length === 0) {
    console.log(USAGE);
    return;
  }
  const { question, json } = parse(args);
  const findings = await examine(question);
  console.log(json ? JSON.stringify(findings, undefined, 2) : tree(findings));
  process.exitCode = firstBroken(findings) ? 1 : 0;
}

main().catch((error: unknown) => {
  const usage = error instanceof UsageError || (error instanceof TypeError && 'code' in error);
  console.error(error instanceof Error ? (usage ? `${error.message}\n\n${USAGE}` : error.stack) : error);
  process.exitCode = 2;
});
