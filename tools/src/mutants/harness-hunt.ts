/**
 * Looks whether the harness catches a planted bug: its killer on unchanged output first, which must
 * be valid, then with the bug. A run on real processes depends on the timing of the machine, so it
 * is tried a few times, each with a seed of its own; a simulated one repeats byte for byte.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  describeKiller,
  type HarnessMutant,
  type Judgement,
  judge,
  killerAt,
} from './harness-killers.ts';
import { BaselineFailure } from './hunt.ts';
import { commandOf } from './killers.ts';
import type { Finding, Progress } from './progress.ts';
import { runKiller } from './run-killer.ts';
import type { Scratch } from './scratch.ts';

/** Of a run on real processes; it must show in most of these, or the killer is a bad one. */
const TRY_COUNT_MAX = 3;
/**
 * A bug may keep a cluster from coming up or from healing: the harness then gives up by itself, and
 * a machine that is busy makes everything slow. Beyond this it does not come to an end.
 */
const SECONDS_MAX = 900;

export interface HuntPlace {
  readonly scratch: Scratch;
  readonly progress: Progress;
  /** Runs are kept below, by mutant: what was printed, a page each, no data directories. */
  readonly storeDirectory: string;
  /** Told of every try. */
  readonly say: (line: string) => void;
}

/** @throws BaselineFailure when the killer finds something without any bug */
export async function huntInHarness(mutant: HarnessMutant, place: HuntPlace): Promise<Finding> {
  await checkBaseline(mutant, place);
  const startedAt = performance.now();
  place.scratch.patch(mutant);
  const tryCount = mutant.killer.kind === 'cluster' ? TRY_COUNT_MAX : 1;
  let last = 'nothing noticed it';
  for (let attempt = 0; attempt < tryCount; attempt++) {
    const judgement = await once(mutant, attempt, mutant.id, place);
    if (judgement.kind === 'caught') {
      const { checker, reason, seed } = judgement;
      const detail = `${checker}: ${reason}`;
      return findingOf(mutant, startedAt, { detail, isCaught: true, seed, triedCount: attempt });
    }
    last = judgement.reason;
    place.say(`${mutant.id}: not caught: ${last}`);
  }
  const facts = { detail: last, isCaught: false, seed: null, triedCount: tryCount };
  return findingOf(mutant, startedAt, facts);
}

function findingOf(
  { id, killer }: HarnessMutant,
  startedAt: number,
  facts: Pick<Finding, 'detail' | 'seed' | 'triedCount'> & { readonly isCaught: boolean },
): Finding {
  const { detail, isCaught, seed, triedCount } = facts;
  const seconds = (performance.now() - startedAt) / 1_000;
  return {
    ...{ id, detail, seed, triedCount, seconds },
    killer: isCaught ? describeKiller(killer) : null,
  };
}

/** Once per command: two mutants with one killer share it. */
async function checkBaseline(mutant: HarnessMutant, place: HuntPlace): Promise<void> {
  const { killer } = mutant;
  const command = commandOf(killerAt(killer, 0, ''));
  const { progress, say, scratch } = place;
  if (progress.baselineSeconds(command) !== undefined) return;
  scratch.restore();
  const tryCount = killer.kind === 'cluster' ? TRY_COUNT_MAX : 1;
  let last = '';
  for (let attempt = 0; attempt < tryCount; attempt++) {
    const startedAt = performance.now();
    const judgement = await once(mutant, attempt, 'baseline', place);
    const seconds = (performance.now() - startedAt) / 1_000;
    const name = `baseline of ${describeKiller(killer)}`;
    if (judgement.kind === 'missed' && judgement.isValid) {
      progress.noteBaseline(command, seconds);
      say(`${name}: valid (${seconds.toFixed(1)} s)`);
      return;
    }
    last = judgement.reason;
    say(`${name}: ${last}`);
    // A busy machine may make a run unknown; an invalid one is never repeated away.
    if (judgement.kind === 'caught') break;
  }
  throw new BaselineFailure(`${command} is not valid without any mutant: ${last}`);
}

async function once(
  { killer }: HarnessMutant,
  attempt: number,
  name: string,
  { scratch, storeDirectory }: HuntPlace,
): Promise<Judgement> {
  const store = join(storeDirectory, name);
  mkdirSync(store, { recursive: true });
  const run = await runKiller(killerAt(killer, attempt, store), scratch.root, SECONDS_MAX);
  writeFileSync(join(store, `try-${attempt + 1}.txt`), run.output);
  forgetData(store);
  return judge(killer, run, attempt);
}

/** What a node made of its files is of no use when its program was broken on purpose. */
function forgetData(store: string): void {
  for (const entry of readdirSync(store, { withFileTypes: true })) {
    const path = join(store, entry.name, 'data');
    if (entry.isDirectory()) rmSync(path, { recursive: true, force: true });
  }
}
