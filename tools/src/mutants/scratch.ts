/**
 * A copy of the workspace's compiled output in which one file at a time is replaced by a mutant.
 * Files are hard links where the disk allows it; sources are linked, as tests read fixtures there.
 * Packages find each other inside the copy, so a mutant in raft is seen by the tests of node.
 */
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { applyMutant, type PlantedBug } from './mutant.ts';

const PACKAGES = ['base', 'raft', 'storage', 'protocol', 'shard-worker', 'client', 'node'];

export class Scratch {
  readonly root: string;
  readonly #origin: string;
  #patched: string | null = null;

  /** `origin` is the root of the checkout; it is never written to. */
  constructor(origin: string) {
    this.#origin = origin;
    this.root = realpathSync(mkdtempSync(join(tmpdir(), 'holdfast-mutants-')));
    symlinkSync(join(origin, 'node_modules'), join(this.root, 'node_modules'));
    cpSync(join(origin, 'package.json'), join(this.root, 'package.json'));
    for (const name of PACKAGES) this.#copyPackage(join('packages', name));
    this.#copyPackage('jepsen-lite');
  }

  /** Puts the mutant in place of its file. Throws when it does not fit the compiled text. */
  patch(mutant: PlantedBug): void {
    this.restore();
    const mutated = applyMutant(mutant, readFileSync(join(this.#origin, mutant.file), 'utf8'));
    if (mutated === null)
      throw new Error(
        `mutant ${mutant.id}: its text is not exactly once in ${mutant.file}; ` +
          'write it anew for the present code',
      );
    const target = join(this.root, mutant.file);
    // A new file: writing through the hard link would change the checkout.
    rmSync(target);
    writeFileSync(target, mutated);
    this.#patched = mutant.file;
  }

  restore(): void {
    if (this.#patched === null) return;
    const target = join(this.root, this.#patched);
    rmSync(target);
    cpSync(join(this.#origin, this.#patched), target);
    this.#patched = null;
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  #copyPackage(folder: string): void {
    const from = join(this.#origin, folder);
    const to = join(this.root, folder);
    mkdirSync(to, { recursive: true });
    for (const name of readdirSync(from)) {
      if (name === 'dist') linkTree(join(from, name), join(to, name));
      else if (name === 'node_modules') this.#linkDependencies(from, to);
      else if (name === 'package.json') cpSync(join(from, name), join(to, name));
      else symlinkSync(join(from, name), join(to, name));
    }
  }

  #linkDependencies(from: string, to: string): void {
    for (const name of readdirSync(join(from, 'node_modules'))) {
      const source = join(from, 'node_modules', name);
      const target = join(to, 'node_modules', name);
      mkdirSync(dirname(target), { recursive: true });
      if (name !== '@holdfast') {
        symlinkSync(realpathSync(source), target);
        continue;
      }
      mkdirSync(target);
      for (const own of readdirSync(source)) {
        const inCopy = join(this.root, 'packages', own);
        const isCopied = PACKAGES.includes(own);
        symlinkSync(isCopied ? inCopy : realpathSync(join(source, own)), join(target, own));
      }
    }
  }
}

function linkTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, basename(entry.name));
    if (entry.isDirectory()) linkTree(source, target);
    else linkOrCopy(source, target);
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    linkSync(source, target);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'EMLINK') throw error;
    if (!existsSync(target)) cpSync(source, target);
  }
}
