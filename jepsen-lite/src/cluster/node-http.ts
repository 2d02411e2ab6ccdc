/**
 * Reads what a node says of itself over HTTP. Answers are checked field by field: a node that
 * answers in another shape is a failure to report, not something to guess around.
 */
import { request } from 'node:http';
import type { NodeDigest, NodeHealth, NodeName, NodeRows, NodeStatus } from './cluster.ts';

/** A stopped (SIGSTOP) process accepts connections and never answers. */
const ANSWER_TIMEOUT_MS = 1_000;
/** A status document is a few kilobytes; more is not ours. */
const ANSWER_SIZE_BYTES_MAX = 1 << 20;

export interface HttpAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Null when nobody answers in time. @throws Error when the answer is not a JSON object */
export async function readJson(address: string, path: string): Promise<HttpAnswer | null> {
  const answer = await readText(address, path);
  if (answer === null) return null;
  const body: unknown = JSON.parse(answer.text);
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Error(`http://${address}${path} answered JSON that is not an object`);
  }
  return { status: answer.status, body: body as Record<string, unknown> };
}

export interface TextAnswer {
  readonly status: number;
  readonly text: string;
}

export interface AskOptions {
  /** Given: a POST of it as JSON. */
  readonly body?: unknown;
  readonly timeoutMs?: number;
}

/**
 * One request on a connection of its own: a killed node must not poison a pool. Null when nobody
 * answers in time, or the connection breaks.
 */
export function readText(
  address: string,
  path: string,
  { body, timeoutMs: timeout = ANSWER_TIMEOUT_MS }: AskOptions = {},
): Promise<TextAnswer | null> {
  const isPost = body !== undefined;
  const options = {
    ...{ method: isPost ? 'POST' : 'GET', agent: false, timeout },
    headers: isPost ? { 'content-type': 'application/json' } : {},
  };
  return new Promise((resolve) => {
    const outgoing = request(`http://${address}${path}`, options, (incoming) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      incoming.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.byteLength;
        if (sizeBytes > ANSWER_SIZE_BYTES_MAX) outgoing.destroy();
        else chunks.push(chunk);
      });
      incoming.once('end', () =>
        resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
      );
      incoming.once('close', () => resolve(null));
    });
    outgoing.once('timeout', () => outgoing.destroy());
    outgoing.once('error', () => resolve(null));
    outgoing.once('close', () => resolve(null));
    outgoing.end(isPost ? JSON.stringify(body) : undefined);
  });
}

/** Pure: the sum over all labels of one metric in the Prometheus text format; 0 when absent. */
export function metricIn(text: string, name: string): number {
  let total = 0;
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue;
    const rest = line.slice(name.length);
    if (rest.startsWith(' ') || rest.startsWith('{')) total += Number(rest.split(' ').at(-1));
  }
  return total;
}

export function toHealth(nodeName: NodeName, answer: HttpAnswer): NodeHealth {
  const { body } = answer;
  return {
    nodeName,
    isReady: answer.status === 200,
    role: stringOf(body, 'role'),
    term: numberOf(body, 'term'),
    leader: nullableStringOf(body, 'leader'),
    appliedIndex: numberOf(body, 'appliedIndex'),
    commitIndex: numberOf(body, 'commitIndex'),
  };
}

/** The digest comes with its own index: the rest of the document may be a little newer. */
export function toDigest(nodeName: NodeName, answer: HttpAnswer): NodeDigest {
  const stateDigest = objectOf(answer.body, 'stateDigest');
  return {
    nodeName,
    appliedIndex: numberOf(stateDigest, 'appliedIndex'),
    digest: stringOf(stateDigest, 'digest'),
  };
}

/** Null while the node recovers and has no replica: its term and indexes are nobody's. */
export function toStatus(nodeName: NodeName, answer: HttpAnswer): NodeStatus | null {
  const { body } = answer;
  if (nullableStringOf(body, 'recovery') !== null) return null;
  return {
    incarnation: stringOf(body, 'incarnation'),
    role: stringOf(body, 'role'),
    term: numberOf(body, 'term'),
    leader: nullableStringOf(body, 'leader'),
    commitIndex: numberOf(body, 'commitIndex'),
    appliedIndex: numberOf(body, 'appliedIndex'),
    digest: toDigest(nodeName, answer),
  };
}

export function toRows(answer: HttpAnswer): NodeRows {
  const rows = objectOf(answer.body, 'rows');
  return {
    liveCount: numberOf(rows, 'live'),
    tailCount: numberOf(rows, 'tail'),
    graphCount: numberOf(rows, 'graph'),
  };
}

function objectOf(body: HttpAnswer['body'], key: string): HttpAnswer['body'] {
  const value = body[key];
  if (typeof value !== 'object' || value === null) throw wrongShape(key, 'an object', value);
  return value as HttpAnswer['body'];
}

function stringOf(body: HttpAnswer['body'], key: string): string {
  const value = body[key];
  if (typeof value !== 'string') throw wrongShape(key, 'a string', value);
  return value;
}

function nullableStringOf(body: HttpAnswer['body'], key: string): string | null {
  return body[key] === null ? null : stringOf(body, key);
}

function numberOf(body: HttpAnswer['body'], key: string): number {
  const value = body[key];
  if (typeof value !== 'number') throw wrongShape(key, 'a number', value);
  return value;
}

function wrongShape(key: string, wanted: string, value: unknown): Error {
  return new Error(`field '${key}' of the answer is ${JSON.stringify(value)}, not ${wanted}`);
}
