/**
 * Restores of collections that a node is asked for: one at a time, while it leads. The work is not
 * done here but by a worker, which has memory and processor of its own and reaches the cluster as
 * any client does; here is decided whether one may begin, when it has to end, and what is told.
 *
 * It ends with the leadership of this node, so that a cluster never has two of them and the leader
 * is the one to ask. The worker purges what it made, by whoever leads then.
 */
import type { Clock, Logger } from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type { ListCollectionsResult } from '@holdfast/protocol';
import { REQUEST_TIMEOUT_MS_DEFAULT } from '@holdfast/protocol';
import { notLeader, shuttingDown } from '../../replica/answers.ts';
import type { NodeService } from '../../service-api.ts';
import { checkNames } from './beside-live.ts';
import { COLLECTIONS_TARGET_TEXT, parseCollectionsTarget } from './collections-target.ts';
import { RestoreProgress } from './restore-progress.ts';
import type {
  BegunRestore,
  RestoreOrder,
  RestoreOutcome,
  RestoreRecord,
  RestoresService,
  RestoresStatus,
  RestoreWishes,
  RestoreWorker,
} from './restores-api.ts';

/** Older ones are in the log of the node. */
const RECORD_COUNT_MAX = 20;

export interface RestoreSource {
  readonly name: string;
  readonly url: string;
}

export interface NodeRestoresOptions {
  readonly service: Pick<NodeService, 'execute' | 'members' | 'onLeaderChange' | 'status'>;
  readonly worker: RestoreWorker;
  /** The stores of the settings, in their order. */
  readonly sources: readonly RestoreSource[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Never the same twice. */
  readonly mintRestoreId: () => string;
}

interface UnderWay {
  readonly order: RestoreOrder;
  readonly startedMs: number;
  readonly progress: RestoreProgress;
  /** Its reason is the error that the restore ends with. */
  readonly abort: AbortController;
}

export class NodeRestores implements RestoresService {
  readonly #options: NodeRestoresOptions;
  #underWay: UnderWay | null = null;
  #done: Promise<unknown> = Promise.resolve();
  #newest: readonly RestoreRecord[] = [];
  #isStopped = false;

  constructor(options: NodeRestoresOptions) {
    this.#options = options;
    options.service.onLeaderChange(({ role }) => {
      if (role === 'leader') return;
      const message = 'this node leads no more, and a restore ends with that: begin it again';
      this.#end(new HoldfastError('LEADERSHIP_LOST', message));
    });
  }

  async begin(wishes: RestoreWishes): Promise<BegunRestore> {
    this.#refuseNow();
    const order = this.#orderOf(wishes);
    const startedMs = this.#options.clock.wallMs();
    const progress = new RestoreProgress();
    const underWay = { order, startedMs, progress, abort: new AbortController() };
    this.#underWay = underWay;
    const checked = checkNames(this.#cluster(), order.collections, order.prefix);
    const done = checked
      .then(() => this.#carryOut(underWay))
      .finally(() => {
        this.#underWay = null;
      });
    this.#done = done.catch(() => undefined);
    await checked;
    return { restoreId: order.restoreId, done };
  }

  abort(): void {
    this.#end(new HoldfastError('ABORTED', 'the restore was ended on request'));
  }

  /** Ends what is under way; resolves when it has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#end(new HoldfastError('SHUTTING_DOWN', 'the node that made the restore was stopped'));
    await this.#done;
  }

  status(): RestoresStatus {
    const newest = this.#newest;
    if (this.#underWay === null) return { underWay: null, newest };
    const { abort, order, progress, startedMs } = this.#underWay;
    const isEnding = abort.signal.aborted;
    return { underWay: { ...order, startedMs, ...progress.view, isEnding }, newest };
  }

  #refuseNow(): void {
    if (this.#isStopped) throw shuttingDown();
    const { service } = this.#options;
    const { leader, role } = service.status();
    if (role !== 'leader') {
      const known = service.members().find(({ nodeId }) => nodeId === leader);
      throw notLeader(
        leader === null ? null : { nodeId: leader, address: known?.publicAddress ?? '' },
      );
    }
    if (this.#underWay === null) return;
    const { restoreId } = this.#underWay.order;
    const message = `restore ${restoreId} is under way on this node: wait for its end, or end it`;
    throw new HoldfastError('OVERLOADED', message, { details: { restoreId } });
  }

  #orderOf(wishes: RestoreWishes): RestoreOrder {
    const { mintRestoreId, service, sources } = this.#options;
    const { source: wished } = wishes;
    const source =
      wished === null
        ? sources[0]
        : sources.find(({ name, url }) => name === wished || url === wished);
    if (source === undefined) {
      const names = sources.map(({ name }) => name).join(', ');
      const message = `source: is no store of this node, which has ${names}`;
      throw new HoldfastError('REQUEST_INVALID', message);
    }
    if (parseCollectionsTarget(wishes.target) === null) {
      throw new HoldfastError('REQUEST_INVALID', `target: must be ${COLLECTIONS_TARGET_TEXT}`);
    }
    const clusterId = wishes.clusterId ?? service.status().clusterId;
    return { ...wishes, restoreId: mintRestoreId(), source: source.name, clusterId };
  }

  async #carryOut(underWay: UnderWay): Promise<RestoreRecord> {
    const { clock, logger, worker } = this.#options;
    const { abort, order, progress, startedMs } = underWay;
    logger.info({ restore: order }, 'a restore of collections begins');
    const ended = (outcome: RestoreOutcome): RestoreRecord => {
      const record = { ...order, startedMs, endedMs: clock.wallMs(), outcome };
      this.#newest = [record, ...this.#newest].slice(0, RECORD_COUNT_MAX);
      return record;
    };
    try {
      if (abort.signal.aborted) throw abort.signal.reason;
      const onStep = progress.note;
      await worker.carryOut(order, { signal: abort.signal, onStep });
      const record = ended({ kind: 'success', made: progress.made });
      logger.info({ restore: record }, 'a restore of collections is done');
      return record;
    } catch (thrown) {
      const error = abort.signal.aborted ? endedBy(abort.signal, thrown) : toHoldfastError(thrown);
      const record = ended({ kind: 'failure', error: error.toBody(), left: progress.left });
      logger.error({ restore: record }, 'a restore of collections failed');
      throw error;
    }
  }

  #end(reason: HoldfastError): void {
    const signal = this.#underWay?.abort.signal;
    if (signal?.aborted === false) this.#underWay?.abort.abort(reason);
  }

  #cluster() {
    const { clock, service } = this.#options;
    return {
      names: async () => {
        const deadlineMs = clock.monotonicMs() + REQUEST_TIMEOUT_MS_DEFAULT;
        const listed = await service.execute({ id: 0, kind: 'listCollections' }, { deadlineMs });
        const { collections } = listed as ListCollectionsResult;
        return new Set(collections.map(({ name }) => name));
      },
    };
  }
}

/** Why it had to end comes first; how it did may say more. */
function endedBy(signal: AbortSignal, thrown: unknown): HoldfastError {
  const reason = toHoldfastError(signal.reason);
  if (thrown === signal.reason) return reason;
  const { code, message } = toHoldfastError(thrown);
  if (code === 'ABORTED') return reason;
  return new HoldfastError(reason.code, `${reason.message} (${message})`, { cause: thrown });
}
