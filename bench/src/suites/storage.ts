/**
 * One lane in this thread on a real disk, graphs left out: how fast entries are applied, what a
 * checkpoint costs and how long it keeps the lane from anything else, how fast it is loaded, and
 * what of each is checksums. Checksums cannot be switched off, so their part is measured alone,
 * over the same bytes and in the same run, and set against what is left without it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LogIndex, SeededRandom } from '@holdfast/base';
import {
  type CollectionDefinition,
  checkpointFiles,
  encodePointOps,
  LaneEngine,
  type ShardManifestReference,
  type ShardTask,
} from '@holdfast/shard-worker';
import { checksumAlgorithms, crc32c, NodeFileSystem, xxh128 } from '@holdfast/storage';
import { atLeast, atMost, type Bench, type BenchContext, type Figure, figure } from '../result.ts';
import { median } from '../statistics.ts';

const DIMENSION = 128;
const ROW_COUNT = 200_000;
const QUICK_ROW_COUNT = 4_000;
const BATCH_ROW_COUNT = 256;
const ROUND_COUNT = 5;
const APPLY_RATE_MIN = 50_000;
const CHECKSUM_SHARE_MAX_PERCENT = 10;
/** The default of a node; only new rows are written, so all of them is the worst case. */
const CHECKPOINT_INTERVAL_MS = 300_000;
const CHECKPOINT_SHARE_MAX_PERCENT = 1;
const BLOCK_SIZE_BYTES = 65_536;
/** Id, vector and payload, as a client sends them. */
const ROW_SIZE_BYTES = 8 + DIMENSION * 4 + 24;
/** Canonical header, vector, payload: what the row hash goes over. */
const HASHED_ROW_SIZE_BYTES = 48 + DIMENSION * 4 + 24;

const definition: CollectionDefinition = {
  ...{ uid: 1, name: 'storage', dimension: DIMENSION, metric: 'l2', shardCount: 1 },
  hnsw: { m: 16, efConstruction: 128, efSearch: 64 },
  ...{ sealRowCount: 65_536, sealSizeBytes: 64 * 1024 * 1024, checksumAlgorithm: 'xxhash3' },
} as CollectionDefinition;

interface Round {
  readonly applyMs: number;
  readonly checkpointMs: number;
  readonly longestStepMs: number;
  readonly sizeBytes: number;
  readonly loadMs: number;
  /** Row hashes alone, of all rows. */
  readonly rowHashMs: number;
  /** Block checksums alone, of all files. */
  readonly blockMs: number;
}

export const storageBench: Bench = {
  name: 'storage',
  description: 'one lane: apply, checkpoint and load of 200,000 x 128-d, and what checksums cost',
  run: async (context) => {
    const rowCount = context.isQuick ? QUICK_ROW_COUNT : ROW_COUNT;
    const batches = makeBatches(rowCount);
    const rounds: Round[] = [];
    for (let i = 0; i < (context.isQuick ? 1 : ROUND_COUNT); i++) {
      rounds.push(runRound(batches, rowCount));
      tell(context, rounds.at(-1)!);
    }
    return {
      figures: figuresOf(rounds, rowCount),
      notes: [
        'writes here are the lane alone, without log, network and client; the suite restart has ' +
          'what the same checksums are of a write in a cluster',
      ],
      raw: { rounds },
    };
  },
};

function figuresOf(rounds: readonly Round[], rowCount: number): readonly Figure[] {
  const of = (read: (round: Round) => number): number => median(rounds.map(read));
  const share = (part: number, whole: number): number => (100 * part) / (whole - part);
  const writeMs = of((round) => round.applyMs + round.checkpointMs);
  const hashMs = of((round) => round.rowHashMs);
  const blockMs = of((round) => round.blockMs);
  return [
    atLeast(
      'apply, graph deferred',
      rowCount / of((r) => r.applyMs / 1000),
      'rows/s',
      APPLY_RATE_MIN,
    ),
    figure(
      'checkpoint of all rows',
      of((r) => r.checkpointMs),
      'ms',
    ),
    atMost(
      'a checkpoint of all rows every 300 s, of one processor',
      (100 * of((r) => r.checkpointMs)) / CHECKPOINT_INTERVAL_MS,
      '%',
      CHECKPOINT_SHARE_MAX_PERCENT,
    ),
    figure(
      'longest time it held the lane',
      of((r) => r.longestStepMs),
      'ms',
    ),
    figure('files', of((r) => r.sizeBytes) / 1e6, 'MB'),
    figure(
      'vectors, ids and payloads, of what the files take',
      (rowCount * ROW_SIZE_BYTES) / of((r) => r.sizeBytes),
      'x',
    ),
    figure(
      'load',
      of((r) => r.loadMs),
      'ms',
    ),
    // Once when it is applied, once when its record is written.
    figure(
      'checksums of apply and checkpoint, on vs off',
      share(2 * hashMs + blockMs, writeMs),
      '%',
    ),
    atMost(
      'checksums of a load, on vs off',
      share(
        hashMs + blockMs,
        of((r) => r.loadMs),
      ),
      '%',
      CHECKSUM_SHARE_MAX_PERCENT,
    ),
  ];
}

function tell({ log }: BenchContext, round: Round): void {
  const { applyMs, checkpointMs, loadMs, longestStepMs } = round;
  const ms = (value: number): string => value.toFixed(0);
  log(
    `storage: apply ${ms(applyMs)} ms, checkpoint ${ms(checkpointMs)} ms in steps of at most ` +
      `${longestStepMs.toFixed(1)} ms, load ${ms(loadMs)} ms`,
  );
}

function makeBatches(rowCount: number): readonly Uint8Array[] {
  const random = new SeededRandom(4711);
  const payload = new TextEncoder().encode('{"group":12,"kind":"abc"}'.slice(0, 24));
  const batches: Uint8Array[] = [];
  for (let first = 0; first < rowCount; first += BATCH_ROW_COUNT) {
    const count = Math.min(BATCH_ROW_COUNT, rowCount - first);
    const points = Array.from({ length: count }, (_, i) => ({
      type: 'upsert' as const,
      id: first + i,
      vector: Float32Array.from({ length: DIMENSION }, () => random.nextBelow(2000) / 1000 - 1),
      payload,
      condition: { kind: 'none' } as const,
    }));
    batches.push(encodePointOps(points));
  }
  return batches;
}

function runRound(batches: readonly Uint8Array[], rowCount: number): Round {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-storage-'));
  const fs = new NodeFileSystem();
  try {
    const engine = new LaneEngine({ fs, graphFactory: null });
    const lastIndex = (batches.length + 1) as LogIndex;
    expectKind(engine.run(openTask(directory, 0 as LogIndex, [])), 'opened');
    const applyMs = timed(() => apply(engine, batches));
    const checkpoint = writeCheckpoint(engine, lastIndex);
    const files = checkpointFiles(fs, directory, checkpoint.manifests);
    const reader = new LaneEngine({ fs, graphFactory: null });
    const loadMs = timed(() =>
      expectKind(reader.run(openTask(directory, lastIndex, checkpoint.manifests)), 'opened'),
    );
    const sizeBytes = files.reduce((sum, file) => sum + (file.sizeBytes ?? 0), 0);
    return {
      ...{ applyMs, loadMs, sizeBytes },
      ...{ checkpointMs: checkpoint.durationMs, longestStepMs: checkpoint.longestStepMs },
      rowHashMs: hashRows(rowCount),
      blockMs: hashBlocks(sizeBytes),
    };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function openTask(
  dataDirectory: string,
  appliedIndex: LogIndex,
  manifests: readonly ShardManifestReference[],
): ShardTask {
  return {
    ...{ kind: 'open', epoch: 1, dataDirectory, laneIndex: 0, laneCount: 1, appliedIndex },
    ...{ definitions: manifests.length === 0 ? [] : [definition], manifests },
  };
}

function apply(engine: LaneEngine, batches: readonly Uint8Array[]): void {
  const create = { kind: 'createCollection', index: 1 as LogIndex, definition } as const;
  const task = (index: number) =>
    ({ kind: 'apply', epoch: 1, fromIndex: index, toIndex: index }) as {
      readonly kind: 'apply';
      readonly epoch: number;
      readonly fromIndex: LogIndex;
      readonly toIndex: LogIndex;
    };
  expectKind(engine.run({ ...task(1), commands: [create] }), 'applied');
  batches.forEach((ops, i) => {
    const index = (i + 2) as LogIndex;
    const write = {
      kind: 'write',
      index,
      timestampMs: index,
      uid: 1,
      mode: 'always',
      ops,
    } as const;
    expectKind(engine.run({ ...task(index), commands: [write] }), 'applied');
  });
}

function writeCheckpoint(engine: LaneEngine, expectedIndex: LogIndex) {
  const startMs = performance.now();
  let stepStartMs = startMs;
  let longestStepMs = 0;
  let reply = engine.start({ kind: 'checkpoint', epoch: 1, expectedIndex, checkpointId: 'bench' });
  for (;;) {
    longestStepMs = Math.max(longestStepMs, performance.now() - stepStartMs);
    if (reply !== null) break;
    stepStartMs = performance.now();
    reply = engine.stepCheckpoint();
  }
  if (reply.kind !== 'checkpointed') throw new Error(`the checkpoint answered ${reply.kind}`);
  const { manifests } = reply;
  return { manifests, durationMs: performance.now() - startMs, longestStepMs };
}

/** Of the lane and of the log, for one row of this benchmark, in microseconds. */
export function checksumMicrosecondsPerRow(): number {
  const rowCount = 50_000;
  const sizeBytes = rowCount * (HASHED_ROW_SIZE_BYTES + 32);
  const batch = new Uint8Array(BATCH_ROW_COUNT * (HASHED_ROW_SIZE_BYTES + 32)).fill(7);
  const logMs = timed(() => {
    // The chain of entries, then the batch in its file.
    for (let i = 0; i < rowCount; i += BATCH_ROW_COUNT) {
      xxh128([batch]);
      crc32c(batch);
    }
  });
  return (1000 * (2 * hashRows(rowCount) + hashBlocks(sizeBytes) + logMs)) / rowCount;
}

/** Row hashes and block checksums of a start that loads so many rows of this benchmark. */
export const loadChecksumMs = (rowCount: number): number =>
  hashRows(rowCount) + hashBlocks(rowCount * (HASHED_ROW_SIZE_BYTES + 32));

function hashRows(rowCount: number): number {
  const row = new Uint8Array(HASHED_ROW_SIZE_BYTES).fill(7);
  return timed(() => {
    for (let i = 0; i < rowCount; i++) {
      row[0] = i;
      xxh128([row]);
    }
  });
}

function hashBlocks(sizeBytes: number): number {
  const block = new Uint8Array(BLOCK_SIZE_BYTES).fill(7);
  const suffix = new Uint8Array(8);
  return timed(() => {
    for (let at = 0; at < sizeBytes; at += BLOCK_SIZE_BYTES) {
      block[0] = at;
      checksumAlgorithms.xxhash3.compute([block, suffix]);
    }
  });
}

function timed(body: () => void): number {
  const startMs = performance.now();
  body();
  return performance.now() - startMs;
}

function expectKind(reply: { readonly kind: string }, kind: string): void {
  if (reply.kind !== kind) throw new Error(`the lane answered ${JSON.stringify(reply)}`);
}
