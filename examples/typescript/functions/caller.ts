import { tailnetFetch } from './tailnet';

/** Which machine to ask for what: `{ "host": "100.64.0.7", "port": 8080, "path": "/" }`. */
interface Question {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly method?: string;
  readonly body?: string;
}

/** Asks a machine in the tailnet, and returns its answer. */
export async function handler({ host, port, path, method, body }: Question) {
  const answer = await tailnetFetch({ host, port }, path, {
    method,
    headers: { 'ts-metric-service': 'reports' },
    body,
  });
  return { status: answer.status, body: await answer.text() };
}
