// What the drivers' clients have in common: each line of standard input is answered by one of standard output.
import { createInterface } from 'node:readline';

export async function answerLines(answer) {
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      console.log(String(await answer(line)));
    } catch (error) {
      console.log(`failed: ${error.message.replaceAll(/\s+/g, ' ')}`);
    }
  }
}
