/**
 * What every FileSystem must do, as cases without a test framework: each gets a fresh, empty
 * directory and reports through `expect`. Run against the real one and every double.
 */
import type { HoldfastError } from '@holdfast/base';
import type { FileSystem } from '../fs.ts';
import { isFileIoError, joinPath } from '../fs.ts';

export type Expect = (isTrue: boolean, what: string) => void;

export interface ConformanceCase {
  readonly title: string;
  readonly run: (fileSystem: FileSystem, directory: string, expect: Expect) => void;
}

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

function readText(fileSystem: FileSystem, path: string): string {
  const handle = fileSystem.open(path, 'read');
  try {
    const bytes = new Uint8Array(handle.sizeBytes());
    handle.read(bytes, 0);
    return Buffer.from(bytes).toString();
  } finally {
    handle.close();
  }
}

function writeText(fileSystem: FileSystem, path: string, text: string): void {
  const handle = fileSystem.open(path, 'createNew');
  handle.write([bytesOf(text)], 0);
  handle.sync();
  handle.close();
}

function failsWith(body: () => void, code: string, expect: Expect, what: string): void {
  let error: unknown = null;
  try {
    body();
  } catch (thrown) {
    error = thrown;
  }
  expect(isFileIoError(error, code), `${what} fails with FILE_IO ${code}`);
  if (!isFileIoError(error, code)) return;
  const { path, operation, errno } = (error as HoldfastError).details;
  const hasFacts = typeof path === 'string' && typeof operation === 'string';
  expect(hasFacts && typeof errno === 'number', `${what} names path, operation and errno`);
}

export const fileSystemConformance: readonly ConformanceCase[] = [
  {
    title: 'chunks are written one after another at the position, holes read as zeros',
    run(fileSystem, directory, expect) {
      const handle = fileSystem.open(joinPath(directory, 'f'), 'createNew');
      handle.write([bytesOf('ab'), new Uint8Array(0), bytesOf('cd')], 3);
      handle.datasync();
      expect(handle.sizeBytes() === 7, 'size covers the hole');
      const target = new Uint8Array(10).fill(9);
      expect(handle.read(target, 0) === 7, 'a read ends at the end of the file');
      const text = Buffer.from(target).toString('latin1');
      expect(text === '\0\0\0abcd\t\t\t', 'content is right and the rest untouched');
      expect(handle.read(target, 7) === 0, 'a read at the end is empty');
      handle.close();
    },
  },
  {
    title: 'more chunks than one system call takes are all written',
    run(fileSystem, directory, expect) {
      const path = joinPath(directory, 'f');
      const handle = fileSystem.open(path, 'createNew');
      const chunks = Array.from({ length: 3000 }, (_, i) => bytesOf(`${i},`));
      handle.write(chunks, 0);
      handle.close();
      expect(readText(fileSystem, path) === Buffer.concat(chunks).toString(), 'all are there');
    },
  },
  {
    title: 'createNew refuses an existing name, the other modes need one',
    run(fileSystem, directory, expect) {
      const path = joinPath(directory, 'f');
      failsWith(() => fileSystem.open(path, 'read'), 'ENOENT', expect, 'read of nothing');
      failsWith(() => fileSystem.open(path, 'readWrite'), 'ENOENT', expect, 'write of nothing');
      writeText(fileSystem, path, 'x');
      failsWith(() => fileSystem.open(path, 'createNew'), 'EEXIST', expect, 'creating again');
      const below = joinPath(directory, 'no', 'f');
      failsWith(() => fileSystem.open(below, 'createNew'), 'ENOENT', expect, 'a missing directory');
    },
  },
  {
    title: 'truncate cuts and extends with zeros',
    run(fileSystem, directory, expect) {
      const path = joinPath(directory, 'f');
      const handle = fileSystem.open(path, 'createNew');
      handle.write([bytesOf('x'.repeat(2000))], 0);
      handle.truncate(3);
      handle.truncate(1500);
      handle.sync();
      handle.close();
      expect(readText(fileSystem, path) === `xxx${'\0'.repeat(1497)}`, 'old bytes are gone');
      expect(fileSystem.sizeBytes(path) === 1500, 'size is seen by path');
    },
  },
  {
    title: 'rename replaces, link adds a name, remove takes one away',
    run(fileSystem, directory, expect) {
      const [a, b, c] = ['a', 'b', 'c'].map((name) => joinPath(directory, name)) as [
        string,
        string,
        string,
      ];
      writeText(fileSystem, a, 'first');
      writeText(fileSystem, b, 'second');
      fileSystem.rename(a, b);
      expect(!fileSystem.exists(a) && readText(fileSystem, b) === 'first', 'rename replaced');
      fileSystem.link(b, c);
      failsWith(() => fileSystem.link(b, c), 'EEXIST', expect, 'linking over a name');
      fileSystem.remove(b);
      expect(readText(fileSystem, c) === 'first', 'the other name keeps the bytes');
      failsWith(() => fileSystem.remove(b), 'ENOENT', expect, 'removing nothing');
      failsWith(() => fileSystem.rename(b, a), 'ENOENT', expect, 'renaming nothing');
      fileSystem.syncDirectory(directory);
    },
  },
  {
    title: 'a removed file can be read through a handle that was open',
    run(fileSystem, directory, expect) {
      const path = joinPath(directory, 'f');
      writeText(fileSystem, path, 'still here');
      const handle = fileSystem.open(path, 'read');
      fileSystem.remove(path);
      const bytes = new Uint8Array(10);
      handle.read(bytes, 0);
      expect(Buffer.from(bytes).toString() === 'still here', 'bytes are there');
      handle.close();
    },
  },
  {
    title: 'directories are made with their ancestors, listed in order, removed as trees',
    run(fileSystem, directory, expect) {
      const deep = joinPath(directory, 'x', 'y', 'z');
      fileSystem.makeDirectory(deep);
      fileSystem.makeDirectory(deep);
      for (const name of ['b', 'a', 'B', '10', '9'])
        writeText(fileSystem, joinPath(deep, name), '');
      expect(fileSystem.list(deep).join() === '10,9,B,a,b', 'names are sorted by code unit');
      expect(fileSystem.isDirectory(deep), 'it is a directory');
      expect(!fileSystem.isDirectory(joinPath(deep, 'a')), 'a file is none');
      expect(!fileSystem.isDirectory(joinPath(deep, 'none')), 'nothing is none');
      failsWith(() => fileSystem.list(joinPath(deep, 'none')), 'ENOENT', expect, 'listing nothing');
      fileSystem.removeTree(joinPath(directory, 'x'));
      fileSystem.removeTree(joinPath(directory, 'x'));
      expect(!fileSystem.exists(joinPath(directory, 'x')), 'the tree is gone');
    },
  },
  {
    title: 'a closed handle may be closed again, and free space is a number',
    run(fileSystem, directory, expect) {
      const handle = fileSystem.open(joinPath(directory, 'f'), 'createNew');
      handle.close();
      handle.close();
      expect(fileSystem.freeBytes(directory) > 0, 'there is free space');
    },
  },
];
