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
import { type CommandEnvelope, decodeCommand } from './command.ts';
import type { FollowedEntry } from './followed-entry.ts';
import { executeHidden } from './hidden-steps.ts';
import type { CollectionRecord } from './hiding.ts';
import type { MetaHead } from './meta-rows.ts';
import { encodeMetaHead, FrameReader, FrameWriter } from './meta-rows.ts';
import type { EntryPlace, MetaStep } from './meta-step.ts';
import { done, refused, succeeded } from './meta-step.ts';
import { SessionTable } from './sessions.ts';
import type { Site, SiteChange } from './site.ts';
import { changedSite, PLAIN_SITE } from './site.ts';

interface Execution extends EntryPlace {
  /** Log time. */
  readonly timeMs: number;
}

export class MetaMachine {
  readonly catalogue: Catalogue;
  readonly sessions: SessionTable;
  #appliedIndex: LogIndex;
  #logTimeMs: number;
  #site: Site;

  constructor(
    catalogue: Catalogue,
    sessions: SessionTable,
    appliedIndex: LogIndex,
    logTimeMs: number,
    site: Site = PLAIN_SITE,
  ) {
    this.catalogue = catalogue;
    this.sessions = sessions;
    this.#appliedIndex = appliedIndex;
    this.#logTimeMs = logTimeMs;
    this.#site = site;
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

  /** How this cluster stands to others. */
  get site(): Site {
    return this.#site;
  }

  /** The index that the content is of: on a standby the primary's, elsewhere the own. */
  get contentIndex(): LogIndex {
    return this.#site.kind === 'standby' ? logIndex(this.#site.source.index) : this.#appliedIndex;
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
    const { command } = envelope;
    if (command.kind === 'site') return this.#changeSite(entry, command.change);
    if (command.kind === 'follow') return this.#follow(entry, command.entry);
    const refusal = refusalOf(this.#site, command);
    if (refusal !== null) return done({ result: null }, refused(entry, refusal));
    const { index, term } = entry;
    return this.#take({ index, term, timeMs: this.#logTimeMs }, envelope);
  }

  #take(entry: Execution, { bodyHash, command, session }: CommandEnvelope): MetaStep {
    if (session === null) return this.#execute(entry, command, { result: null });
    const admission = this.sessions.admit(session, bodyHash, entry.timeMs);
    switch (admission.kind) {
      case 'execute':
        return this.#execute(entry, command, admission.slot);
      case 'repeat':
        return { kind: 'done', slot: admission.slot };
      case 'refuse':
        return done({ result: null }, refused(entry, admission.code));
      default:
        return unreachable(admission);
    }
  }

  #changeSite(entry: Entry, change: SiteChange): MetaStep {
    const { index, sum, term } = entry;
    const isEmpty = this.catalogue.count === 0 && !this.catalogue.hasHidden;
    const isStateEmpty = isEmpty && this.sessions.count === 0;
    const at = { index, term, sum: hexOf(sum), isStateEmpty };
    const site = changedSite(this.#site, change, at);
    if (site !== null) this.#site = site;
    const isChanged = site !== null;
    return done({ result: null }, succeeded(entry, { kind: 'siteChanged', isChanged }));
  }

  /** As the primary applied it: with its index, its term and its log time. */
  #follow(own: Entry, entry: FollowedEntry): MetaStep {
    const site = this.#site;
    const passed = (isChanged: boolean): MetaStep =>
      done({ result: null }, succeeded(own, { kind: 'siteChanged', isChanged }));
    if (site.kind !== 'standby' || site.takeover !== null) return passed(false);
    const { source } = site;
    const isNext = entry.index === source.index + 1 && hexOf(entry.sumBefore) === source.sum;
    // A leader that was deposed in the middle may have proposed it before.
    if (!isNext) return passed(false);
    assert(entry.index < own.index, 'a standby is ahead of its primary by what is its own', {
      index: entry.index,
      ownIndex: own.index,
    });
    const envelope = entry.type === 'normal' ? decodeCommand(entry.data) : null;
    const { index, term } = entry;
    const timeMs = Math.max(source.timestampMs, envelope?.timestampMs ?? 0);
    const next = { ...source, index, term, sum: hexOf(entry.sum), timestampMs: timeMs };
    this.#site = { ...site, source: next };
    // What comes after a promotion never lies before what was taken over.
    this.#logTimeMs = Math.max(this.#logTimeMs, timeMs);
    if (envelope === null) return passed(true);
    const { kind } = envelope.command;
    // How the primary stands to others, and asks its own members, is not about this cluster.
    if (kind === 'site' || kind === 'follow' || kind === 'verify') return passed(true);
    return this.#take({ index, term, timeMs }, envelope);
  }

  /**
   * Canonical bytes of the whole meta state in pieces of about 64 KiB; also what its digest is made
   * of. Only between batches (every slot is filled), and nothing may be applied until it is done.
   */
  pieces(): Generator<Uint8Array, void, undefined> {
    const head = { appliedIndex: this.#appliedIndex, logTimeMs: this.#logTimeMs };
    return this.#pieces(head, this.#site === PLAIN_SITE ? null : this.#site);
  }

  /**
   * As `pieces`, of the content alone: equal on a standby and its primary at an equal index of the
   * primary.
   */
  contentPieces(): Generator<Uint8Array, void, undefined> {
    const site = this.#site;
    const logTimeMs = site.kind === 'standby' ? site.source.timestampMs : this.#logTimeMs;
    return this.#pieces({ appliedIndex: this.contentIndex, logTimeMs }, null);
  }

  *#pieces(head: MetaHead, site: Site | null): Generator<Uint8Array, void, undefined> {
    yield encodeMetaHead(this.catalogue.hasHidden || site !== null);
    const writer = new FrameWriter();
    writer.head(head);
    if (site !== null) writer.site(site);
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

  #execute(entry: Execution, command: Command, slot: ResultSlot): MetaStep {
    switch (command.kind) {
      case 'openSession':
        return this.sessions.open(entry.index, entry.timeMs)
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
      case 'seal':
        slot.result = succeeded(entry, { kind: 'sealed' });
        return { kind: 'sealShards', slot };
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
        const at = { index: entry.index, term: entry.term, logTimeMs: entry.timeMs };
        return executeHidden(this.catalogue, at, command, slot);
      }
      case 'write': {
        const definition = this.catalogue.writable(command.uid);
        if (definition === undefined) return done(slot, refused(entry, 'COLLECTION_NOT_FOUND'));
        const at = { index: entry.index, term: entry.term };
        const { ops } = command;
        return { kind: 'write', slot, at, definition, ops, timestampMs: entry.timeMs };
      }
      case 'site':
      case 'follow':
        return must<MetaStep>(null, `${command.kind} is never executed as a client's command`);
      default:
        return unreachable(command);
    }
  }

  #changeIndexes(
    entry: EntryPlace,
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
    entry: EntryPlace,
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
  #site: Site = PLAIN_SITE;
  #session: SessionId | null = null;
  readonly #reader = new FrameReader({
    head: (head) => {
      this.#head = head;
    },
    site: (site) => {
      this.#site = site;
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
    const at = logIndex(appliedIndex);
    return new MetaMachine(catalogue, this.#sessions, at, logTimeMs, this.#site);
  }
}

/** What clients may not do here, and nodes may; null: it is executed. */
function refusalOf({ kind }: Site, command: Command): 'READ_ONLY' | 'FENCED' | null {
  if (kind === 'primary' || command.kind === 'verify' || command.kind === 'seal') return null;
  return kind === 'standby' ? 'READ_ONLY' : 'FENCED';
}

const hexOf = (sum: Uint8Array): string => Buffer.from(sum).toString('hex');
