/**
 * `npm run verify`: everything a change must pass, in one command that writes nothing.
 *
 * Every step runs even after a failure, so that one run shows the whole state; the table at the end
 * says what failed and how long each took. Exit code 1 when any step failed. `npm run fix` mends
 * what a tool can mend.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { installOrExit, ROOT } from './setup.mjs';

const bin = (name) => join(ROOT, 'node_modules/.bin', name);

const STEPS = [
  { name: 'types', program: bin('tsc'), args: ['-b'] },
  { name: 'lint and format', program: bin('biome'), args: ['check', '.'], advice: 'npm run fix' },
  { name: 'tidy', program: process.execPath, args: ['tools/dist/src/tidy.js'] },
  {
    name: 'generated docs',
    program: process.execPath,
    args: ['tools/dist/src/gen-docs.js', '--check'],
    advice: 'npm run fix',
  },
  { name: 'tests', program: process.execPath, args: ['tools/test.mjs'], isLive: true },
];

function run({ program, args, isLive }) {
  return new Promise((done) => {
    const stdio = isLive ? 'inherit' : ['ignore', 'pipe', 'pipe'];
    const child = spawn(program, args, { cwd: ROOT, stdio });
    const chunks = [];
    child.stdout?.on('data', (chunk) => chunks.push(chunk));
    child.stderr?.on('data', (chunk) => chunks.push(chunk));
    child.on('error', (error) => done({ code: 127, output: String(error) }));
    child.on('close', (code) =>
      done({ code: code ?? 1, output: Buffer.concat(chunks).toString() }),
    );
  });
}

await installOrExit();
const rows = [];
for (const step of STEPS) {
  process.stdout.write(`== ${step.name}\n`);
  const startedAt = Date.now();
  const { code, output } = await run(step);
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
  if (code !== 0) process.stdout.write(`${output.trimEnd()}\n`);
  rows.push({ ...step, isGood: code === 0, seconds });
}

process.stdout.write('\n');
for (const { name, isGood, seconds, advice } of rows) {
  const verdict = isGood ? 'ok' : `FAILED${advice === undefined ? '' : `  (try: ${advice})`}`;
  process.stdout.write(`${name.padEnd(16)} ${seconds.padStart(7)} s  ${verdict}\n`);
}
process.exit(rows.every((row) => row.isGood) ? 0 : 1);
