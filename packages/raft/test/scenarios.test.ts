// Golden traces: every file of scenarios/ is run, and its full trace is the expectation.
// Re-record after a wanted change, then review the diff like code:
//   HOLDFAST_REWRITE=1 node packages/raft/dist/test/scenarios.test.js   (or --rewrite)
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { rerecord, ScenarioFailure } from '../src/testing/scenario/runner.ts';
import { diffText } from '../src/testing/scenario/text-diff.ts';

const FOLDER = fileURLToPath(new URL('../../test/scenarios/', import.meta.url));
const isRewriting = process.env.HOLDFAST_REWRITE === '1' || process.argv.includes('--rewrite');

function run(text: string): string | ScenarioFailure {
  try {
    return rerecord(text);
  } catch (thrown) {
    if (thrown instanceof ScenarioFailure) return thrown;
    throw thrown;
  }
}

for (const name of readdirSync(FOLDER).sort()) {
  if (!name.endsWith('.txt')) continue;
  t.test(`scenario ${name} gives exactly the trace it records`, async (t) => {
    const path = join(FOLDER, name);
    const expected = readFileSync(path, 'utf8');
    const actual = run(expected);
    if (actual instanceof ScenarioFailure) {
      t.fail(`${name} ${actual.message}`);
      return;
    }
    if (isRewriting && actual !== expected) {
      writeFileSync(path, actual);
      t.comment(`${name} was re-recorded`);
      return;
    }
    const difference = diffText(expected, actual);
    if (difference === '') t.pass(name);
    else t.fail(`${name} differs\n${difference}`);
  });
}
