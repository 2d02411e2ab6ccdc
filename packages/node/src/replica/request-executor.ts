/** From a validated client request to what executes it. */
import { HoldfastError, sessionId, unreachable } from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import type { ExecuteContext, MembershipState } from '../service-api.ts';
import type { Command } from '../state/command.ts';
import { CollectionRequests } from './collection-requests.ts';
import type { ExecutorReplica } from './executor-replica.ts';
import { ReadRequests } from './read-requests.ts';
import { WriteRequests } from './write-requests.ts';

/** What a cluster refuses that is a standby, or that another one took over from. */
const WRITES: ReadonlySet<Request['kind']> = new Set([
  'openSession',
  'closeSession',
  'createCollection',
  'dropCollection',
  'undeleteCollection',
  'renameCollection',
  'purgeCollection',
  'finishCollection',
  'publishCollections',
  'updateCollection',
  'createPayloadIndex',
  'dropPayloadIndex',
  'upsert',
  'delete',
  'deleteByFilter',
]);

export class RequestExecutor {
  readonly #replica: ExecutorReplica;
  readonly #reads: ReadRequests;
  readonly #writes: WriteRequests;
  readonly #collections: CollectionRequests;

  constructor(replica: ExecutorReplica) {
    this.#replica = replica;
    this.#reads = new ReadRequests(replica);
    this.#writes = new WriteRequests(replica);
    this.#collections = new CollectionRequests(replica, this.#writes);
  }

  async execute(request: Request, context: ExecuteContext): Promise<ResultBody> {
    const { deadlineMs } = context;
    if (request.kind !== 'status') checkMember(this.#replica.membership.state);
    if (WRITES.has(request.kind)) this.#replica.gate.check();
    switch (request.kind) {
      case 'openSession':
        return this.#writes.write({ kind: 'openSession' }, undefined, [], deadlineMs);
      case 'closeSession': {
        const command: Command = {
          kind: 'closeSession',
          sessionId: sessionId(request.sessionId),
        };
        return this.#writes.write(command, undefined, [], deadlineMs);
      }
      case 'createCollection':
      case 'dropCollection':
      case 'undeleteCollection':
      case 'renameCollection':
      case 'purgeCollection':
      case 'digestCollection':
      case 'finishCollection':
      case 'publishCollections':
        return this.#collections.execute(request, deadlineMs);
      case 'updateCollection': {
        const { checksumAlgorithm, name, session } = request;
        const body = ['updateCollection', name, checksumAlgorithm];
        const command = { kind: 'updateCollection', name, checksumAlgorithm } as const;
        return this.#writes.write(command, session, body, deadlineMs);
      }
      case 'createPayloadIndex':
        return this.#writes.createPayloadIndex(request, deadlineMs);
      case 'dropPayloadIndex':
        return this.#writes.dropPayloadIndex(request, deadlineMs);
      case 'upsert':
        return this.#writes.upsert(request, deadlineMs);
      case 'delete':
        return this.#writes.delete(request, deadlineMs);
      case 'deleteByFilter':
        return this.#writes.deleteByFilter(request, deadlineMs);
      case 'get':
        return this.#reads.get(request, deadlineMs);
      case 'search':
        return this.#reads.search(request, deadlineMs);
      case 'count':
        return this.#reads.count(request, deadlineMs);
      case 'scroll':
        return this.#reads.scroll(request, deadlineMs);
      case 'listCollections':
        return this.#reads.listCollections(request, deadlineMs);
      case 'status': {
        const { nodeId, role, term, commitIndex, appliedIndex } = this.#replica.status();
        const leader = this.#replica.leaderHint();
        return { nodeId, role, term, leader, commitIndex, appliedIndex };
      }
      case 'listMembers':
        return this.#replica.membership.list(deadlineMs);
      case 'addMember':
      case 'removeMember':
      case 'replaceMember':
      case 'promoteMember':
      case 'demoteMember':
      case 'updateMember':
      case 'setLeases':
        return this.#replica.membership.change(request, deadlineMs);
      case 'transferLeadership':
        return this.#replica.membership.transfer(request, deadlineMs);
      default:
        return unreachable(request);
    }
  }
}

/**
 * A node outside the cluster knows nothing that is worth an answer.
 * @throws HoldfastError NOT_MEMBER
 */
function checkMember(state: MembershipState): void {
  if (state !== 'joining' && state !== 'removed') return;
  const message =
    state === 'joining'
      ? 'this node waits to be added to the cluster; use another node'
      : 'this node was removed from the cluster and may be stopped; use another node';
  throw new HoldfastError('NOT_MEMBER', message, { details: { state } });
}
