/**
 * The replicated meta state: catalogue and sessions. Pure: it sees entries in log order and says
 * what the lanes have to do; the applier carries that out and fills the result slots.
 *
 * Invariant: two machines that saw the same entries have equal `pieces()` once all slots are
 * filled. Log time never goes back.
 */
import type { Entry, LogIndex, SessionId } from '@holdfast/base';
import { assert, logIndex, must, sessionId, unreachable } from '@holdfast/base';
import type { ApplyValue, ResultSlot } from './apply-result.ts';
import type { IndexOutcome } from './catalogue.ts';
import { Catalogue } from './catalogue.ts';
import type { Command } from './command.ts';
import { decodeCommand } from './command.ts';
import { executeHidden } from './hidden-steps.ts';
import type { CollectionRecord } from './hiding.ts';
import type { MetaHead } from './meta-rows.ts';
import { encodeMetaHead, FrameReader, FrameWriter } from './meta-rows.ts';
import type { MetaStep } from './meta-step.ts';
import { done, refused, succeeded } from './meta-step.ts';
import { SessionTable } from './sessions.ts';

export class MetaMachine {
  readonly catalogue: Catalogue;
  readonly sessions: SessionTable;
  #appliedIndex: LogIndex;
  #logTimeMs: number;

  constructor(
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

  /**
   * Canonical bytes of the whole meta state in pieces of about 64 KiB; also what its digest is made
   * of. Only between batches (every slot is filled), and nothing may be applied until it is done.
   */
  *pieces(): Generator<Uint8Array, void, undefined> {
    yield encodeMetaHead(this.catalogue.hasHidden);
    const writer = new FrameWriter();
    writer.head({ appliedIndex: this.#appliedIndex, logTimeMs: this.#logTimeMs });
    for (const { definition, hiding } of this.catalogue.records()) {
      if (hiding === null) writer.collection(definition);
      else writer.hidden({ definition, hiding });
      if (writer.isFull) yield must(writer.take());
    }
    for (const session of this.sessions.all()) {
      writer.session(session);
      for (const result of this.sessions.resultsOf(session.id)) {
        writer.result(result);
        if (writer.isFull) yield must(writer.take());
      }
    }
    writer.end();
    yield must(writer.take());
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
      case 'verify':
        slot.result = succeeded(entry, { kind: 'verified' });
        return { kind: 'verify', slot };
      case 'createCollection':
        return this.#createCollection(entry, command, slot);
      case 'dropCollection': {
        const dropped = this.catalogue.drop(command.name);
        const isDropped = dropped !== null;
        const step = done(slot, succeeded(entry, { kind: 'collectionDropped', isDropped }));
        return isDropped ? { kind: 'dropShards', slot, uid: dropped.uid } : step;
      }
      case 'updateCollection': {
        const definition = this.catalogue.update(command.name, command.checksumAlgorithm);
        if (definition === null) return done(slot, refused(entry, 'COLLECTION_NOT_FOUND'));
        done(slot, succeeded(entry, { kind: 'collectionUpdated', definition }));
        return { kind: 'changeChecksum', slot, definition };
      }
      case 'createPayloadIndex':
      case 'dropPayloadIndex':
        return this.#changeIndexes(entry, command, slot);
      case 'hideCollection':
      case 'undeleteCollection':
      case 'purgeCollection':
      case 'renameCollection':
      case 'createHiddenCollection':
      case 'finishCollection':
      case 'publishCollections': {
        const at = { index: entry.index, term: entry.term, logTimeMs: this.#logTimeMs };
        return executeHidden(this.catalogue, at, command, slot);
      }
      case 'write': {
        const definition = this.catalogue.writable(command.uid);
        if (definition === undefined) return done(slot, refused(entry, 'COLLECTION_NOT_FOUND'));
        return {
          ...{ kind: 'write', slot, definition, ops: command.ops },
          timestampMs: this.#logTimeMs,
        };
      }
      default:
        return unreachable(command);
    }
  }

  #changeIndexes(
    entry: Entry,
    command: Extract<Command, { kind: 'createPayloadIndex' | 'dropPayloadIndex' }>,
    slot: ResultSlot,
  ): MetaStep {
    const { catalogue } = this;
    if (catalogue.visible(command.uid) === undefined)
      return done(slot, refused(entry, 'COLLECTION_NOT_FOUND'));
    const isCreate = command.kind === 'createPayloadIndex';
    const outcome: IndexOutcome = isCreate
      ? catalogue.createPayloadIndex(command.uid, command.payloadIndex)
      : catalogue.dropPayloadIndex(command.uid, command.key);
    if (outcome.kind === 'refuse') return done(slot, refused(entry, outcome.code));
    const isChanged = outcome.kind === 'changed';
    const value: ApplyValue = isCreate
      ? { kind: 'payloadIndexCreated', isCreated: isChanged }
      : { kind: 'payloadIndexDropped', isDropped: isChanged };
    const step = done(slot, succeeded(entry, value));
    return isChanged ? { kind: 'redefineShards', slot, definition: outcome.definition } : step;
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

/** Builds a machine from the frames that `pieces` gave, one after the other. */
export class MetaLoader {
  readonly #records: CollectionRecord[] = [];
  readonly #sessions = new SessionTable();
  #head: MetaHead | null = null;
  #session: SessionId | null = null;
  readonly #reader = new FrameReader({
    head: (head) => {
      this.#head = head;
    },
    collection: (definition) => void this.#records.push({ definition, hiding: null }),
    hidden: (collection) => void this.#records.push(collection),
    session: (session) => {
      this.#session = sessionId(session.id);
      this.#sessions.restore(session);
    },
    result: (row) =>
      this.#sessions.restoreResult(must(this.#session, 'a result has a session'), row),
  });

  /** A frame without its size. */
  take(frame: Uint8Array): void {
    this.#reader.read(frame);
  }

  /** Asserts that nothing is missing. */
  finish(): MetaMachine {
    assert(this.#reader.isEnded, 'the meta rows have an end');
    const { appliedIndex, logTimeMs } = must(this.#head, 'the meta rows have a head');
    const catalogue = Catalogue.fromSnapshot(this.#records);
    return new MetaMachine(catalogue, this.#sessions, logIndex(appliedIndex), logTimeMs);
  }
}
