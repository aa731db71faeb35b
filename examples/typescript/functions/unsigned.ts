/** What to ask: `{ "url": "http://billing.example.ts.net:8080/invoices" }`. */
interface Question {
  readonly url: string;
}

/** Asks a machine in the tailnet. Nothing here knows of AWS: the caller's layer signs the request, which HTTP_PROXY leads to it. */
export async function handler({ url }: Question) {
  const answer = await fetch(url);
  return { status: answer.status, body: await answer.text() };
}
