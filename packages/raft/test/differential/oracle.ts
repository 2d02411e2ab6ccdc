/**
 * The port of etcd/raft in `@coaty/consensus.raft`, driven like ours: a group on one thread with
 * synchronous disks. Development only. Only its `ported/` half is loaded; the one constant that
 * half takes from the messaging half is put in its place, so that no database and no messaging
 * need to be installed.
 */
import { createRequire } from 'node:module';

/** What of the port is used; ids are strings, '' is nobody. */
interface OracleEntry {
  readonly term: number;
  readonly index: number;
  readonly data: string | null;
}

interface OracleMessage {
  readonly from: string;
  readonly to: string;
}

interface OracleHardState {
  readonly term: number;
  readonly commit: number;
  isEmptyHardState(): boolean;
}

interface OracleReady {
  readonly hardState: OracleHardState;
  readonly entries: readonly OracleEntry[];
  readonly messages: readonly OracleMessage[];
}

interface OracleStorage {
  snapshot: { metadata: { confState: unknown } };
  readonly hardState: { commit: number };
  SetHardState(state: OracleHardState): unknown;
  Append(entries: readonly OracleEntry[]): unknown;
  Entries(low: number, high: number, sizeMax: number): readonly [readonly OracleEntry[], unknown];
  LastIndex(): readonly [number, unknown];
}

interface OracleRawNode {
  readonly raft: { readonly state: number; readonly term: number; readonly raftLog: OracleLog };
  step(message: OracleMessage): unknown;
  tick(): void;
  campaign(): unknown;
  propose(data: string): unknown;
  ready(): OracleReady;
  hasReady(): boolean;
  advance(ready: OracleReady): void;
}

interface OracleLog {
  readonly committed: number;
}

interface Port {
  readonly RawNode: { NewRawNode(config: unknown): OracleRawNode };
  readonly RaftConfig: new (param: Readonly<Record<string, unknown>>) => unknown;
  readonly MemoryStorage: { NewMemoryStorage(): OracleStorage };
  readonly ConfState: new (param: { readonly voters: readonly string[] }) => unknown;
}

function loadPort(): Port {
  const require = createRequire(import.meta.url);
  const messaging = require.resolve('@coaty/consensus.raft/non-ported/raft-controller');
  const stand = { id: messaging, filename: messaging, loaded: true };
  require.cache[messaging] = { ...stand, exports: { emptyRaftData: null } } as never;
  return {
    ...require('@coaty/consensus.raft/ported/rawnode'),
    ...require('@coaty/consensus.raft/ported/raft'),
    ...require('@coaty/consensus.raft/ported/storage'),
    ...require('@coaty/consensus.raft/ported/raftpb/raft.pb'),
  } as Port;
}

const PORT = loadPort();

const ROLES = ['follower', 'candidate', 'leader', 'preCandidate'] as const;
/** It campaigns only when it is told to. */
const NEVER_TICKS = 1_000_000;
const SIZE_MAX = 1_000_000;

const SILENT = new Proxy({}, { get: () => () => undefined });

/** One replica as both implementations can be seen. */
export interface ReplicaPicture {
  readonly role: string;
  readonly term: number;
  readonly commit: number;
  /** `index/term data` per entry. */
  readonly log: readonly string[];
}

class OracleNode {
  readonly node: OracleRawNode;
  readonly storage: OracleStorage;

  constructor(id: string, storage: OracleStorage, isPreVote: boolean) {
    this.storage = storage;
    this.node = PORT.RawNode.NewRawNode(
      new PORT.RaftConfig({
        id,
        electionTick: NEVER_TICKS,
        heartbeatTick: 1,
        storage,
        maxSizePerMsg: SIZE_MAX,
        maxInflightMsgs: 64,
        preVote: isPreVote,
        checkQuorum: false,
        disableProposalForwarding: true,
        logger: SILENT,
      }),
    );
  }
}

export class OracleGroup {
  readonly #nodes = new Map<string, OracleNode>();
  readonly #isPreVote: boolean;
  #network: OracleMessage[] = [];

  constructor(ids: readonly string[], isPreVote: boolean) {
    this.#isPreVote = isPreVote;
    for (const id of ids) {
      const storage = PORT.MemoryStorage.NewMemoryStorage();
      storage.snapshot.metadata.confState = new PORT.ConfState({ voters: ids });
      this.#nodes.set(id, new OracleNode(id, storage, isPreVote));
    }
  }

  campaign(id: string): void {
    this.#of(id).node.campaign();
  }

  propose(id: string, data: string): void {
    this.#of(id).node.propose(data);
  }

  tick(id: string): void {
    this.#of(id).node.tick();
  }

  /**
   * A new process on what is stored. The commit index in it is a hint that either may write late;
   * both start with the same one.
   */
  restart(id: string, commit: number): void {
    const { storage } = this.#of(id);
    storage.hardState.commit = commit;
    this.#nodes.set(id, new OracleNode(id, storage, this.#isPreVote));
  }

  /** Stores and delivers until nothing moves; `isCut` messages are lost. */
  settle(isCut: (from: string, to: string) => boolean): void {
    for (let hasMoved = true; hasMoved; ) {
      for (const { node, storage } of this.#nodes.values()) this.#pump(node, storage);
      const batch = this.#network;
      this.#network = [];
      hasMoved = batch.length > 0;
      for (const message of batch)
        if (!isCut(message.from, message.to)) this.#of(message.to).node.step(message);
    }
  }

  picture(id: string): ReplicaPicture {
    const { node, storage } = this.#of(id);
    const { raft } = node;
    const [last] = storage.LastIndex();
    const entries = last === 0 ? [] : storage.Entries(1, last + 1, SIZE_MAX)[0];
    return {
      role: ROLES[raft.state] ?? 'unknown',
      term: raft.term,
      commit: raft.raftLog.committed,
      log: entries.map(({ index, term, data }) => `${index}/${term} ${data ?? ''}`),
    };
  }

  #pump(node: OracleRawNode, storage: OracleStorage): void {
    while (node.hasReady()) {
      const ready = node.ready();
      if (!ready.hardState.isEmptyHardState()) storage.SetHardState(ready.hardState);
      storage.Append(ready.entries);
      this.#network.push(...ready.messages);
      node.advance(ready);
    }
  }

  #of(id: string): OracleNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }
}
