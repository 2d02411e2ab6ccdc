// Goal: what the pages for operators say works as it is written there. Method: pages are read as
// steps, each block of commands is run by bash against real nodes, and its exit code and output are
// compared with the page. The suite follows the pages of FOLLOWED; all pages are followed by
// `npm run runbooks`, or here with HOLDFAST_RUNBOOKS=all.
import t, { type Test } from 'tap';
import { makeScratchDirectory, removeScratchDirectory } from '../src/cluster/scratch-directory.ts';
import { missingLine } from '../src/runbooks/expected-output.ts';
import { followPages, type StepReport } from '../src/runbooks/follow.ts';
import type { Page } from '../src/runbooks/page.ts';
import { isCalledIn, mentionedCommands, readPage } from '../src/runbooks/page.ts';
import { mentionsOf, operatingPages, runbookPages, whatIsHere } from '../src/runbooks/pages.ts';
import { withOwnValues } from '../src/runbooks/place.ts';
import { Shell } from '../src/runbooks/shell.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const FENCE = '```';
const pageOf = (...blocks: readonly string[]): Page =>
  readPage('page.md', ['# A page', ...blocks, ''].join('\n\n'));
const block = (words: string, ...lines: readonly string[]): string =>
  [`${FENCE}${words}`, ...lines, FENCE].join('\n');

t.test('a page is a list of steps with what they print', async (t) => {
  const page = pageOf(
    block('sh shared', 'NAME=value'),
    block('sh exit=1', 'false'),
    block('output', 'one', '', 'two ...'),
    block('sh needs=root', 'mount'),
    block('sh elsewhere=systemd', 'systemctl start holdfast'),
    block('ini', '[Unit]', 'ExecStart=/usr/bin/holdfast serve'),
  );
  t.same(page.problems, []);
  t.match(page.steps, [
    { kind: 'shared', exitCode: 0, line: 3, code: 'NAME=value', expected: null },
    { kind: 'step', exitCode: 1, expected: ['one', 'two ...'] },
    { needs: 'root', elsewhere: null },
    { needs: null, elsewhere: 'systemd' },
  ]);
});

t.test('commands that nobody would run are a problem of the page', async (t) => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    [block('', 'holdfast scrub now'), /line 3: a block without a language/],
    [block('text', '$ holdfast scrub now'), /line 3: a command in a block that is not run/],
    [block('sh later', 'true'), /line 3: sh later is not known/],
    [block('sh elsewhere=never', 'true'), /sh elsewhere=never is not known/],
    [block('output', 'one'), /line 3: output of no step/],
    [`${FENCE}sh\ntrue`, /line 3: a block without an end/],
  ];
  for (const [text, problem] of wrong) t.match(pageOf(text).problems.join(), problem);
});

t.test('lines of a page are found in this order, with anything between them', async (t) => {
  const output = 'NODE  ROLE\nn1    leader  7 ms\nn2    voter   9 ms\n';
  t.equal(missingLine(['n1 leader ... ms', 'n2 voter ...'], output), null);
  t.equal(missingLine(['n2 voter ...', 'n1 leader ... ms'], output), 'n1 leader ... ms');
  t.equal(missingLine(['n1 leader'], output), 'n1 leader', 'a line is found as a whole');
  t.equal(missingLine(['n1 l.ader ...'], output), 'n1 l.ader ...', 'dots are dots');
});

t.test('the values of a page are replaced by those of whoever follows it', async (t) => {
  const code = 'N1=10.0.0.1:7100\nMINE=7\nexport STORE=$PRACTICE/store  # here\necho N1=x "$N1"';
  t.equal(
    withOwnValues(code, { N1: '127.0.0.1:9', STORE: '/s', OTHER: 'x' }),
    'N1=127.0.0.1:9\nMINE=7\nexport STORE=/s  # here\necho N1=x "$N1"',
  );
});

t.test('a shell keeps values, answers exit codes, and ends with the step that fails', async (t) => {
  const folder = makeScratchDirectory('shell');
  t.teardown(() => removeScratchDirectory(folder));
  const environment = { ...process.env, GREETING: 'hello' };
  const notesFolder = `${folder}/notes`;
  const shell = new Shell({ folder, environment, notesFolder, stepTimeoutMs: 60_000 });
  t.match(await shell.run('name=world; say() { echo "$GREETING $name"; }'), { exitCode: 0 });
  t.match(await shell.run('say; say >&2'), { exitCode: 0, output: 'hello world\nhello world\n' });
  const refused = await shell.run('false; echo after', true);
  t.match(refused, { exitCode: 1, output: '' }, 'nothing runs after the command that failed');
  t.ok(shell.isOpen);
  t.match(await shell.run('say | cat; (exit 3); echo after'), { exitCode: 3, output: /^hello/ });
  t.notOk(shell.isOpen);
});

t.test('the pages for operators can be followed, and run every command they name', async (t) => {
  const pages = [...operatingPages(), ...runbookPages()];
  t.same(
    pages.flatMap(({ path, problems }) => problems.map((problem) => `${path}: ${problem}`)),
    [],
  );
  const steps = pages.flatMap((page) => page.steps).filter(({ elsewhere }) => elsewhere === null);
  for (const [path, commands] of mentionsOf(pages)) {
    for (const command of commands) {
      const isRun = command === 'help' || steps.some((step) => isCalledIn(command, step));
      t.ok(isRun, `${path}: holdfast ${command} is called by a step of a page`);
    }
  }
  t.same(mentionedCommands('`holdfast scrub now` and `holdfast fsck DIR`'), ['scrub now', 'fsck']);
});

/** Pages that the suite follows, after the one that makes the cluster. */
const FOLLOWED: readonly string[] = ['deletion'];

async function follow(t: Test, pages: readonly Page[]): Promise<void> {
  const onStep = ({ line, outcome, page }: StepReport): void => {
    if (outcome.kind === 'skipped') t.comment(`${page}:${line} is not run: ${outcome.reason}`);
    else t.equal(outcome.kind, 'good', `${page}:${line}`, outcome);
  };
  const reports = await followPages({ pages, has: whatIsHere(), onStep });
  t.ok(reports.some(({ outcome }) => outcome.kind === 'good'));
}

const isAll = process.env.HOLDFAST_RUNBOOKS === 'all';

t.test('runbooks do on real nodes what they say', async (t) => {
  const [first, ...others] = runbookPages();
  const wanted = others.filter(
    ({ path }) => isAll || FOLLOWED.some((name) => path.endsWith(`/${name}.md`)),
  );
  await follow(t, first === undefined ? [] : [first, ...wanted]);
});

const reason = 'set HOLDFAST_RUNBOOKS=all, or run npm run runbooks';
t.test(
  'the page on operating does on real nodes what it says',
  {
    skip: isAll ? false : reason,
  },
  (t) => follow(t, operatingPages()),
);
