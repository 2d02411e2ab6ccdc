// The fast suite on clusters of real processes: every workload once, each under other faults.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { REGISTRY } from '../src/suite/registry.ts';
import { runExperiment } from '../src/suite/run-experiment.ts';
import { experimentsOf, parseSuite } from '../src/suite/suite.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const path = new URL('../../suites/fast.json', import.meta.url);
const experiments = experimentsOf(parseSuite(readFileSync(path, 'utf8')));
const storeDirectory = mkdtempSync(join(tmpdir(), 'holdfast-fast-suite-'));
// What was not valid is evidence, and stays.
let isKept = false;
t.teardown(() => {
  if (!isKept) rmSync(storeDirectory, { recursive: true });
});

t.test('the fast suite has every workload', async (t) => {
  const workloads = experiments.map(({ workload }) => workload);
  t.same([...workloads].sort(), Object.keys(REGISTRY.workloads).sort());
});

for (const experiment of experiments) {
  const { nemeses, seed, workload } = experiment;
  t.test(`${workload} holds under ${nemeses.join(' and ')}`, async (t) => {
    t.comment(`seed ${seed}`);
    const tools = { registry: REGISTRY, storeDirectory, log: (line: string) => t.comment(line) };
    const result = await runExperiment(experiment, tools);
    isKept ||= result.worst.kind !== 'valid';
    for (const line of result.windows) t.comment(line);
    for (const [name, verdict] of Object.entries(result.verdicts)) {
      t.match(verdict, { kind: 'valid' }, `${name}: ${JSON.stringify(verdict).slice(0, 400)}`);
    }
  });
}
