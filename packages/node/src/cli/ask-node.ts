/** One question to the HTTP side of a node, for commands that no client call exists for. */
import { type ClientFlags, readClientKey } from './client-flags.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption } from './io.ts';

export interface NodeQuestion {
  readonly address: string;
  readonly path: string;
  readonly method: string;
  readonly body?: unknown;
  /** Unless the flag says otherwise; as text, like the flag. */
  readonly timeoutMs: string;
}

const TIMEOUT_MS_MAX = 86_400_000;

/** @throws ExitWith after the answer of the node was shown */
export async function askNode<Body>(
  flags: ClientFlags,
  io: CliIo,
  { address, body, method, path, timeoutMs }: NodeQuestion,
): Promise<Body> {
  const apiKey = readClientKey(flags, io);
  const key = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const limitMs = integerOption(flags.timeout ?? timeoutMs, '--timeout', 1, TIMEOUT_MS_MAX);
  const response = await fetch(`http://${address}${path}`, {
    method,
    headers: { ...key, connection: 'close', 'content-type': 'application/json' },
    signal: AbortSignal.timeout(limitMs),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (response.ok) return (await response.json()) as Body;
  const answer = (await response.json()) as { readonly error?: { readonly message?: string } };
  io.err(`${address}: ${answer.error?.message ?? `HTTP status ${response.status}`}\n`);
  throw new ExitWith(EXIT_FAILED);
}
