/**
 * The replicated meta state: catalogue and sessions. Pure: it sees entries in log order and says
 * what the lanes have to do; the applier carries that out and fills the result slots.
 *
 * Invariant: two machines that saw the same entries have equal `toBytes()` once all slots are
 * filled. Log time never goes back.
 */
import type { Entry, LogIndex, Term } from '@holdfast/base';
import { assert, logIndex, unreachable } from '@holdfast/base';
import type { CollectionDefinition } from '@holdfast/shard-worker';
import type { ApplyResult, ApplyValue, ResultSlot } from './apply-result.ts';
import { Catalogue } from './catalogue.ts';
import type { Command } from './command.ts';
import { decodeCommand } from './command.ts';
import type { SessionSnapshot } from './sessions.ts';
import { SessionTable } from './sessions.ts';

/** What an entry still needs after the meta state has seen it. */
export type MetaStep =
  /** Nothing more: the slot is filled, or will be when the first of its sequence is. */
  | { readonly kind: 'done'; readonly slot: ResultSlot }
  | {
      readonly kind: 'createShards';
      readonly slot: ResultSlot;
      readonly definition: CollectionDefinition;
    }
  | { readonly kind: 'dropShards'; readonly slot: ResultSlot; readonly uid: number }
  | {
      readonly kind: 'write';
      readonly slot: ResultSlot;
      readonly definition: CollectionDefinition;
      readonly ops: Uint8Array;
    };

interface MetaSnapshot {
  readonly version: 1;
  readonly appliedIndex: number;
  readonly logTimeMs: number;
  readonly collections: readonly CollectionDefinition[];
  readonly sessions: readonly SessionSnapshot[];
}

export class MetaMachine {
  readonly catalogue: Catalogue;
  readonly sessions: SessionTable;
  #appliedIndex: LogIndex;
  #logTimeMs: number;

  private constructor(
    catalogue: Catalogue,
    sessions: SessionTable,
    appliedIndex: LogIndex,
    logTimeMs: number,
  ) {
    this.catalogue = catalogue;
    this.sessions = sessions;
    this.#appliedIndex = appliedIndex;
    this.#logTimeMs = logTimeMs;
  }

  static empty(): MetaMachine {
    return new MetaMachine(new Catalogue(), new SessionTable(), logIndex(0), 0);
  }

  /** Index of the last entry seen. */
  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  /** Newest time stamp in the log so far. */
  get logTimeMs(): number {
    return this.#logTimeMs;
  }

  /** Takes the next entry of the log. */
  step(entry: Entry): MetaStep {
    assert(entry.index === this.#appliedIndex + 1, 'entries apply without a gap', {
      index: entry.index,
      appliedIndex: this.#appliedIndex,
    });
    this.#appliedIndex = entry.index;
    if (entry.type !== 'normal') return { kind: 'done', slot: { result: null } };
    const envelope = decodeCommand(entry.data);
    this.#logTimeMs = Math.max(this.#logTimeMs, envelope.timestampMs);
    const { session } = envelope;
    if (session === null) return this.#execute(entry, envelope.command, { result: null });
    const admission = this.sessions.admit(session, envelope.bodyHash, this.#logTimeMs);
    switch (admission.kind) {
      case 'execute':
        return this.#execute(entry, envelope.command, admission.slot);
      case 'repeat':
        return { kind: 'done', slot: admission.slot };
      case 'refuse':
        return done({ result: null }, refused(entry, admission.code));
      default:
        return unreachable(admission);
    }
  }

  /** Canonical bytes of the whole meta state; also what its digest is made of. */
  toBytes(): Uint8Array {
    const snapshot: MetaSnapshot = {
      version: 1,
      appliedIndex: this.#appliedIndex,
      logTimeMs: this.#logTimeMs,
      collections: this.catalogue.all(),
      sessions: this.sessions.toSnapshot(),
    };
    return new TextEncoder().encode(JSON.stringify(snapshot));
  }

  /** `bytes` were written by `toBytes` and their checksum was verified. */
  static fromBytes(bytes: Uint8Array): MetaMachine {
    const snapshot = JSON.parse(new TextDecoder().decode(bytes)) as MetaSnapshot;
    assert(snapshot.version === 1, 'meta snapshot version is known', { version: snapshot.version });
    return new MetaMachine(
      Catalogue.fromSnapshot(snapshot.collections),
      SessionTable.fromSnapshot(snapshot.sessions),
      logIndex(snapshot.appliedIndex),
      snapshot.logTimeMs,
    );
  }

  #execute(entry: Entry, command: Command, slot: ResultSlot): MetaStep {
    switch (command.kind) {
      case 'openSession':
        return this.sessions.open(entry.index, this.#logTimeMs)
          ? done(slot, succeeded(entry, { kind: 'sessionOpened', sessionId: entry.index as never }))
          : done(slot, refused(entry, 'SESSION_LIMIT'));
      case 'closeSession':
        this.sessions.close(command.sessionId);
        return done(slot, succeeded(entry, { kind: 'sessionClosed' }));
      case 'expireSessions': {
        const count = this.sessions.expire(command.ids, command.cutoffMs);
        return done(slot, succeeded(entry, { kind: 'sessionsExpired', count }));
      }
      case 'createCollection':
        return this.#createCollection(entry, command, slot);
      case 'dropCollection': {
        const dropped = this.catalogue.drop(command.name);
        const isDropped = dropped !== null;
        const step = done(slot, succeeded(entry, { kind: 'collectionDropped', isDropped }));
        return isDropped ? { kind: 'dropShards', slot, uid: dropped.uid } : step;
      }
      case 'write': {
        const definition = this.catalogue.byUid(command.uid);
        if (definition === undefined) return done(slot, refused(entry, 'COLLECTION_NOT_FOUND'));
        return { kind: 'write', slot, definition, ops: command.ops };
      }
      default:
        return unreachable(command);
    }
  }

  #createCollection(
    entry: Entry,
    command: Extract<Command, { kind: 'createCollection' }>,
    slot: ResultSlot,
  ): MetaStep {
    const outcome = this.catalogue.create(entry.index, command.spec, command.ifNotExists);
    if (outcome.kind === 'refuse') return done(slot, refused(entry, outcome.code));
    const { definition } = outcome;
    const step = done(slot, succeeded(entry, { kind: 'collectionCreated', definition }));
    return outcome.kind === 'created' ? { kind: 'createShards', slot, definition } : step;
  }
}

export function succeeded(
  at: { readonly index: LogIndex; readonly term: Term },
  value: ApplyValue,
): ApplyResult {
  return { ok: true, index: at.index, term: at.term, value };
}

export function refused(
  at: { readonly index: LogIndex; readonly term: Term },
  code: Extract<ApplyResult, { ok: false }>['code'],
  conflicts: Extract<ApplyResult, { ok: false }>['conflicts'] = [],
): ApplyResult {
  return { ok: false, index: at.index, term: at.term, code, conflicts };
}

function done(slot: ResultSlot, result: ApplyResult): MetaStep {
  slot.result = result;
  return { kind: 'done', slot };
}
