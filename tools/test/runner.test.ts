/**
 * Goal: the closing count of `npm test` can be trusted, and set-up notices what changed. The
 * scripts are plain modules without a build (they run before there is one): loaded by path.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';

interface Failure {
  readonly path: readonly string[];
  readonly lines: readonly string[];
}
interface TapReader {
  line(line: string): void;
  totals(exitCode: number): { readonly text: string; readonly isGood: boolean };
  readonly failures: readonly Failure[];
  readonly skips: readonly string[];
  readonly fileCount: number;
  interruptedBy: string | undefined;
}
interface PoolModule {
  readonly TestPool: new (options: {
    readonly files: readonly string[];
    readonly jobCount: number;
    readonly cwd: string;
    readonly onLine: (line: string) => void;
  }) => { run(): Promise<number>; stop(signal: string): void };
}
interface ReaderModule {
  readonly TapReader: new () => TapReader;
}
interface SetupModule {
  checkNodeVersion(version: string): void;
  installFingerprint(root: string): string;
  mendOutput(root: string): void;
  workspaceFolders(root: string): readonly string[];
  foldersWithoutPackages(root: string): readonly string[];
}

const load = (name: string): Promise<unknown> =>
  import(new URL(`../../${name}`, import.meta.url).href);
const { TapReader } = (await load('tap-reader.mjs')) as ReaderModule;
const { TestPool } = (await load('test-pool.mjs')) as PoolModule;
const setup = (await load('setup.mjs')) as SetupModule;

const GOOD_FILE = `# Subtest: a.test.js
    # Subtest: holds
        ok 1 - should be equal
        1..1
    ok 1 - holds # time=1ms
    1..1
ok 1 - a.test.js # time=1ms
`;
const BAD_FILE = `# Subtest: b.test.js
    # Subtest: outer
        # Subtest: inner
            not ok 1 - numbers equal
              ---
              diff: |
                -2
                +1
              ...
            1..1
        not ok 1 - inner # time=1ms
          ---
          at: x
          ...
        1..1
    not ok 1 - outer # time=1ms
    # Subtest: needs etcd
        1..0 # etcd is absent
    ok 2 - needs etcd # SKIP etcd is absent
    1..2
not ok 2 - b.test.js # time=1ms
  ---
  exitCode: 1
  ...
`;
const KILLED_FILE = `# Subtest: c.test.js
    ok 1 - fine
    1..1
not ok 3 - c.test.js # time=1ms
  ---
  signal: SIGKILL
  ...
`;

function read(text: string): TapReader {
  const reader = new TapReader();
  for (const line of text.split('\n')) reader.line(line);
  return reader;
}

t.test('the totals are those of the runner', async (t) => {
  const reader = read(`${GOOD_FILE}# { total: 1, pass: 1 }\n`);
  t.same(reader.totals(0), { text: '1 passed, 0 failed', isGood: true });
  t.same(reader.failures, []);
});

t.test('a failed assertion is shown once, with the subtests that lead to it', async (t) => {
  const reader = read(`${GOOD_FILE}${BAD_FILE}# { total: 3, pass: 1, fail: 1, skip: 1 }\n`);
  t.same(
    reader.failures.map((failure) => failure.path),
    [['b.test.js', 'outer', 'inner', 'numbers equal']],
  );
  t.match(reader.failures[0]?.lines.join('\n'), '-2');
  t.same(reader.skips, ['b.test.js > needs etcd # SKIP etcd is absent']);
  t.same(reader.totals(1), { text: '1 passed, 1 failed, 1 skipped', isGood: false });
  t.equal(reader.fileCount, 2);
});

t.test('a file that was killed is a failure even though its assertions passed', async (t) => {
  const reader = read(`${KILLED_FILE}# { total: 2, pass: 1, fail: 1 }\n`);
  t.same(
    reader.failures.map((failure) => failure.path),
    [['c.test.js']],
  );
});

t.test('no total, a bad exit code and an interruption are failures', async (t) => {
  t.same(read(GOOD_FILE).totals(0), { text: '1 passed, 1 failed', isGood: false });
  t.notOk(read(`${GOOD_FILE}# { total: 1, pass: 1 }\n`).totals(7).isGood);
  const interrupted = read(`${GOOD_FILE}# { total: 1, pass: 1 }\n`);
  interrupted.interruptedBy = 'SIGINT';
  t.notOk(interrupted.totals(0).isGood);
});

function workspace(): string {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-setup-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  put(root, 'package.json', '{"scripts":{"a":"b"}}');
  put(root, 'pnpm-lock.yaml', 'lock');
  put(root, 'packages/x/package.json', '{"name":"x","dependencies":{"ws":"1"}}');
  return root;
}

function put(root: string, path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

t.test(
  'a changed dependency or lockfile asks for an installation, a changed script does not',
  async (t) => {
    const root = workspace();
    t.same(setup.workspaceFolders(root), ['packages/x']);
    const before = setup.installFingerprint(root);
    put(root, 'package.json', '{"scripts":{"a":"c"}}');
    t.equal(setup.installFingerprint(root), before, 'script');
    put(root, 'packages/x/package.json', '{"name":"x","dependencies":{"ws":"2"}}');
    const changed = setup.installFingerprint(root);
    t.not(changed, before, 'dependency');
    put(root, 'pnpm-lock.yaml', 'other');
    t.not(setup.installFingerprint(root), changed, 'lockfile');
  },
);

/** Runs programs of these texts as test files. */
async function runPrograms(t: Test, texts: readonly string[], onLine = (_: string) => {}) {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-pool-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const files = texts.map((text, i) => {
    const name = `${i + 1}.test.js`;
    writeFileSync(join(directory, name), text);
    return name;
  });
  const reader = new TapReader();
  const pool = new TestPool({
    ...{ files, jobCount: 2, cwd: directory },
    onLine: (line) => {
      reader.line(line);
      onLine(line);
    },
  });
  return { pool, reader, run: () => pool.run() };
}

const GOOD_PROGRAM = `console.log('TAP version 14\\nok 1 - holds\\n1..1\\n# { total: 1, pass: 1 }')`;

t.test('what all files count of themselves is the count of the run', async (t) => {
  const { reader, run } = await runPrograms(t, [GOOD_PROGRAM, GOOD_PROGRAM, GOOD_PROGRAM]);
  t.equal(await run(), 0);
  t.same(reader.totals(0), { text: '3 passed, 0 failed', isGood: true });
  t.equal(reader.fileCount, 3);
});

t.test('a file that ends badly fails the run, whatever it has printed before', async (t) => {
  const endings = [
    `process.exit(3)`,
    `process.kill(process.pid, 'SIGKILL')`,
    `throw new Error('thrown')`,
    `console.log('not ok 2 - does not\\n1..2\\n# { total: 2, pass: 1, fail: 1 }')`,
  ];
  for (const ending of endings) {
    const { reader, run } = await runPrograms(t, [`${GOOD_PROGRAM};${ending}`, GOOD_PROGRAM]);
    const code = await run();
    t.equal(code, 1, ending);
    t.match(reader.totals(code), { text: /^2 passed, 1 failed$/, isGood: false }, ending);
    t.ok(reader.failures.length > 0, 'and it is named');
  }
});

t.test('a file without totals is no success', async (t) => {
  const { reader, run } = await runPrograms(t, [`console.log('ok 1 - begins')`]);
  const code = await run();
  t.equal(code, 1);
  t.match(reader.totals(code).text, /, 1 failed$/);
});

t.test('a run that is stopped ends its files and begins no more', async (t) => {
  const waiting = `console.error; setInterval(() => {}, 1000);`;
  const { pool, reader, run } = await runPrograms(t, [waiting, waiting, GOOD_PROGRAM]);
  const ended = run();
  pool.stop('SIGTERM');
  const code = await ended;
  t.equal(code, 1);
  t.equal(reader.fileCount, 2);
});

t.test('a workspace folder that lost its packages is noticed', async (t) => {
  const root = workspace();
  t.same(setup.foldersWithoutPackages(root), ['packages/x']);
  put(root, 'packages/x/node_modules/ws/package.json', '{}');
  t.same(setup.foldersWithoutPackages(root), []);
  put(root, 'tools/package.json', '{"name":"tools"}');
  t.same(setup.foldersWithoutPackages(root), [], 'nothing needed, nothing missing');
});

t.test('output whose source is gone is removed, and nothing else', async (t) => {
  const root = workspace();
  put(root, 'packages/x/src/kept.ts', '');
  for (const name of ['kept.js', 'kept.d.ts', 'gone.js', 'gone.js.map', 'gone.d.ts', 'data.json'])
    put(root, `packages/x/dist/src/${name}`, '');
  put(root, 'packages/x/dist/.tsbuildinfo', '{}');
  setup.mendOutput(root);
  const exists = (name: string): boolean => existsSync(join(root, 'packages/x/dist', name));
  for (const name of ['src/kept.js', 'src/kept.d.ts', 'src/data.json', '.tsbuildinfo'])
    t.ok(exists(name), name);
  for (const name of ['src/gone.js', 'src/gone.js.map', 'src/gone.d.ts'])
    t.notOk(exists(name), name);
});

t.test('missing output makes the compiler start anew', async (t) => {
  const root = workspace();
  put(root, 'packages/x/src/kept.ts', '');
  put(root, 'packages/x/dist/.tsbuildinfo', '{}');
  put(root, 'packages/x/dist/src/page/.tsbuildinfo', '{}');
  setup.mendOutput(root);
  t.notOk(existsSync(join(root, 'packages/x/dist/.tsbuildinfo')));
  t.notOk(existsSync(join(root, 'packages/x/dist/src/page/.tsbuildinfo')), 'of a part, too');
});

t.test('an old Node is refused by name and with the next step', async (t) => {
  for (const version of ['18.20.1', '20.19.9'])
    t.throws(() => setup.checkNodeVersion(version), { message: /20\.20.*\n.*Install/ });
  for (const version of ['20.20.0', '22.1.0', '24.0.0'])
    t.doesNotThrow(() => setup.checkNodeVersion(version));
});

t.test('the pinned package manager is the one that package.json names', async (t) => {
  const root = new URL('../../../', import.meta.url);
  const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
    readonly packageManager: string;
  };
  const script = readFileSync(new URL('tools/setup.mjs', root), 'utf8');
  t.match(script, `'${manifest.packageManager}'`);
});
