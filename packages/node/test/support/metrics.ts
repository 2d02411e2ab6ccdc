/** Reads one metric of a running node, on a connection of its own. */
import { get } from 'node:http';

export async function scrape(address: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(`http://${address}/metrics`, { agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
    });
    request.on('error', reject);
  });
}

/** `name` with its labels, as it stands at the start of its line; NaN when there is none. */
export async function metricOf(address: string, name: string): Promise<number> {
  const lines = (await scrape(address)).split('\n');
  return Number(
    lines
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')
      .at(-1),
  );
}
