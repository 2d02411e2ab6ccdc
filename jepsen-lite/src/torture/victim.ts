/**
 * One node whose files are damaged: what it says, what was done to it, and what became of it.
 *
 * Invariants: at most one open injury per file, so that one event answers for one damage; at most
 * one in files that are replaced together; no place of a log file is hit twice, because rot there
 * stays until the file goes, and is told once; and no bytes that an earlier damage took away.
 */
import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { NodeName } from '../cluster/cluster.ts';
import { readJson } from '../cluster/node-http.ts';
import { doDamage, type Span } from './damages.ts';
import { factsOf } from './file-kinds.ts';
import { type Injury, isOpen, type ProductEvent, withEvent } from './injuries.ts';
import { isLetGo } from './let-go.ts';
import { lostBytesOf } from './lost-bytes.ts';
import type { PlannedDamage } from './plan.ts';
import { inodeOf, isGone, listVictimFiles, modifiedMs, type VictimFile } from './victim-files.ts';

/** Around a place of a log file: more than the longest batch that may be concerned. */
const WAL_DISTANCE_BYTES = 256 * 1024;
/** A file that is gone may have been found just before; its event is on the way. */
const GONE_GRACE_MS = 2_000;
/**
 * A look takes seconds. That a file which was deleted belonged to no checkpoint any more shows only
 * after two new ones.
 */
const DETECTION_MS_MAX = 120_000;
const REPAIR_MS_MAX = 120_000;
/** The golden ratio spreads attempts evenly. */
const TURN = 0.618_033_988;
/** About a quarter of a minute. */
const ATTEMPTS_PER_KIND = 64;

interface Followed {
  injury: Injury;
  /** Where the log was not yet written, and will be: the byte that was put there; else null. */
  readonly ahead: { readonly at: number; readonly byte: number } | null;
  /** New checkpoints since. */
  rootChanges: number;
  goneSinceMs: number | null;
}

export class Victim {
  readonly nodeName: NodeName;
  readonly #address: string;
  readonly #dataDirectory: string;
  readonly #followed: Followed[] = [];
  readonly #spots = new Map<string, Span[]>();
  /** Older contents by path: what a stale file is made of. */
  readonly #archive = new Map<string, Uint8Array>();
  #eventNumber = 0;
  #rootInode: number | null = null;
  #notes: string[] = [];
  readonly #named = new Set<string>();
  /** By path: places of the log that were damaged before they were written. */
  readonly #ahead = new Map<string, number[]>();
  /** How often a planned damage was tried in vain, by its number. */
  readonly #attempts = new Map<number, number>();

  #listed: readonly VictimFile[] | null = null;

  readonly #checkpointIntervalMs: number;

  constructor(
    nodeName: NodeName,
    address: string,
    dataDirectory: string,
    checkpointIntervalMs: number,
  ) {
    this.#checkpointIntervalMs = checkpointIntervalMs;
    this.nodeName = nodeName;
    this.#address = address;
    this.#dataDirectory = dataDirectory;
  }

  get injuries(): readonly Injury[] {
    return this.#followed.map(({ injury }) => injury);
  }

  get openCount(): number {
    return this.injuries.filter(isOpen).length;
  }

  /** Findings that belong to no damage. */
  get notes(): readonly string[] {
    return this.#notes;
  }

  isOpenAt(path: string): boolean {
    return this.injuries.some((injury) => isOpen(injury) && injury.path === path);
  }

  files(): readonly VictimFile[] {
    return listVictimFiles(this.#dataDirectory, this.#named, this.#ahead);
  }

  /** Begins a turn: its files are listed once, and contents kept that will be old one day. */
  archive(): void {
    this.#listed = this.files();
    for (const { contentSizeBytes, isActive, kind, path, sizeBytes } of this.#listed) {
      const isHalfFull = kind === 'wal' && isActive && contentSizeBytes > sizeBytes / 4;
      const isReplaced = kind === 'root' || kind === 'previousRoot';
      const isKept = isHalfFull || isReplaced || kind === 'epoch' || kind === 'hardState';
      if (!isKept || this.#archive.has(path) || this.isOpenAt(path)) continue;
      const content = this.#contentOf(path);
      if (content !== null) this.#archive.set(path, content);
    }
  }

  /** Null: it was let go of since it was listed. */
  #contentOf(path: string): Uint8Array | null {
    try {
      return readFileSync(join(this.#dataDirectory, path));
    } catch (error) {
      if (isGone(error)) return null;
      throw error;
    }
  }

  /** False: no file can be damaged like that just now. `isBusy` says of paths to stay away from. */
  damage(drawn: PlannedDamage, isBusy: (path: string) => boolean): boolean {
    const attempt = this.#attempts.get(drawn.number) ?? 0;
    const planned = movedOn(drawn, attempt);
    const { replacedWith } = factsOf(planned.fileKind);
    const isTaken = this.injuries.some(
      (injury) => isOpen(injury) && factsOf(injury.fileKind).replacedWith === replacedWith,
    );
    if (replacedWith !== null && isTaken) return false;
    if (replacedWith === 'checkpoint' && !this.#isCheckpointYoung()) return false;
    this.#listed ??= this.files();
    const all = this.#listed.filter(({ kind, sizeBytes }) => {
      return kind === planned.fileKind && sizeBytes > 0;
    });
    const able = all.filter(({ path }) => !this.isOpenAt(path) && !isBusy(path));
    const isWaiting = all.length > 0 && able.length === 0;
    if (!isWaiting) this.#attempts.set(drawn.number, attempt + 1);
    const file = able[Math.floor(planned.fileAt * able.length)];
    return file !== undefined && this.#damageFile(planned, file, all);
  }

  /** The next one replaces its files, and is not near. */
  #isCheckpointYoung(): boolean {
    const madeAtMs = modifiedMs(join(this.#dataDirectory, 'CHECKPOINT'));
    return madeAtMs !== null && Date.now() - madeAtMs < this.#checkpointIntervalMs / 2;
  }

  #damageFile(planned: PlannedDamage, file: VictimFile, ofKind: readonly VictimFile[]): boolean {
    const lost = file.kind === 'wal' ? lostBytesOf(this.#dataDirectory, file.path) : [];
    if (lost === null) return false;
    const injectedAtMs = Date.now();
    const spans = doDamage({
      ...{ file, planned, dataDirectory: this.#dataDirectory },
      staleContent: planned.damage === 'stale' ? this.#staleContent(file, ofKind) : null,
      isFree: (span) => this.#isFree(file, span) && !lost.some((one) => isTouching(one, span)),
    });
    if (spans === null) return false;
    this.#listed = null;
    if (file.kind === 'wal') {
      this.#spots.set(file.path, [...(this.#spots.get(file.path) ?? []), ...spans]);
    }
    const { damage, number } = planned;
    const injury: Injury = {
      ...{ number, damage, spans, injectedAtMs, nodeName: this.nodeName },
      ...{ path: file.path, fileKind: file.kind, inode: file.inode },
      ...{ eventNumber: this.#eventNumber, state: 'open', said: [] },
      ...{ detectedAtMs: null, repairedAtMs: null },
    };
    const ahead = this.#aheadOf(file, spans);
    this.#followed.push({ injury, ahead, rootChanges: 0, goneSinceMs: null });
    return true;
  }

  #aheadOf(file: VictimFile, [span]: readonly Span[]): Followed['ahead'] {
    if (!file.isActive || span === undefined || span.from < file.contentSizeBytes) return null;
    const byte = this.#contentOf(file.path)?.[span.from];
    if (byte === undefined) return null;
    this.#ahead.set(file.path, [...(this.#ahead.get(file.path) ?? []), span.from]);
    return { at: span.from, byte };
  }

  /** The log has come to the place since, and there is something else now. */
  #isOverwritten({ ahead, injury: { path } }: Followed): boolean {
    if (ahead === null) return false;
    const file = this.files().find((one) => one.path === path);
    if (file === undefined || (file.isActive && file.contentSizeBytes <= ahead.at)) return false;
    const byte = this.#contentOf(path)?.[ahead.at];
    return byte !== undefined && byte !== ahead.byte;
  }

  #staleContent(file: VictimFile, ofKind: readonly VictimFile[]): Uint8Array | null {
    const older = this.#archive.get(file.path) ?? null;
    if (older !== null) this.#archive.delete(file.path);
    const isMadeOften = ['segment', 'graph'].includes(file.kind);
    const isNamedByContent = isMadeOften || factsOf(file.kind).replacedWith === 'checkpoint';
    if (older !== null || !isNamedByContent) return older;
    const other = ofKind.find(({ path }) => {
      return path !== file.path && !this.isOpenAt(path) && extname(path) === extname(file.path);
    });
    return other === undefined ? null : this.#contentOf(other.path);
  }

  #isFree({ kind, path }: VictimFile, { from, to }: Span): boolean {
    if (kind !== 'wal') return true;
    return !(this.#spots.get(path) ?? []).some(
      (spot) => from < spot.to + WAL_DISTANCE_BYTES && spot.from < to + WAL_DISTANCE_BYTES,
    );
  }

  /** Hears what the node says, and looks at what became of the files. */
  async follow(): Promise<void> {
    this.#countRoots();
    const events = await this.#newEvents();
    for (const event of events) this.#hear(event);
    const nowMs = Date.now();
    for (const one of this.#followed) if (isOpen(one.injury)) this.#age(one, nowMs);
  }

  async #newEvents(): Promise<readonly ProductEvent[]> {
    const path = `/api/v1/admin/recovery?since=${this.#eventNumber}`;
    const answer = await readJson(this.#address, path);
    const events = answer?.status === 200 ? answer.body.events : [];
    return Array.isArray(events) ? (events as ProductEvent[]) : [];
  }

  #hear(event: ProductEvent): void {
    this.#eventNumber = Math.max(this.#eventNumber, event.number);
    let isKnown = event.kind !== 'found';
    for (const one of this.#followed) {
      const next = withEvent(one.injury, event);
      if (next.state !== one.injury.state || one.injury.path === event.key) isKnown = true;
      one.injury = next;
    }
    if (!isKnown) this.#notes.push(`${event.key}: ${JSON.stringify(event.facts)}`);
  }

  #countRoots(): void {
    const inode = inodeOf(join(this.#dataDirectory, 'CHECKPOINT'));
    if (inode === this.#rootInode) return;
    this.#rootInode = inode;
    for (const one of this.#followed) if (isOpen(one.injury)) one.rootChanges += 1;
  }

  #age(one: Followed, nowMs: number): void {
    const { injectedAtMs, state } = one.injury;
    if (state === 'detected') {
      if (nowMs - injectedAtMs > REPAIR_MS_MAX) one.injury = { ...one.injury, state: 'unrepaired' };
      return;
    }
    if (this.#isGone(one)) {
      one.goneSinceMs ??= nowMs;
      if (nowMs - one.goneSinceMs < GONE_GRACE_MS) return;
      one.injury = { ...one.injury, state: 'deletedFirst' };
    } else if (nowMs - injectedAtMs > DETECTION_MS_MAX) {
      one.injury = { ...one.injury, state: 'missed' };
    }
  }

  /** The product has let go of the damaged file, or written over it, before it said a word. */
  #isGone(one: Followed): boolean {
    const { injury, rootChanges } = one;
    if (this.#isOverwritten(one)) return true;
    return isLetGo(injury, {
      inodeOf: (path) => inodeOf(join(this.#dataDirectory, path)),
      oldestLogPath: () => this.files().find(({ kind }) => kind === 'wal')?.path ?? '',
      rootChanges,
    });
  }
}

const isTouching = (left: Span, right: Span): boolean =>
  left.from < right.to && right.from < left.to;

/**
 * Another file and place for every attempt: what is taken today may be taken for a long time. And
 * in the end another kind of file: of some there is no old content, or no file that is at rest.
 */
function movedOn(drawn: PlannedDamage, attempt: number): PlannedDamage {
  const turned = (at: number): number => (at + attempt * TURN) % 1;
  const { fileKinds } = drawn;
  const first = fileKinds.indexOf(drawn.fileKind);
  const step = Math.floor(attempt / ATTEMPTS_PER_KIND);
  const fileKind = fileKinds[(first + step) % fileKinds.length] ?? drawn.fileKind;
  return { ...drawn, fileKind, fileAt: turned(drawn.fileAt), placeAt: turned(drawn.placeAt) };
}
