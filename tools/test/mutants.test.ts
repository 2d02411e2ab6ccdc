// The mutants fit the code as it is compiled now, and the runner tells a dead mutant from a live
// one. Whether every mutant is killed is for `npm run sim:mutants`: that takes minutes.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { MUTANTS } from '../src/mutants/all-mutants.ts';
import { killersOf } from '../src/mutants/killers.ts';
import { applyMutant, type Mutant } from '../src/mutants/mutant.ts';
import { closingLine, reportOf } from '../src/mutants/report.ts';
import { runKiller } from '../src/mutants/run-killer.ts';
import { Scratch } from '../src/mutants/scratch.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const MUTANT_COUNT_MIN = 25;

const mutantNamed = (id: string): Mutant => {
  const found = MUTANTS.find((one) => one.id === id);
  if (found === undefined) throw new Error(`no mutant ${id}`);
  return found;
};

t.test('every mutant fits the compiled text exactly once and changes it', async (t) => {
  t.ok(MUTANTS.length >= MUTANT_COUNT_MIN, `${MUTANTS.length} mutants`);
  t.equal(new Set(MUTANTS.map(({ id }) => id)).size, MUTANTS.length, 'ids are unique');
  for (const mutant of MUTANTS) {
    const mutated = applyMutant(mutant, readFileSync(join(ROOT, mutant.file), 'utf8'));
    t.ok(mutated !== null, `${mutant.id} fits ${mutant.file}`);
    t.not(mutant.find, mutant.replace, `${mutant.id} changes something`);
  }
});

t.test('a mutant changes behaviour only: it adds no throw, assertion or log line', async (t) => {
  for (const { id, find, replace } of MUTANTS)
    for (const word of ['throw', 'assert', 'console', 'logger', 'process'])
      t.ok(replace.split(word).length <= find.split(word).length, `${id} adds no ${word}`);
});

t.test('every mutant has tests that may kill it, and all of them exist', async (t) => {
  for (const { file } of MUTANTS) {
    const killers = killersOf(file);
    t.ok(killers.length > 0, file);
    for (const killer of killers) t.ok(existsSync(join(ROOT, killer.file)), killer.file);
  }
});

t.test('a test passes in the copy as it is, and fails there with a mutant', async (t) => {
  const scratch = new Scratch(ROOT);
  t.teardown(() => scratch.remove());
  const killer = { file: 'packages/raft/dist/test/tables.test.js', isSeeded: false };
  const secondsMax = 600;
  const clean = await runKiller(killer, scratch.root, secondsMax);
  t.match(clean, { outcome: 'passed' });
  const mutant = mutantNamed('longer-log-wins');
  const original = readFileSync(join(ROOT, mutant.file), 'utf8');
  scratch.patch(mutant);
  const sick = await runKiller(killer, scratch.root, secondsMax);
  t.match(sick, { outcome: 'failed', detail: /^case 2: who voted for whom/ });
  t.equal(readFileSync(join(ROOT, mutant.file), 'utf8'), original, 'the checkout is untouched');
  scratch.restore();
  t.match(await runKiller(killer, scratch.root, secondsMax), { outcome: 'passed' });
});

t.test('a mutant whose text is gone stops the run instead of surviving', async (t) => {
  const scratch = new Scratch(ROOT);
  t.teardown(() => scratch.remove());
  const mutant = { ...mutantNamed('longer-log-wins'), find: 'no such text' };
  t.throws(() => scratch.patch(mutant), { message: /not exactly once in .*raft-log\.js/ });
});

t.test('the report names bug, origin, killer and seeds, and who is still alive', async (t) => {
  const mutants = [mutantNamed('longer-log-wins'), mutantNamed('commit-by-counting')];
  const findings = [
    {
      id: 'longer-log-wins',
      killer: 'packages/raft/dist/test/simulation.test.js',
      detail: 'seed 4 broke',
      seed: 4,
      seconds: 2,
      triedCount: 3,
    },
    {
      id: 'commit-by-counting',
      killer: null,
      detail: 'nothing noticed it',
      seed: null,
      seconds: 9,
      triedCount: 13,
    },
  ];
  const report = reportOf(mutants, findings);
  t.match(report, /longer-log-wins .*openraft.*simulation\.test: seed 4 broke, 4 seeds/);
  t.match(report, /commit-by-counting .*survives/);
  t.equal(
    closingLine(mutants, findings),
    '1 of 2 mutants killed in 11 s of work; alive: commit-by-counting',
  );
});
