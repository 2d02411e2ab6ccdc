// Disks of their own: one is really full, the other really loses what was not synced. Both need
// root; elsewhere the plan of a launch says so.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { compileNative } from '../src/cluster/native-program.ts';
import { makeScratchDirectory, removeScratchDirectory } from '../src/cluster/scratch-directory.ts';
import { cutPower, Volume } from '../src/cluster/volume.ts';
import { lookAtMachine, planLaunch } from '../src/nemesis/needs.ts';

// Real sockets, files and processes take as long as the machine lets them.
t.setTimeout(0);

const MIB = 1024 * 1024;
const directory = makeScratchDirectory('volume');
t.teardown(() => removeScratchDirectory(directory));

/** Null where this machine cannot: then the reason is what is tested. */
async function volumeOf(kind: 'tmpfs' | 'ext4', name: string): Promise<Volume | null> {
  const { missing, options } = planLaunch([{ volume: kind }], lookAtMachine());
  if (options.volume === undefined) {
    t.match(missing.join(), /run as root|install/);
    return null;
  }
  const home = join(directory, name);
  mkdirSync(home);
  const volume = await Volume.make(home, { kind, sizeBytes: 24 * MIB });
  t.teardown(() => volume.remove());
  return volume;
}

t.test('a filled volume refuses what needs room, and takes it when it is emptied', async (t) => {
  const volume = await volumeOf('tmpfs', 'full');
  if (volume === null) return;
  const path = join(volume.mountPoint, 'file');
  writeFileSync(path, Buffer.alloc(MIB));
  t.ok(volume.fill() >= 20 * MIB, 'nearly all of it was free');
  t.throws(() => writeFileSync(join(volume.mountPoint, 'other'), Buffer.alloc(MIB)), {
    code: 'ENOSPC',
  });
  t.equal(readFileSync(path).length, MIB, 'what was there stays');
  volume.empty();
  writeFileSync(path, Buffer.alloc(2 * MIB));
  t.equal(volume.fill(4 * MIB) > 10 * MIB, true);
  writeFileSync(join(volume.mountPoint, 'other'), Buffer.alloc(2 * MIB));
});

t.test('a power cut takes what was not synced from every volume, and nothing else', async (t) => {
  const volumes = [await volumeOf('ext4', 'left'), await volumeOf('ext4', 'right')];
  const cut = volumes.filter((volume) => volume !== null);
  if (cut.length < 2) return;
  const powerCut = await compileNative('power-cut.c', directory);
  for (const { mountPoint } of cut) {
    const file = openSync(join(mountPoint, 'synced'), 'w');
    writeSync(file, 'kept');
    fsyncSync(file);
    closeSync(file);
    const root = openSync(mountPoint, 'r');
    fsyncSync(root);
    closeSync(root);
    writeFileSync(join(mountPoint, 'in memory only'), 'lost');
  }
  await cutPower(powerCut, cut);
  for (const volume of cut) {
    t.throws(() => writeFileSync(join(volume.mountPoint, 'late'), 'x'), /EIO|EROFS/);
    await volume.unmount();
    await volume.mount();
    t.equal(readFileSync(join(volume.mountPoint, 'synced'), 'utf8'), 'kept');
    t.notOk(existsSync(join(volume.mountPoint, 'in memory only')), 'it is really gone');
  }
});
