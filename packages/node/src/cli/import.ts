/**
 * `holdfast import FILE`: batches of points through the client, which carries them over a failover.
 * Points are written by id, so importing the same file again changes nothing but versions; after an
 * error the last line says how many points are safely in.
 */
import { HoldfastError } from '@holdfast/base';
import type { HoldfastClient, Metric, PointInput } from '@holdfast/client';
import cliProgress from 'cli-progress';
import type { Command } from 'commander';
import { addClientFlags, type ClientFlags, withClient } from './client-flags.ts';
import { type CliIo, integerOption, isCode } from './io.ts';
import { openPointFile, type PointFile } from './point-file.ts';

interface ImportFlags extends ClientFlags {
  readonly collection: string;
  readonly create?: boolean;
  readonly metric: Metric;
  readonly firstId: string;
  readonly batchSize: string;
  readonly concurrency: string;
}

/** Plain lines are written this often when nobody looks at a bar. */
const PLAIN_LINE_INTERVAL_MS = 2_000;
/** An election plus a restart fits into this: a failover must not end an import. */
const TIMEOUT_MS_DEFAULT = '60000';

export function registerImport(program: Command, io: CliIo): void {
  const command = program
    .command('import')
    .description('write the points of a file: JSONL with id, vector, payload; or .fvecs')
    .argument('<FILE>')
    .requiredOption('--collection <NAME>', 'where to')
    .option('--create', 'create the collection if it does not exist, as wide as the first vector')
    .option('--metric <METRIC>', 'of a created collection: l2, cosine or innerProduct', 'cosine')
    .option('--first-id <N>', 'id of the first vector of an .fvecs file', '0')
    .option('--batch-size <N>', 'points per batch; a batch is atomic', '256')
    .option('--concurrency <N>', 'batches under way at once', '4');
  addClientFlags(command, TIMEOUT_MS_DEFAULT).action((file: string, flags: ImportFlags) =>
    importFile(file, flags, io),
  );
}

async function importFile(path: string, flags: ImportFlags, io: CliIo): Promise<void> {
  const firstId = integerOption(flags.firstId, '--first-id', 0, Number.MAX_SAFE_INTEGER);
  const batchSize = integerOption(flags.batchSize, '--batch-size', 1, 1_000);
  const concurrency = integerOption(flags.concurrency, '--concurrency', 1, 64);
  const file = openPointFile(path, { firstId });
  await withClient(flags, io, async (client) => {
    const progress = new Progress(file, io);
    const points = flags.create === true ? createFirst(client, flags, file.points) : file.points;
    try {
      await client.collection(flags.collection).upsertMany(points, {
        ...{ batchSize, concurrency },
        onProgress: ({ pointCount }) => progress.update(pointCount),
      });
    } catch (error) {
      progress.end(`${progress.pointCount} points are imported; the import stopped`);
      throw error;
    }
    progress.end(`${progress.pointCount} points imported`);
  });
}

/** Creates the collection when the first point tells its dimension. */
async function* createFirst(
  client: HoldfastClient,
  { collection, metric }: ImportFlags,
  points: AsyncIterable<PointInput>,
): AsyncGenerator<PointInput> {
  let isCreated = false;
  for await (const point of points) {
    if (!isCreated) {
      isCreated = true;
      await createUnlessThere(client, collection, point.vector.length, metric);
    }
    yield point;
  }
}

async function createUnlessThere(
  client: HoldfastClient,
  name: string,
  dimension: number,
  metric: Metric,
): Promise<void> {
  try {
    await client.createCollection({ name, dimension, metric, ifNotExists: true });
  } catch (error) {
    if (!isCode(error, 'COLLECTION_EXISTS')) throw error;
    const found = (await client.listCollections()).find((other) => other.name === name);
    if (found?.dimension === dimension) return;
    const message = `${name} has dimension ${found?.dimension}, the file has ${dimension}`;
    throw new HoldfastError('DIMENSION_MISMATCH', message, { cause: error });
  }
}

/** A bar for a person, a line now and then for a log. The last line is always plain. */
class Progress {
  readonly #file: PointFile;
  readonly #io: CliIo;
  readonly #startMs = performance.now();
  readonly #bar: cliProgress.SingleBar | null;
  #lastLineMs = performance.now();
  pointCount = 0;

  constructor(file: PointFile, io: CliIo) {
    this.#file = file;
    this.#io = io;
    this.#bar = io.isInteractive
      ? new cliProgress.SingleBar(
          { format: '{bar} {percentage}% | {points} points | {rate} points/s', hideCursor: true },
          cliProgress.Presets.shades_classic,
        )
      : null;
    this.#bar?.start(Math.max(1, file.sizeBytes), 0, { points: 0, rate: 0 });
  }

  update(pointCount: number): void {
    this.pointCount = pointCount;
    const points = pointCount;
    this.#bar?.update(this.#file.readBytes(), { points, rate: this.#rate() });
    const nowMs = performance.now();
    if (this.#bar !== null || nowMs - this.#lastLineMs < PLAIN_LINE_INTERVAL_MS) return;
    this.#lastLineMs = nowMs;
    const percent = Math.floor((100 * this.#file.readBytes()) / Math.max(1, this.#file.sizeBytes));
    this.#io.out(`${points} points, ${this.#rate()} points/s, ${percent} % of the file read\n`);
  }

  end(what: string): void {
    this.#bar?.stop();
    const seconds = (performance.now() - this.#startMs) / 1_000;
    this.#io.out(`${what} (${seconds.toFixed(1)} s, ${this.#rate()} points/s)\n`);
  }

  #rate(): number {
    const seconds = Math.max(0.001, (performance.now() - this.#startMs) / 1_000);
    return Math.round(this.pointCount / seconds);
  }
}
