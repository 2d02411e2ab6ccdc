// A quick run of one benchmark on a real cluster: only the structure of what it prints is checked.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const main = fileURLToPath(new URL('../src/main.js', import.meta.url));

t.test('a benchmark prints a table and one JSON document with machine and targets', async (t) => {
  const { stdout } = await promisify(execFile)(process.execPath, [main, 'ingest', '--quick']);
  const [table = '', json = ''] = stdout.split('\n\n');
  t.match(table, /ingest +vectors acknowledged \(median\) +[\d,.]+ +\/s +>= 4,000/);
  const report: unknown = JSON.parse(json);
  t.match(report, {
    isQuick: true,
    environment: { coreCount: Number, nodeVersion: process.version, versions: { etcd: String } },
    results: [
      {
        name: 'ingest',
        durationMs: Number,
        figures: [{ target: '>= 4,000' }, {}, { name: /fully indexed/, target: '< 10,000' }],
      },
    ],
  });
});

t.test('an unknown benchmark is refused by name', async (t) => {
  await t.rejects(promisify(execFile)(process.execPath, [main, 'reads']), {
    code: 2,
    stderr: /unknown benchmark 'reads'/,
  });
});
