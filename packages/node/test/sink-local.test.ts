/** A folder as a store of backups: the suite of all sinks, then what only folders have. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { LocalSink } from '../src/backup/sinks/local-sink.ts';
import { bytesSource } from '../src/backup/sinks/sink.ts';
import { PatternSource } from '../src/backup/testing/pattern-source.ts';
import { keysOf } from '../src/backup/testing/sink-conformance.ts';
import { runSinkSuite, TEST_ENVIRONMENT } from './support/sink-suite.ts';

const root = mkdtempSync(join(tmpdir(), 'holdfast-sink-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

const canMount = process.platform === 'linux' && process.getuid?.() === 0;
const MIB = 1024 * 1024;
const text = (content: string) => bytesSource(Buffer.from(content));

function folderSink(name: string, options: { isMountRequired?: boolean } = {}) {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  // so few names at a time that a listing reads folders more than once
  const sink = new LocalSink(
    { folder, isMountRequired: options.isMountRequired ?? false, listPageCountMax: 300 },
    TEST_ENVIRONMENT,
  );
  const leftovers = () => {
    const temporary = join(folder, '.temporary');
    return existsSync(temporary) ? readdirSync(temporary) : [];
  };
  return { sink, folder, leftovers };
}

t.test('a folder passes the suite of sinks', async (t) => {
  const { sink, folder, leftovers } = folderSink('suite');
  runSinkSuite(t, () => ({
    sink,
    ...{ largeWriterCount: 5, objectCount: 2_500, leftovers: async () => leftovers() },
    damage: async (key, how) => {
      const path = join(folder, `${key}.object`);
      const bytes = readFileSync(path);
      if (how === 'cut') return truncateSync(path, bytes.byteLength - 1_000);
      bytes[100_000] = (bytes[100_000] ?? 0) ^ 4;
      writeFileSync(path, bytes);
    },
  }));
});

t.test('every changed byte of a small object is noticed, its digest included', async (t) => {
  const { sink, folder } = folderSink('flips');
  await sink.put('one', text('content'), { ifAbsent: true });
  const path = join(folder, 'one.object');
  const good = readFileSync(path);
  for (let at = 0; at < good.byteLength; at++) {
    const bad = Buffer.from(good);
    bad[at] = (bad[at] ?? 0) ^ 1;
    writeFileSync(path, bad);
    await t.rejects(sink.get('one', 100), { code: 'BACKUP_CORRUPT' }, `byte ${at}`);
  }
  for (let size = 0; size < good.byteLength; size++) {
    writeFileSync(path, good.subarray(0, size));
    await t.rejects(sink.get('one', 100), { code: 'BACKUP_CORRUPT' }, `${size} bytes`);
  }
  writeFileSync(path, Buffer.concat([good, good]));
  await t.rejects(sink.get('one', 100), { code: 'BACKUP_CORRUPT' }, 'twice the file');
});

t.test('files of a crash are removed once they are a day old, younger ones are not', async (t) => {
  const { folder, leftovers } = folderSink('crash');
  const temporary = join(folder, '.temporary');
  mkdirSync(temporary);
  writeFileSync(join(temporary, 'old'), 'half');
  const yesterday = (Date.now() - 25 * 3_600_000) / 1_000;
  utimesSync(join(temporary, 'old'), yesterday, yesterday);
  writeFileSync(join(temporary, 'young'), 'of another node that is writing');
  const { sink } = folderSink('crash');
  await sink.put('one', text('1'), { ifAbsent: true });
  t.same(leftovers(), ['young']);
  t.same(await keysOf(sink, ''), ['one'], 'none of them is listed');
  t.equal(await sink.removeAbandoned(0), 1);
  t.same(leftovers(), []);
});

t.test('what others put into the folder is neither listed nor touched', async (t) => {
  const { sink, folder } = folderSink('foreign');
  await sink.put('a/one', text('1'), { ifAbsent: true });
  writeFileSync(join(folder, 'README.txt'), 'a note');
  writeFileSync(join(folder, 'a', 'Ünfug.object'), 'odd');
  mkdirSync(join(folder, 'lost+found'));
  t.same(await keysOf(sink, ''), ['a/one']);
});

t.test('a folder that is not there is refused with the next step', async (t) => {
  const { sink, folder } = folderSink('gone');
  rmSync(folder, { recursive: true });
  const put = sink.put('one', text('1'), { ifAbsent: true });
  await t.rejects(put, { code: 'SINK_REFUSED', message: /create it, or mount/ });
  await t.rejects(keysOf(sink, ''), { code: 'SINK_REFUSED' });
  t.notOk(existsSync(folder), 'it is not made: the disk below a missing mount would fill up');
});

t.test('a folder that must be a mount and is none is refused', async (t) => {
  const { sink } = folderSink('unmounted', { isMountRequired: true });
  const put = sink.put('one', text('1'), { ifAbsent: true });
  await t.rejects(put, { code: 'SINK_REFUSED', message: /nothing is mounted/ });
});

t.test(
  'a full disk is told as such, keeps what was there, and takes objects again with room',
  { skip: canMount ? false : 'mounting a file system of a given size takes root on Linux' },
  async (t) => {
    const disk = join(root, 'small-disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk]);
    t.teardown(() => execFileSync('umount', [disk]));
    const options = { folder: disk, isMountRequired: true };
    const sink = new LocalSink(options, TEST_ENVIRONMENT);
    await sink.put('kept', new PatternSource(1, 5 * MIB), { ifAbsent: true });
    for (const ifAbsent of [true, false]) {
      const put = sink.put('more', new PatternSource(2, 5 * MIB), { ifAbsent });
      await t.rejects(put, { code: 'SINK_FULL', message: /free space/ });
    }
    t.same(await keysOf(sink, ''), ['kept']);
    t.same(readdirSync(join(disk, '.temporary')), [], 'nothing half written fills it');
    await sink.remove(['kept']);
    t.equal(await sink.put('more', new PatternSource(2, 5 * MIB), { ifAbsent: true }), 'stored');
  },
);
