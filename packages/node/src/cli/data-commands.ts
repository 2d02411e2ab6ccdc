/** `holdfast collection`, `get` and `search`: looking at the data from a shell. */
import { readFileSync } from 'node:fs';
import { HoldfastError } from '@holdfast/base';
import type { ChecksumAlgorithmName, Consistency, Metric, PointId } from '@holdfast/client';
import { DROP_RETENTION_MS_MAX } from '@holdfast/protocol';
import type { Command } from 'commander';
import { renderTable } from '../cluster/table.ts';
import { addClientFlags, type ClientFlags, withClient } from './client-flags.ts';
import { hiddenTable, registerCollectionCommands, timeOf } from './collection-commands.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption, UsageError } from './io.ts';

const METRICS: readonly string[] = ['l2', 'cosine', 'innerProduct'];
const CHECKSUM_ALGORITHMS: readonly string[] = ['crc32c', 'xxhash3', 'sha256'];
const CONSISTENCIES: readonly string[] = ['linearizable', 'lease', 'stale'];

interface CreateFlags extends ClientFlags {
  readonly dimension: string;
  readonly metric: string;
  readonly shards?: string;
  readonly checksum?: string;
  readonly ifNotExists?: boolean;
}

interface UpdateFlags extends ClientFlags {
  readonly checksum: string;
}

interface ListFlags extends ClientFlags {
  readonly includeDeleted?: boolean;
}

interface DropFlags extends ClientFlags {
  readonly retentionMs?: string;
}

interface ReadFlags extends ClientFlags {
  readonly consistency: string;
  readonly vector?: boolean;
}

interface SearchFlags extends ClientFlags {
  readonly consistency: string;
  readonly vector?: string;
  readonly vectorFile?: string;
  readonly like?: string;
  readonly k: string;
  readonly ef?: string;
  readonly exact?: boolean;
  readonly json?: boolean;
}

export function registerDataCommands(program: Command, io: CliIo): void {
  registerCollection(program, io);
  addClientFlags(
    program
      .command('get')
      .description('print points as JSON lines')
      .argument('<COLLECTION>')
      .argument('<ID...>')
      .option('--vector', 'print the vectors too')
      .option('--consistency <LEVEL>', 'linearizable, lease or stale', 'linearizable'),
  ).action((collection: string, ids: readonly string[], flags: ReadFlags) =>
    get(collection, ids, flags, io),
  );
  addClientFlags(
    program
      .command('search')
      .description('print the nearest points')
      .argument('<COLLECTION>')
      .option('--vector <JSON>', 'a JSON list of numbers')
      .option('--vector-file <FILE>', 'a file with a JSON list of numbers')
      .option('--like <ID>', 'the vector of this point')
      .option('-k, --k <N>', 'how many', '10')
      .option('--ef <N>', 'beam width of the graph search')
      .option('--exact', 'compare with every point')
      .option('--consistency <LEVEL>', 'linearizable, lease or stale', 'linearizable')
      .option('--json', 'the whole answer as one JSON document'),
  ).action((collection: string, flags: SearchFlags) => search(collection, flags, io));
}

function registerCollection(program: Command, io: CliIo): void {
  const collection = program
    .command('collection')
    .alias('collections')
    .description('create, list, rename, drop and restore collections');
  addClientFlags(
    collection
      .command('create')
      .description('create a collection')
      .argument('<NAME>')
      .requiredOption('--dimension <N>', 'of every vector')
      .option('--metric <METRIC>', 'l2, cosine or innerProduct', 'cosine')
      .option('--shards <N>', 'hash partitions')
      .option('--checksum <ALGORITHM>', 'of data files: crc32c, xxhash3 or sha256')
      .option('--if-not-exists', 'succeed when an equal collection exists'),
  ).action((name: string, flags: CreateFlags) => createCollection(name, flags, io));
  addClientFlags(
    collection
      .command('update')
      .description('change how files written from now on are checksummed')
      .argument('<NAME>')
      .requiredOption('--checksum <ALGORITHM>', 'crc32c, xxhash3 or sha256'),
  ).action((name: string, flags: UpdateFlags) => updateCollection(name, flags, io));
  addClientFlags(
    collection
      .command('list')
      .description('list the collections')
      .option('--include-deleted', 'dropped ones too, and those that are being restored'),
  ).action((flags: ListFlags) => listCollections(flags, io));
  addClientFlags(
    collection
      .command('drop')
      .description('drop a collection and its points')
      .argument('<NAME>')
      .option('--retention-ms <MS>', 'so long it can be restored; 0: not at all'),
  ).action((name: string, flags: DropFlags) => dropCollection(name, flags, io));
  registerCollectionCommands(collection, io);
}

async function updateCollection(name: string, flags: UpdateFlags, io: CliIo): Promise<void> {
  const checksumAlgorithm = checksumOf(flags.checksum);
  const { collection, index } = await withClient(flags, io, (client) =>
    client.updateCollection(name, { checksumAlgorithm }),
  );
  io.out(`collection ${collection.name}: ${collection.checksumAlgorithm} (log index ${index})\n`);
}

const checksumOf = (text: string): ChecksumAlgorithmName =>
  oneOf(text, CHECKSUM_ALGORITHMS, '--checksum') as ChecksumAlgorithmName;

async function createCollection(name: string, flags: CreateFlags, io: CliIo): Promise<void> {
  const { checksum, metric, shards, ifNotExists } = flags;
  const definition = {
    name,
    dimension: integerOption(flags.dimension, '--dimension', 1, 16_384),
    metric: oneOf(metric, METRICS, '--metric') as Metric,
    ...(shards === undefined ? {} : { shardCount: integerOption(shards, '--shards', 1, 64) }),
    ...(checksum === undefined ? {} : { checksumAlgorithm: checksumOf(checksum) }),
    ...(ifNotExists === undefined ? {} : { ifNotExists }),
  };
  const { collection, index } = await withClient(flags, io, (client) =>
    client.createCollection(definition),
  );
  io.out(
    `collection ${collection.name}: dimension ${collection.dimension}, ${collection.metric}, ` +
      `${collection.shardCount} shards (log index ${index})\n`,
  );
}

async function listCollections(flags: ListFlags, io: CliIo): Promise<void> {
  const { collections, hidden } = await withClient(flags, io, async (client) => ({
    collections: await client.listCollections(),
    hidden: flags.includeDeleted === true ? await client.collections.hidden() : null,
  }));
  const columns = [
    { title: 'NAME' },
    { title: 'DIMENSION', align: 'right' },
    { title: 'METRIC' },
    { title: 'SHARDS', align: 'right' },
    { title: 'CREATED AT', align: 'right' },
  ] as const;
  const rows = collections.map((collection) => [
    collection.name,
    String(collection.dimension),
    collection.metric,
    String(collection.shardCount),
    String(collection.createdIndex),
  ]);
  io.out(`${renderTable(columns, rows).join('\n')}\n`);
  if (hidden !== null) io.out(`\n${hiddenTable(hidden)}`);
}

async function dropCollection(name: string, flags: DropFlags, io: CliIo): Promise<void> {
  const { retentionMs } = flags;
  const options =
    retentionMs === undefined
      ? {}
      : { retentionMs: integerOption(retentionMs, '--retention-ms', 0, DROP_RETENTION_MS_MAX) };
  const { hidden, isDropped } = await withClient(flags, io, (client) =>
    client.dropCollection(name, options),
  );
  if (isDropped) {
    io.out(`collection ${name} dropped\n`);
    if (hidden === undefined) return;
    const { purgeAtMs, uid } = hidden;
    io.out(`until ${timeOf(purgeAtMs)}: holdfast collection restore ${uid}\n`);
    return;
  }
  throw new HoldfastError('COLLECTION_NOT_FOUND', `no collection is named ${name}`);
}

async function get(
  collection: string,
  texts: readonly string[],
  flags: ReadFlags,
  io: CliIo,
): Promise<void> {
  const ids = texts.map(parseId);
  const consistency = oneOf(flags.consistency, CONSISTENCIES, '--consistency') as Consistency;
  const { points } = await withClient(flags, io, (client) =>
    client
      .collection(collection)
      .getMany(ids, { consistency, withPayload: true, withVector: flags.vector === true }),
  );
  for (const { vector, ...point } of points) {
    const withVector = vector === undefined ? point : { ...point, vector: [...vector] };
    io.out(`${JSON.stringify(withVector)}\n`);
  }
  const missing = ids.filter((id) => !points.some((point) => point.id === id));
  if (missing.length === 0) return;
  io.err(`not found: ${missing.join(', ')}\n`);
  throw new ExitWith(EXIT_FAILED);
}

async function search(collection: string, flags: SearchFlags, io: CliIo): Promise<void> {
  const { like, ef, exact } = flags;
  const given = givenVector(flags);
  const consistency = oneOf(flags.consistency, CONSISTENCIES, '--consistency') as Consistency;
  const options = {
    k: integerOption(flags.k, '--k', 1, 10_000),
    ...(ef === undefined ? {} : { ef: integerOption(ef, '--ef', 1, 20_000) }),
    ...(exact === undefined ? {} : { exact }),
    ...{ withPayload: true, consistency },
  };
  const answer = await withClient(flags, io, async (client) => {
    const target = client.collection(collection);
    if (given !== null) return target.search(given, options);
    const point = await target.get(parseId(like ?? ''), { withVector: true, consistency });
    const vector = point?.vector;
    if (vector === undefined) {
      throw new HoldfastError('ARGUMENT_INVALID', `--like: ${collection} has no point ${like}`);
    }
    return target.search(vector, options);
  });
  if (flags.json === true) {
    io.out(`${JSON.stringify(answer)}\n`);
    return;
  }
  const columns = [
    { title: 'ID' },
    { title: 'SCORE', align: 'right' },
    { title: 'VERSION', align: 'right' },
    { title: 'PAYLOAD' },
  ] as const;
  const rows = answer.hits.map((hit) => [
    String(hit.id),
    hit.score.toFixed(6),
    String(hit.version),
    clip(JSON.stringify(hit.payload ?? {})),
  ]);
  io.out(`${renderTable(columns, rows).join('\n')}\n`);
  const degraded = answer.degraded.map(({ layer, shard }) => `${layer} of shard ${shard}`);
  if (degraded.length > 0) io.err(`degraded: ${degraded.join(', ')}\n`);
}

/** Null: the vector of --like is asked for later. */
function givenVector({ vector, vectorFile, like }: SearchFlags): Float32Array | null {
  const givenCount = [vector, vectorFile, like].filter((value) => value !== undefined).length;
  if (givenCount !== 1) throw new UsageError('search: give one of --vector, --vector-file, --like');
  if (like !== undefined) return null;
  const text = vector ?? readVectorFile(vectorFile ?? '');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Refused below with what is expected.
    value = null;
  }
  if (Array.isArray(value) && value.length > 0 && value.every(Number.isFinite)) {
    return Float32Array.from(value as number[]);
  }
  throw new UsageError('search: the vector must be a JSON list of finite numbers');
}

function readVectorFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('ARGUMENT_INVALID', `--vector-file: ${reason}`, { cause: error });
  }
}

/** Digits are a number, anything else is taken as a UUID and checked by the client. */
const parseId = (text: string): PointId => (/^\d+$/.test(text) ? Number(text) : text.toLowerCase());

function oneOf(text: string, allowed: readonly string[], name: string): string {
  if (allowed.includes(text)) return text;
  throw new UsageError(`${name}: must be ${allowed.join(', ')}, got '${text}'`);
}

const PAYLOAD_LENGTH_SHOWN = 80;

const clip = (text: string): string =>
  text.length <= PAYLOAD_LENGTH_SHOWN ? text : `${text.slice(0, PAYLOAD_LENGTH_SHOWN - 3)}...`;
