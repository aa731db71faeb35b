import * as http from 'node:http';
import { text } from 'node:stream/consumers';
import { SocksProxyAgent } from 'socks-proxy-agent';

// "socks5h": the tailnet resolves the name, so that MagicDNS names work.
const agent = new SocksProxyAgent('socks5h://localhost:1055');

/** Asks a machine in the tailnet for `{ "url": "http://100.64.0.7:8080/" }`, and returns its answer. */
export async function handler({ url }: { readonly url: string }) {
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http.get(url, { agent, timeout: 10_000 }, resolve)
      .on('timeout', function (this: http.ClientRequest) {
        this.destroy(new Error(`no answer from ${url} within 10 s`));
      })
      .on('error', reject);
  });
  return { status: answer.statusCode, body: await text(answer) };
}
