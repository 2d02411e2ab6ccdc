/** `holdfast inspect` and `holdfast fsck`: reading a node's files without touching them. */
import { resolve } from 'node:path';
import { HoldfastError } from '@holdfast/base';
import type { LoadedManifest, RowDescription } from '@holdfast/shard-worker';
import {
  describeRowsFile,
  readManifestFile,
  readSidecar,
  verifyShardFiles,
} from '@holdfast/shard-worker';
import {
  type Damage,
  describeWalFile,
  digestChecksummedFile,
  findLockHolder,
  fsckDataDirectory,
  NodeFileSystem,
  verifyChecksummedFile,
} from '@holdfast/storage';
import type { Command } from 'commander';
import { type CliIo, EXIT_FAILED, ExitWith } from './io.ts';

export function registerInspect(program: Command, io: CliIo): void {
  const inspect = program.command('inspect').description('print what a file of a node holds');
  inspect
    .command('wal')
    .description('batches and records of a log file')
    .argument('<PATH>')
    .option('--json', 'one JSON document per line')
    .action((path: string, { json }: { readonly json?: boolean }) => inspectWal(path, json, io));
  inspect
    .command('segment')
    .description('rows of a segment or growing file, every checksum verified')
    .argument('<PATH>')
    .option('--json', 'one JSON document per line, with vectors')
    .action((path: string, { json }: JsonFlag) => inspectSegment(path, json === true, io));
  inspect
    .command('manifest')
    .description('segments and tombstones of a manifest; verifies every file it names')
    .argument('<PATH>')
    .option('--json', 'the manifest as one JSON document')
    .action((path: string, { json }: JsonFlag) => inspectManifest(path, json === true, io));
  inspect
    .command('blocks')
    .description('check the blocks of a segment, growing, manifest or meta file')
    .argument('<PATH>')
    .action((path: string) => inspectBlocks(path, io));
  inspect
    .command('graph')
    .description('what a saved graph is of, and whether it is whole (its .json or .graph file)')
    .argument('<PATH>')
    .action((path: string) => inspectGraph(path, io));
  program
    .command('fsck')
    .description("verify every checksum of a stopped node's data directory; changes nothing")
    .argument('<DIR>')
    .action((directory: string) => fsck(directory, io));
}

function inspectWal(path: string, isJson: boolean | undefined, io: CliIo): void {
  const fileSystem = existing(path);
  let damageCount = 0;
  for (const line of describeWalFile(fileSystem, path)) {
    if (line.kind === 'damage') damageCount += 1;
    if (isJson === true) {
      io.out(`${JSON.stringify(line)}\n`);
      continue;
    }
    const indent = line.kind === 'record' ? '  ' : '';
    const fields = Object.entries(line.fields)
      .map(
        ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
      )
      .join(' ');
    const mark = line.kind === 'damage' ? 'DAMAGE ' : '';
    io.out(`${String(line.offset).padStart(10)}  ${indent}${mark}${line.what} ${fields}`.trimEnd());
    io.out('\n');
  }
  if (damageCount > 0) throw new ExitWith(EXIT_FAILED);
}

interface JsonFlag {
  readonly json?: boolean;
}

const TEXT = new TextDecoder();
/** Longer payloads are cut in the listing for people. */
const PAYLOAD_LENGTH_SHOWN = 60;

/** Blocks first: rows are printed only when every block is what it was. */
function inspectSegment(path: string, isJson: boolean, io: CliIo): void {
  const fileSystem = existing(path);
  const damage = verifyChecksummedFile(fileSystem, path);
  if (damage.length > 0) {
    report(damage, io);
    return;
  }
  const header = describeRowsFile(fileSystem, path, (row) => {
    const payload = row.payload === null ? null : TEXT.decode(row.payload);
    io.out(`${isJson ? rowJson(row, payload) : rowLine(row, payload)}\n`);
  });
  const { dimension, rowCount, shard, uid } = header;
  if (isJson) {
    io.out(`${JSON.stringify({ ...header, sizeBytes: fileSystem.sizeBytes(path) })}\n`);
    return;
  }
  io.out(
    `collection ${uid}, shard ${shard}: ${rowCount} rows of dimension ${dimension}, ` +
      `${fileSystem.sizeBytes(path)} bytes\n`,
  );
  report([], io);
}

function rowLine(row: RowDescription, payload: string | null): string {
  const time = new Date(row.timestampMs).toISOString();
  const shown = payload === null ? 'no payload' : payload.slice(0, PAYLOAD_LENGTH_SHOWN);
  const place = String(row.position).padStart(8);
  return `${place}  id=${row.id} version=${row.version} time=${time} hash=${row.hash} ${shown}`;
}

function rowJson(row: RowDescription, payload: string | null): string {
  return JSON.stringify({ ...row, vector: [...row.vector], payload });
}

function inspectManifest(path: string, isJson: boolean, io: CliIo): void {
  const fileSystem = existing(path);
  const loaded = readManifestFile(fileSystem, path);
  const { manifest, tombstones } = loaded;
  if (isJson) {
    io.out(`${JSON.stringify({ ...manifest, tombstones })}\n`);
  } else {
    const { appliedIndex, digest, growing, liveRowCount, segments, shard, uid } = manifest;
    io.out(`collection ${uid}, shard ${shard} at log index ${appliedIndex}\n`);
    io.out(`${liveRowCount} live rows, digest ${digest}\n`);
    for (const segment of segments) io.out(`${segmentLine(segment)}\n`);
    const file = growing.file === null ? 'no file' : growing.file.path;
    io.out(`growing: ${growing.liveRowCount} live of ${growing.rowCount} rows, ${file}\n`);
  }
  report(damageOf(fileSystem, path, loaded), io);
}

function segmentLine(segment: LoadedManifest['manifest']['segments'][number]): string {
  const { checksumAlgorithm, ordinal, rowCount, sizeBytes, tombstoneCount } = segment;
  return (
    `segment ${ordinal}: ${rowCount} rows, ${tombstoneCount} dead, ${sizeBytes} bytes, ` +
    `${checksumAlgorithm}, sha256 ${segment.checksum}`
  );
}

/** Of the files that it names, which lie where a data directory has them. */
function damageOf(
  fileSystem: NodeFileSystem,
  path: string,
  loaded: LoadedManifest,
): readonly Damage[] {
  const { shard, uid } = loaded.manifest;
  const parts = resolve(path).split('/');
  const dataDirectory = parts.slice(0, -4).join('/');
  const manifestPath = parts.slice(-4).join('/');
  const checksum = digestChecksummedFile(fileSystem, path);
  const reference = { uid, shard, manifestPath, checksum };
  const steps = verifyShardFiles(fileSystem, dataDirectory, reference, loaded);
  for (;;) {
    const step = steps.next();
    if (step.done !== true) continue;
    return step.value.map(({ offset, path: file, what }) => ({
      ...{ file, offset, what, severity: 'damage' as const },
    }));
  }
}

function inspectBlocks(path: string, io: CliIo): void {
  const fileSystem = existing(path);
  const damage = verifyChecksummedFile(fileSystem, path);
  io.out(`${path}: ${fileSystem.sizeBytes(path)} bytes\n`);
  report(damage, io);
}

function inspectGraph(path: string, io: CliIo): void {
  const base = path.replace(/\.(json|graph)$/, '');
  const sidecarPath = `${base}.json`;
  const graphPath = `${base}.graph`;
  const fileSystem = existing(sidecarPath);
  const sidecar = readSidecar(fileSystem, sidecarPath);
  for (const [name, value] of Object.entries(sidecar)) io.out(`${name.padEnd(16)}${value}\n`);
  const found = [...verifyChecksummedFile(existing(graphPath), graphPath)];
  if (found.length === 0 && digestChecksummedFile(fileSystem, graphPath) !== sidecar.checksum) {
    const what = 'is not the file that its sidecar was written for';
    found.push({ file: graphPath, offset: 0, what, severity: 'damage' });
  }
  report(found, io);
}

function fsck(directory: string, io: CliIo): void {
  const fileSystem = existing(directory);
  const holder = findLockHolder(fileSystem, directory);
  if (holder !== null) {
    const message = `process ${holder} uses ${directory}: stop the node first`;
    throw new HoldfastError('DATA_DIR_LOCKED', message, { details: { directory, pid: holder } });
  }
  report(fsckDataDirectory(fileSystem, directory), io);
}

/** A torn tail and leftovers are what a crash leaves; only damage makes the command fail. */
function report(found: readonly Damage[], io: CliIo): void {
  for (const { file, offset, what, severity } of found) {
    const place = offset === null ? file : `${file} at ${offset}`;
    io.out(`${severity}: ${place}: ${what}\n`);
  }
  const damageCount = found.filter(({ severity }) => severity === 'damage').length;
  if (damageCount === 0) {
    io.out('no damage found\n');
    return;
  }
  io.out(`${damageCount} damaged ${damageCount === 1 ? 'place' : 'places'} found\n`);
  throw new ExitWith(EXIT_FAILED);
}

function existing(path: string): NodeFileSystem {
  const fileSystem = new NodeFileSystem();
  if (fileSystem.exists(path)) return fileSystem;
  throw new HoldfastError('ARGUMENT_INVALID', `${path} does not exist`);
}
