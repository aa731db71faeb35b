// Asks the target for each path of its event, and tells what came back of what AWS has a hand in.
import { TailnetError, tailnetFetch } from '../../examples/typescript/functions/tailnet';

/** The target's path that answers with the address that arrived. */
const ECHO = '/anything';

interface Answer {
  readonly status: number;
  /** The path and query that the target saw after `ECHO`; `redirected` where it answered that path with a redirect. */
  readonly arrived?: string;
  /** The headers that AWS renames, under whichever name they came. */
  readonly headers: Record<string, string>;
  readonly bytes: number;
  /** Whether at least a second passed between the answer's head and its end. */
  readonly cameBitByBit: boolean;
}

/** Gives every path's answer, or the words of the proxy where it answered itself. */
export async function handler(paths: string[]): Promise<Record<string, Answer | string>> {
  const answers: Record<string, Answer | string> = {};
  for (const path of paths) {
    try {
      answers[path] = await ask(path);
    } catch (error) {
      if (!(error instanceof TailnetError)) {
        throw error;
      }
      answers[path] = `${error.name}: ${error.message}`;
    }
  }
  return answers;
}

async function ask(path: string): Promise<Answer> {
  const response = await tailnetFetch({ host: process.env.TARGET_HOST!, port: Number(process.env.TARGET_PORT) }, path);
  const begun = Date.now();
  const body = Buffer.from(await response.arrayBuffer());
  return {
    status: response.status,
    arrived: arrived(response.status, body.toString()),
    headers: Object.fromEntries([...response.headers].filter(([name]) => /^(www-authenticate$|x-amzn-remapped-)/.test(name))),
    bytes: body.length,
    cameBitByBit: Date.now() - begun >= 1000,
  };
}

function arrived(status: number, body: string): string | undefined {
  const redirected = status === 307 ? 'redirected' : undefined;
  const url = /"url": "([^"]*)"/.exec(body)?.[1];
  // The target writes & as JSON may, or as it is.
  return url ? JSON.parse(`"${url.slice(url.indexOf(ECHO) + ECHO.length)}"`) : redirected;
}
