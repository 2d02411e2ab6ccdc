/** One question to the HTTP side of a node, for commands that no client call exists for. */
import type { ErrorCode } from '@holdfast/base';
import { type ClientFlags, readClientKey } from './client-flags.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption } from './io.ts';

export interface NodeQuestion {
  readonly address: string;
  readonly path: string;
  readonly method: string;
  readonly body?: unknown;
  /** Unless the flag says otherwise; as text, like the flag. */
  readonly timeoutMs: string;
  /** While the node refuses with this code it is asked again, until the time is over. */
  readonly waitsFor?: ErrorCode;
}

const TIMEOUT_MS_MAX = 86_400_000;
const WAIT_POLL_MS = 500;

interface Refusal {
  readonly code?: string;
  readonly message?: string;
}

/** @throws ExitWith after the answer of the node was shown */
export async function askNode<Body>(
  flags: ClientFlags,
  io: CliIo,
  question: NodeQuestion,
): Promise<Body> {
  const { address, timeoutMs, waitsFor } = question;
  const apiKey = readClientKey(flags, io);
  const limitMs = integerOption(flags.timeout ?? timeoutMs, '--timeout', 1, TIMEOUT_MS_MAX);
  const signal = AbortSignal.timeout(limitMs);
  for (let isWaiting = false; ; isWaiting = true) {
    const response = await send(question, apiKey, signal);
    if (response.ok) return (await response.json()) as Body;
    const { error } = (await response.json()) as { readonly error?: Refusal };
    const isToWait = waitsFor !== undefined && error?.code === waitsFor && !signal.aborted;
    if (!isToWait || !isWaiting) {
      io.err(`${address}: ${error?.message ?? `HTTP status ${response.status}`}\n`);
    }
    if (!isToWait) throw new ExitWith(EXIT_FAILED);
    await new Promise((resolve) => setTimeout(resolve, WAIT_POLL_MS));
  }
}

function send(
  { address, body, method, path }: NodeQuestion,
  apiKey: string | undefined,
  signal: AbortSignal,
): Promise<Response> {
  const key = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  return fetch(`http://${address}${path}`, {
    ...{ method, signal },
    headers: { ...key, connection: 'close', 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}
