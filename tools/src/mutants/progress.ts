/**
 * What was found so far, kept after every mutant so that an interrupted run goes on where it was.
 * Findings belong to one state of compiled output and mutants: another state starts anew.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface Finding {
  readonly id: string;
  /** null: nothing killed it. */
  readonly killer: string | null;
  readonly detail: string;
  readonly seed: number | null;
  readonly seconds: number;
  /** Tests, or tries of one that depends on chance, that did not notice it before one did. */
  readonly triedCount: number;
  /** Of the mutant: with another text it is another one. Absent: all of them are in the digest. */
  readonly version?: string;
}

interface Saved {
  readonly digest: string;
  readonly baseline: Readonly<Record<string, number>>;
  readonly findings: readonly Finding[];
}

export class Progress {
  readonly #path: string;
  readonly #digest: string;
  readonly #baseline: Map<string, number>;
  readonly #findings: Map<string, Finding>;

  constructor(path: string, digest: string, isFresh: boolean) {
    this.#path = path;
    this.#digest = digest;
    const saved = isFresh ? null : readSaved(path);
    const isUsable = saved !== null && saved.digest === digest;
    this.#baseline = new Map(isUsable ? Object.entries(saved.baseline) : []);
    this.#findings = new Map(isUsable ? saved.findings.map((one) => [one.id, one]) : []);
  }

  /** Seconds the command takes without a mutant; undefined when it was not measured yet. */
  baselineSeconds(command: string): number | undefined {
    return this.#baseline.get(command);
  }

  noteBaseline(command: string, seconds: number): void {
    this.#baseline.set(command, seconds);
    this.#save();
  }

  /** Undefined when it was not looked for yet, or as another version. */
  finding(id: string, version?: string): Finding | undefined {
    const found = this.#findings.get(id);
    return found?.version === version ? found : undefined;
  }

  note(finding: Finding): void {
    this.#findings.set(finding.id, finding);
    this.#save();
  }

  #save(): void {
    const saved: Saved = {
      digest: this.#digest,
      baseline: Object.fromEntries(this.#baseline),
      findings: [...this.#findings.values()],
    };
    mkdirSync(dirname(this.#path), { recursive: true });
    writeFileSync(this.#path, `${JSON.stringify(saved, null, 2)}\n`);
  }
}

function readSaved(path: string): Saved | null {
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Saved;
  } catch (error) {
    // Cut off while it was written: start anew.
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/**
 * Stands for everything a finding depends on: compiled packages, golden scenarios, mutants.
 * `folders` are below `root`.
 */
export function digestOf(
  root: string,
  extra: string,
  folders: readonly string[] = ['packages'],
): string {
  const hash = createHash('sha256').update(extra);
  const visit = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort(byName)) {
      const path = join(folder, entry.name);
      if (entry.name === 'node_modules') continue;
      if (entry.isDirectory()) visit(path);
      else if (/\.(js|txt)$/.test(entry.name)) hash.update(path).update(readFileSync(path));
    }
  };
  for (const folder of folders) visit(join(root, folder));
  return hash.digest('hex');
}

const byName = (left: { name: string }, right: { name: string }): number =>
  left.name < right.name ? -1 : 1;
