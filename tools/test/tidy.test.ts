// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the snippets are code that is looked at
/**
 * Goal: every rule can fail and does not fail on good code. Method: each row gives a rule a
 * snippet that breaks it and one that does not; the real tree is used once, to prove the purity of
 * the Raft core.
 */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { checkTree } from '../src/tidy/check.ts';
import { purityProblems } from '../src/tidy/purity-rules.ts';
import type { Ratchet } from '../src/tidy/size-rules.ts';
import { functionsOf } from '../src/tidy/size-rules.ts';
import { importsOf, readSource } from '../src/tidy/source-text.ts';
import { readTree } from '../src/tidy/tree-files.ts';

const rulesBroken = (path: string, text: string, ratchet: Ratchet = {}): string[] => [
  ...new Set(checkTree(new Map([[path, text]]), ratchet).map((problem) => problem.rule)),
];

const filler = (count: number): string => 'x;\n'.repeat(count);
const body = (name: string, count: number): string =>
  `function ${name}(a: number): void {\n${'  a;\n'.repeat(count)}}\n`;
const longTitle =
  'a long title that says in one sentence what must hold and under which conditions';

interface Row {
  readonly rule: string;
  readonly path: string;
  readonly bad: string;
  readonly good: string;
}

const CORE = 'packages/raft/src/core.ts';
const NODE = 'packages/node/src/replica/driver.ts';
const TEST = 'packages/base/test/x.test.ts';
const row = (rule: string, path: string, bad: string, good: string): Row => ({
  rule,
  path,
  bad,
  good,
});

const ROWS: readonly Row[] = [
  row('line-length', NODE, `const a = ${'b + '.repeat(30)}c;\n`, 'const a = b + c;\n'),
  row('line-length', NODE, `// ${'word '.repeat(30)}\n`, `// ${'word '.repeat(15)}\n`),
  row(
    'line-length',
    TEST,
    `t.test(${'a, '.repeat(40)});\n`,
    `t.test('${longTitle}, and then more', f);\n`,
  ),
  row('file-length', NODE, filler(601), filler(300)),
  row(
    'file-length',
    NODE,
    filler(401),
    `/** Over 400 lines because it is one table. */\n${filler(401)}`,
  ),
  row('function-length', NODE, body('f', 69), body('f', 68)),
  row(
    'function-length',
    NODE,
    `const f = () => {\n${'  a;\n'.repeat(69)}};\n`,
    `const f = [\n${'  1,\n'.repeat(80)}];\n`,
  ),
  row(
    'function-length',
    NODE,
    `class A {\n  m(\n    a: B,\n  ): void {\n${'    a;\n'.repeat(68)}  }\n}\n`,
    `class A {\n${'  a = 1;\n'.repeat(80)}}\n`,
  ),
  row('purity', CORE, "import { x } from 'node:path';\n", "import { x } from '@holdfast/base';\n"),
  row('purity', CORE, "import x from 'lodash';\n", "import { x } from './log/raft-log.ts';\n"),
  row('purity', CORE, 'const now = Date.now();\n', 'const now = clock.now(); // not Date.now()\n'),
  row(
    'purity',
    CORE,
    'const r = Math.random();\n',
    'const r = random.next(); // Math.random is chance\n',
  ),
  row('purity', CORE, "const r = Math['random']();\n", 'const r = Math.max(1, 2);\n'),
  row('purity', CORE, 'setTimeout(f, 10);\n', 'timers.setTimeout(f, 10);\n'),
  row('purity', CORE, 'setImmediate(f);\n', "const text = 'setImmediate(f)';\n"),
  row('purity', CORE, 'performance.now();\n', 'status.performance;\n'),
  row('purity', CORE, 'if (process.env.X) f();\n', 'this.#process(x);\n'),
  row('purity', CORE, 'console.log(1);\n', 'logger.info(1);\n'),
  row('purity', CORE, 'const g = globalThis;\n', 'const g = `globalThis`;\n'),
  row('purity', CORE, 'async function f() {}\n', 'const isAsync = 1;\n'),
  row('purity', CORE, 'const p: Promise<void> = x;\n', 'const promised = x;\n'),
  row('purity', CORE, 'const t = `${Date.now()}`;\n', 'const t = `Date.now()`;\n'),
  row('purity', CORE, "const f = require('x');\n", 'const required = 1;\n'),
  row('purity', 'packages/protocol/src/codec.ts', "import 'node:crypto';\n", "import 'zod';\n"),
  row(
    'file-access',
    NODE,
    "import { x } from 'node:fs';\n",
    "import { x } from '@holdfast/storage';\n",
  ),
  row(
    'file-access',
    NODE,
    "import { x } from 'node:fs/promises';\n",
    "import { x } from 'node:os';\n",
  ),
  row('console', NODE, 'console.error(1);\n', 'logger.error(1);\n'),
  row(
    'package-graph',
    'packages/client/src/a.ts',
    "import { x } from '@holdfast/node';\n",
    "import { x } from '@holdfast/protocol';\n",
  ),
  row(
    'package-graph',
    'packages/base/src/a.ts',
    "import { x } from '@holdfast/raft';\n",
    "import { x } from './b.ts';\n",
  ),
  row(
    'package-graph',
    'packages/storage/src/a.ts',
    "export { x } from '@holdfast/raft';\n",
    "export { x } from '@holdfast/base';\n",
  ),
  row(
    'package-graph',
    NODE,
    "import { x } from '@holdfast/client';\n",
    "import { x } from '@holdfast/raft';\n",
  ),
  row(
    'package-graph',
    NODE,
    "import type { X } from '@holdfast/bench';\n",
    "import type { X } from '@holdfast/base';\n",
  ),
  row(
    'package-graph',
    'packages/node/src/embedded.ts',
    "import { x } from '@holdfast/tools';\n",
    "import { x } from '@holdfast/client';\n",
  ),
  row('import-form', NODE, "import { x } from './index.ts';\n", "import { x } from './a.ts';\n"),
  row(
    'import-form',
    NODE,
    "import { x } from './a';\n",
    "const u = new URL('./a.js', import.meta.url);\n",
  ),
  row(
    'import-form',
    NODE,
    "import { x } from '../../../raft/src/core.ts';\n",
    "import { x } from '../../src/a.ts';\n",
  ),
  row('export-form', NODE, "export * from './a.ts';\n", "export { a } from './a.ts';\n"),
  row('export-form', NODE, 'export default 1;\n', 'export const a = 1;\n'),
  row(
    'export-form',
    'packages/storage/src/wal/a.ts',
    'export default f;\n',
    'export const f = 1;\n',
  ),
  row('leftover', NODE, 'debugger;\n', 'const debuggerUrl = 1;\n'),
  row('leftover', TEST, "t.only('x', f);\n", "t.test('only', f);\n"),
  row('leftover', NODE, '// TODO later\n', '// TODO #12 later\n'),
  row('leftover', NODE, '/* FIXME */\n', "const a = 'FIXME';\n"),
  row('type-escape', NODE, '// @ts-ignore\n', '// ts is fine\n'),
  row('type-escape', NODE, '// @ts-expect-error\n', "const a = '@ts-expect-error';\n"),
  row('type-escape', NODE, 'const a: any = 1;\n', 'const any = 1;\n'),
  row('type-escape', NODE, 'f(a as any);\n', 'f(a as Any);\n'),
  row('type-escape', NODE, 'const a: Map<string, any> = b;\n', 'const a = f(b, anything);\n'),
  row('type-escape', NODE, 'let a: any[];\n', '// any of them\n'),
  row('test-waits', TEST, 'setTimeout(f, 10);\n', 'timers.setTimeout(f, 10);\n'),
  row('test-waits', TEST, 'await sleep(10);\n', 'await cluster.settled();\n'),
  row(
    'test-waits',
    TEST,
    "import { x } from 'node:timers/promises';\n",
    "import { x } from 'node:events';\n",
  ),
  row('test-waits', TEST, 't.setTimeout(10);\n', 't.setTimeout(0);\nclock.setTimeout(10);\n'),
  row('test-waits', TEST, "t.test('x', { timeout: 5 }, f);\n", 'f({ timeoutMs: 5 });\n'),
  row(
    'test-skip',
    TEST,
    "t.test('x', { skip: true }, f);\n",
    "t.test('x', { skip: reason }, f);\n",
  ),
  row('test-skip', TEST, "t.skip('x', f);\n", "t.test('skip', f);\n"),
  row('file-name', 'packages/base/src/BadName.ts', 'a;\n', ''),
  row('file-name', 'packages/base/src/bad_name.ts', 'a;\n', ''),
  row('header', NODE, filler(50), `/** Why. */\n${filler(50)}`),
  row('words', 'docs/a.md', 'cd /home/me/x\n', 'cd holdfast; see /etc/holdfast\n'),
  row('words', 'docs/a.md', 'This page is TBD.\n', 'This page is short.\n'),
  row('link', 'docs/a.md', '[b](b.md)\n', '[b](https://example.org) [a](a.md)\n'),
  row('dead-file', 'packages/base/src/a.ts', 'a;\n', "new URL('./a.js', import.meta.url);\n"),
  row('package', 'packages/x/package.json', '{}', ''),
];

for (const [index, { rule, path, bad, good }] of ROWS.entries())
  t.test(`rule ${rule} refuses bad code and accepts good code (row ${index})`, async (t) => {
    t.ok(rulesBroken(path, bad).includes(rule), `must be refused: ${bad.slice(0, 80)}`);
    const goodPath = good === '' ? 'packages/base/src/good-name.ts' : path;
    t.notOk(rulesBroken(goodPath, good).includes(rule), `must pass: ${good.slice(0, 80)}`);
  });

t.test('the same call is allowed where the world is allowed', async (t) => {
  const clocks = 'const a = Date.now();\n';
  t.notOk(rulesBroken('packages/node/src/clock.ts', clocks).includes('purity'));
  t.notOk(rulesBroken('packages/raft/src/testing/a.ts', clocks).includes('purity'));
  const files = "import { x } from 'node:fs';\n";
  t.notOk(rulesBroken('packages/storage/src/node-fs.ts', files).includes('file-access'));
  t.notOk(rulesBroken('packages/node/src/cli/serve.ts', files).includes('file-access'));
  t.notOk(
    rulesBroken('packages/storage/src/wal/wal-worker.ts', 'export default f;\n').includes(
      'export-form',
    ),
  );
  t.notOk(
    rulesBroken('packages/node/src/cli/get.ts', "import { x } from '@holdfast/client';\n").includes(
      'package-graph',
    ),
  );
});

t.test('the ratchet lets an old long function shrink but not grow', async (t) => {
  const key = `${NODE}#f`;
  t.notOk(rulesBroken(NODE, body('f', 78), { [key]: 80 }).includes('function-length'));
  t.ok(rulesBroken(NODE, body('f', 79), { [key]: 80 }).includes('function-length'), 'grew');
  t.ok(rulesBroken(NODE, body('f', 77), { [key]: 80 }).includes('function-length'), 'lower it');
  t.ok(rulesBroken(NODE, body('f', 10), { [key]: 80 }).includes('function-length'), 'remove it');
});

t.test('a package with a design page and a test is complete', async (t) => {
  const tree = new Map([
    ['packages/x/package.json', '{}'],
    ['packages/x/DESIGN.md', '# x'],
    ['packages/x/test/x.test.ts', "import t from 'tap';"],
  ]);
  t.notOk(checkTree(tree, {}).some((problem) => problem.rule === 'package'));
});

t.test('a package declares what it imports and imports what it declares', async (t) => {
  const tree = new Map([
    [
      'packages/x/package.json',
      '{"dependencies":{"ws":"1","zod":"1"},"devDependencies":{"@types/ws":"1"}}',
    ],
    [
      'packages/x/src/a.ts',
      "import { x } from 'ws';\nimport y from 'pino';\nimport 'node:os';\nimport './b.ts';",
    ],
  ]);
  const found = checkTree(tree, {}).filter((problem) => problem.rule === 'manifest');
  t.same(
    found.map((problem) => problem.message),
    ['zod is declared and never imported', 'pino is not declared in packages/x/package.json'],
  );
});

t.test('a catalogue entry without a row in the dependency record is refused', async (t) => {
  const workspace = 'packages: []\ncatalog:\n  "ws": 1.0.0\n  zod: 2.0.0\n';
  const page = 'docs/adr/0008-dependencies.md';
  const tree = new Map([
    ['pnpm-workspace.yaml', workspace],
    [page, 'about `ws`'],
  ]);
  const found = checkTree(tree, {}).filter((problem) => problem.rule === 'dependency');
  t.same(
    found.map((problem) => problem.message),
    ['no row says why zod is used'],
  );
});

t.test('comments, strings, templates and regular expressions are told from code', async (t) => {
  const text = [
    "const a = 'it\\'s // no comment'; // yes, a comment",
    'const b = /[/"]x\\//.test(c) ? d / e / f : `t ${g(`u ${h}`)} "`;',
    '/* block',
    ' * "quoted" */ const i = 1;',
  ].join('\n');
  const { code, comments } = readSource('x.ts', text);
  t.equal(code.length, text.length);
  t.match(code, /const a = ' +'; +\n/);
  t.ok(code.includes('d / e / f'), 'a division is code');
  t.ok(code.includes('g(`  ${h}`)'), 'code inside a template is code');
  t.notOk(code.includes('quoted'));
  t.ok(comments.includes('yes, a comment'));
  t.notOk(comments.includes('no comment'));
  t.ok(code.includes('const i = 1;'));
});

t.test('imports are found in every form and nowhere else', async (t) => {
  const text = [
    "import a from 'a';",
    "import {\n  type B,\n  c,\n} from './b.ts';",
    "import 'side';",
    "export { d } from './d.ts';",
    "export type E = 'not-an-import';",
    "// import f from 'f';",
    "const g = await import('./g.js');",
    "const h = new URL('./h.js', import.meta.url);",
    'const i = "from \'i\'";',
  ].join('\n');
  t.same(
    importsOf(readSource('x.ts', text))
      .map((use) => use.specifier)
      .sort(),
    ['./b.ts', './d.ts', './g.js', './h.js', 'a', 'side'],
  );
});

t.test('functions are measured from their declaration to their closing brace', async (t) => {
  const text =
    'export async function f(\n  a: B,\n): Promise<void> {\n  if (a) {\n    b();\n  }\n}\n';
  t.same(functionsOf(readSource('x.ts', text)), [{ name: 'f', line: 1, lineCount: 7 }]);
});

t.test('the Raft core imports nothing of Node and reads no clock and no chance', async (t) => {
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  const sources = [...readTree(root)]
    .filter(([path]) => path.startsWith('packages/raft/src/') && path.endsWith('.ts'))
    .map(([path, text]) => readSource(path, text));
  t.ok(
    sources.some((source) => source.path === 'packages/raft/src/core.ts'),
    'the core was found',
  );
  t.same(purityProblems(sources), []);
});
