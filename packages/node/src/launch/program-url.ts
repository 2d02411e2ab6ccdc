/**
 * Which compiled form of the program runs: the modules, or one file per thread that was bundled
 * from them. They behave alike; a start from the bundle saves the loading of some 400 modules, most
 * of what a start costs. The bundle is a cache: it is used only while every file that went into it
 * still has the size and the time of change that it had then, and without it all works the same.
 * It asks node:fs itself: to load the storage package first is what the bundle saves.
 */
import { readFileSync, statSync } from 'node:fs';

/** Relative to the folder of the compiled executable. */
const BUNDLE_FOLDER = '../bundle/';
const MODULES_PROGRAM = './program.js';
/** Written last, removed first: what a bundle was made from. */
export const BUNDLE_FACTS_FILE = 'bundle.json';
export const BUNDLE_PROGRAM_FILE = 'program.js';

/** One file that went into the bundle; the path is relative to the folder of the bundle. */
export interface BundleInput {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

export interface BundleFacts {
  readonly version: 1;
  readonly inputs: readonly BundleInput[];
}

/** @param executable URL of the compiled executable */
export function programUrl(executable: string): URL {
  const folder = new URL(BUNDLE_FOLDER, executable);
  return isBundleCurrent(folder)
    ? new URL(BUNDLE_PROGRAM_FILE, folder)
    : new URL(MODULES_PROGRAM, executable);
}

/** False also for anything that cannot be read or understood: then the modules are right. */
export function isBundleCurrent(folder: URL): boolean {
  try {
    const text = readFileSync(new URL(BUNDLE_FACTS_FILE, folder), 'utf8');
    const facts = JSON.parse(text) as Partial<BundleFacts>;
    if (facts.version !== 1 || !Array.isArray(facts.inputs) || facts.inputs.length === 0) {
      return false;
    }
    return facts.inputs.every((input: BundleInput) => {
      const found = statSync(new URL(input.path, folder));
      return found.size === input.sizeBytes && found.mtimeMs === input.modifiedMs;
    });
  } catch {
    // No bundle, or one that was made from other files: that is what the modules are for.
    return false;
  }
}
