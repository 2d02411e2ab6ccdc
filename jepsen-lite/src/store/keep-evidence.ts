/**
 * What the nodes leave behind: their logs of every run, their data directories of a bad one. The
 * nodes must have ended; a copy of files that are written to would be evidence of nothing.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { cp, mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { assert } from '@holdfast/base';

/** The end of a log is what a reader wants of a node that said too much. */
const LOG_SIZE_BYTES_MAX = 32 << 20;

/** Copies the logs of nodes to `logs/`; of a very long one the end. A missing one is an error. */
export async function keepLogs(
  runDirectory: string,
  pathByNode: Readonly<Record<string, string>>,
): Promise<void> {
  await mkdir(join(runDirectory, 'logs'), { recursive: true });
  for (const [nodeName, path] of Object.entries(pathByNode)) {
    const { size } = await stat(path);
    const start = Math.max(0, size - LOG_SIZE_BYTES_MAX);
    const target = join(runDirectory, 'logs', `${plainName(nodeName)}.log`);
    await pipeline(createReadStream(path, { start }), createWriteStream(target));
  }
}

/**
 * Moves data directories of ended nodes to `data/`; between file systems they are copied and then
 * removed, in this order.
 */
export async function keepDataDirectories(
  runDirectory: string,
  pathByNode: Readonly<Record<string, string>>,
): Promise<void> {
  await mkdir(join(runDirectory, 'data'), { recursive: true });
  for (const [nodeName, path] of Object.entries(pathByNode)) {
    await moveDirectory(path, join(runDirectory, 'data', plainName(nodeName)));
  }
}

async function moveDirectory(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EXDEV') throw thrown;
    await cp(from, to, { recursive: true, errorOnExist: true, force: false });
    await rm(from, { recursive: true });
  }
}

function plainName(nodeName: string): string {
  assert(/^\w[\w.-]*$/.test(nodeName), 'the name of a node must be fit for a file', { nodeName });
  return nodeName;
}
