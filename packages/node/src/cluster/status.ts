/** Asks every node about itself and puts the answers side by side. */
import type { ClusterStatusBody } from '../server/http-routes.ts';
import { type Column, renderTable } from './table.ts';

export type NodeAnswer =
  | { readonly kind: 'up'; readonly address: string; readonly body: ClusterStatusBody }
  | { readonly kind: 'down'; readonly address: string; readonly reason: string };

/** A node that is alive answers within milliseconds. */
const STATUS_TIMEOUT_MS = 3_000;

/** Never rejects: a node that does not answer is an answer. Same order as `addresses`. */
export function askNodes(
  addresses: readonly string[],
  apiKey: string | undefined,
): Promise<readonly NodeAnswer[]> {
  return Promise.all(addresses.map((address) => askNode(address, apiKey)));
}

/** As `askNodes`, and then also the members that only the answers name. */
export async function askCluster(
  addresses: readonly string[],
  apiKey: string | undefined,
): Promise<readonly NodeAnswer[]> {
  const answers = await askNodes(addresses, apiKey);
  const asked = new Set(addresses);
  const known = new Set(
    answers.flatMap((answer) => (answer.kind === 'up' ? [answer.body.nodeId] : [])),
  );
  const others = new Map<string, string>();
  for (const answer of answers) {
    if (answer.kind === 'down') continue;
    for (const { nodeId, publicAddress } of answer.body.members) {
      if (publicAddress === null || known.has(nodeId) || asked.has(publicAddress)) continue;
      others.set(nodeId, publicAddress);
    }
  }
  return [...answers, ...(await askNodes([...others.values()], apiKey))];
}

async function askNode(address: string, apiKey: string | undefined): Promise<NodeAnswer> {
  const key = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  // One question per command: a kept connection only makes the restart of a node an error.
  const headers = { ...key, connection: 'close' };
  const signal = AbortSignal.timeout(STATUS_TIMEOUT_MS);
  try {
    const response = await fetch(`http://${address}/api/v1/cluster/status`, { headers, signal });
    if (!response.ok) return { kind: 'down', address, reason: await refusalOf(response) };
    return { kind: 'up', address, body: (await response.json()) as ClusterStatusBody };
  } catch (error) {
    return { kind: 'down', address, reason: reasonOf(error) };
  }
}

async function refusalOf(response: Response): Promise<string> {
  const body = (await response.json()) as { readonly error?: { readonly message?: string } };
  return body.error?.message ?? `HTTP status ${response.status}`;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return code === '' ? error.message : code;
}

const COLUMNS: readonly Column[] = [
  { title: 'NODE' },
  { title: 'ADDRESS' },
  { title: 'ROLE' },
  { title: 'TERM', align: 'right' },
  { title: 'COMMIT', align: 'right' },
  { title: 'APPLIED', align: 'right' },
  { title: 'ROWS', align: 'right' },
  { title: 'DIGEST' },
  { title: 'AT', align: 'right' },
  { title: 'STATE' },
];

const DIGEST_LENGTH_SHOWN = 12;

export function renderStatus(answers: readonly NodeAnswer[]): readonly string[] {
  return renderTable(COLUMNS, answers.map(rowOf));
}

function rowOf(answer: NodeAnswer): readonly string[] {
  if (answer.kind === 'down') {
    return ['?', answer.address, '', '', '', '', '', '', '', `down: ${answer.reason}`];
  }
  const { body, address } = answer;
  return [
    body.nodeId,
    address,
    body.role,
    String(body.term),
    String(body.commitIndex),
    String(body.appliedIndex),
    String(body.rows.live),
    body.stateDigest.digest.slice(0, DIGEST_LENGTH_SHOWN),
    String(body.stateDigest.appliedIndex),
    body.failure ?? body.recovery ?? stateOf(body),
  ];
}

function stateOf({ isReady, membership }: ClusterStatusBody): string {
  if (membership === 'joining') return 'waits to be added';
  if (membership === 'removed') return 'removed';
  return isReady ? 'ready' : 'not ready';
}
