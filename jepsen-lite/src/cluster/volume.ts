/**
 * A file system of its own for the data of one node: one that can be full (tmpfs), or one that can
 * lose its power (ext4 on a loop file). Root is needed to mount. A power cut ends the file system
 * without flushing its journal, so what was not synced is really gone.
 */
import { execFile, execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface VolumeOptions {
  readonly kind: 'tmpfs' | 'ext4';
  readonly sizeBytes: number;
}

const COMMAND_TIMEOUT_MS = 60_000;
const BALLAST_NAME = 'ballast';
const BALLAST_PIECE_SIZE_BYTES = 256 * 1024;

/** Still mounted; let go of when this process ends in whatever way lets code run. */
const mounted = new Set<string>();
let isExitHookInstalled = false;

function unmountAtExit(mountPoint: string): void {
  mounted.add(mountPoint);
  if (isExitHookInstalled) return;
  isExitHookInstalled = true;
  process.once('exit', () => {
    // Lazily: a process that was killed a moment ago may still hold it.
    for (const path of mounted) execFileSync('umount', ['-l', path], { stdio: 'ignore' });
  });
}

export class Volume {
  readonly kind: VolumeOptions['kind'];
  readonly mountPoint: string;
  readonly #imagePath: string;
  readonly #sizeBytes: number;
  #isMounted = false;

  private constructor(home: string, { kind, sizeBytes }: VolumeOptions) {
    this.kind = kind;
    this.mountPoint = join(home, 'volume');
    this.#imagePath = join(home, 'volume.image');
    this.#sizeBytes = sizeBytes;
  }

  /** Makes it and mounts it below `home`. @throws Error with what the failing command said */
  static async make(home: string, options: VolumeOptions): Promise<Volume> {
    const volume = new Volume(home, options);
    mkdirSync(volume.mountPoint);
    if (options.kind === 'ext4') {
      closeSync(openSync(volume.#imagePath, 'w'));
      truncateSync(volume.#imagePath, options.sizeBytes);
      await command('mkfs.ext4', ['-q', '-F', '-m', '0', volume.#imagePath]);
    }
    await volume.mount();
    return volume;
  }

  async mount(): Promise<void> {
    if (this.#isMounted) return;
    const how =
      this.kind === 'tmpfs'
        ? ['-t', 'tmpfs', '-o', `size=${this.#sizeBytes}`, 'tmpfs']
        : ['-t', 'ext4', '-o', 'loop', this.#imagePath];
    await command('mount', [...how, this.mountPoint]);
    this.#isMounted = true;
    unmountAtExit(this.mountPoint);
  }

  /** No process may use it. */
  async unmount(): Promise<void> {
    if (!this.#isMounted) return;
    await command('umount', [this.mountPoint]);
    this.#isMounted = false;
    mounted.delete(this.mountPoint);
  }

  /** Takes all room but `leftBytes` away. Returns how much it took. */
  fill(leftBytes = 0): number {
    const file = openSync(join(this.mountPoint, BALLAST_NAME), 'a');
    const piece = Buffer.alloc(BALLAST_PIECE_SIZE_BYTES, 1);
    let takenBytes = 0;
    try {
      for (;;) {
        const { bavail, bsize } = statfsSync(this.mountPoint);
        const wantedBytes = Math.min(piece.byteLength, bavail * bsize - leftBytes);
        if (wantedBytes <= 0) return takenBytes;
        takenBytes += writeSync(file, piece, 0, wantedBytes);
      }
    } catch (error) {
      // The node was faster with the last piece.
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return takenBytes;
      throw error;
    } finally {
      closeSync(file);
    }
  }

  /** Gives the room back. */
  empty(): void {
    rmSync(join(this.mountPoint, BALLAST_NAME), { force: true });
  }

  /** Unmounts it, and removes what it was made of. */
  async remove(): Promise<void> {
    await this.unmount();
    rmSync(this.#imagePath, { force: true });
  }
}

/** The power of all these goes at one moment. They must be unmounted and mounted again. */
export async function cutPower(program: string, volumes: readonly Volume[]): Promise<void> {
  await command(
    program,
    volumes.map(({ mountPoint }) => mountPoint),
  );
}

async function command(name: string, commandArguments: readonly string[]): Promise<void> {
  await promisify(execFile)(name, [...commandArguments], { timeout: COMMAND_TIMEOUT_MS });
}
