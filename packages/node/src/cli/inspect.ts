/** `holdfast inspect` and `holdfast fsck`: reading a node's files without touching them. */
import { HoldfastError } from '@holdfast/base';
import {
  type Damage,
  describeWalFile,
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
    .description('check the blocks of a segment, manifest or meta file')
    .argument('<PATH>')
    .action((path: string) => inspectSegment(path, io));
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

function inspectSegment(path: string, io: CliIo): void {
  const fileSystem = existing(path);
  const damage = verifyChecksummedFile(fileSystem, path);
  io.out(`${path}: ${fileSystem.sizeBytes(path)} bytes\n`);
  report(damage, io);
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
