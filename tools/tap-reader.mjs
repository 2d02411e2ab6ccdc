/**
 * Reads the TAP stream of a whole run line by line: progress, the failing leaves with the path of
 * subtests that leads to them, the skips, and the runner's own totals at the end.
 *
 * A leaf is a failed assertion, or a failed subtest or file none of whose children failed (a file
 * that was killed, a plan that was not met): so nothing that failed goes unmentioned.
 */

/** Lines of one failure that are repeated; a diff longer than this is in the stream. */
const FAILURE_LINES_MAX = 40;
const INDENT = 4;

export class TapReader {
  fileCount = 0;
  filePlan;
  passCount = 0;
  failCount = 0;
  currentFile;
  interruptedBy;
  failures = [];
  skips = [];
  #summary;
  /** Names of the open subtests by depth, and whether one of their children failed. */
  #open = [];
  #failure;

  line(line) {
    const depth = Math.floor(/^ */.exec(line)[0].length / INDENT);
    const text = line.slice(depth * INDENT);
    if (this.#failure !== undefined && this.#addToFailure(line)) return;
    const subtest = /^# Subtest: (.*)$/.exec(text);
    if (subtest !== null) return this.#enter(depth, subtest[1]);
    const point = /^(not )?ok\b(?: \d+)?(?: - (.*))?$/.exec(text);
    if (point !== null) return this.#point(depth, point[1] === undefined, point[2] ?? '');
    const plan = depth === 0 ? /^1\.\.(\d+)/.exec(text) : null;
    if (plan !== null) this.filePlan = Number(plan[1]);
    if (line.startsWith('# { total: ')) this.#summary = line;
  }

  #enter(depth, name) {
    this.#open.length = depth;
    this.#open[depth] = { name, hasFailedChild: false };
    if (depth === 0) this.currentFile = name;
  }

  #point(depth, isOk, rest) {
    const title = rest.replace(/ # time=.*$/, '').replace(/ \{$/, '');
    const own = this.#open[depth];
    const isSubtest = own !== undefined && own.name === title.replace(/ # (SKIP|TODO).*$/i, '');
    const path = this.#open.slice(0, depth).map((level) => level.name);
    const directive = / # (SKIP|TODO)\b ?(.*)$/i.exec(title);
    if (directive !== null) {
      if (directive[1].toUpperCase() === 'SKIP') this.skips.push([...path, title].join(' > '));
    } else if (!isOk) {
      const hasFailedChild = isSubtest && own.hasFailedChild;
      if (!hasFailedChild) this.#startFailure([...path, title], depth);
      for (const level of this.#open.slice(0, depth)) level.hasFailedChild = true;
    }
    if (isSubtest) this.#open.length = depth;
    if (depth === 0) this.fileCount++;
    else if (!isSubtest && directive === null) {
      if (isOk) this.passCount++;
      else this.failCount++;
    }
  }

  #startFailure(path, depth) {
    this.#failure = { path, lines: [], depth, isInBlock: false };
    this.failures.push(this.#failure);
  }

  /** True while the line belongs to the diagnostic block of the failure. */
  #addToFailure(line) {
    const failure = this.#failure;
    const text = line.slice(failure.depth * INDENT);
    if (!failure.isInBlock) {
      if (text === '  ---') {
        failure.isInBlock = true;
        return true;
      }
      this.#failure = undefined;
      return false;
    }
    if (text === '  ...') {
      this.#failure = undefined;
      return true;
    }
    if (failure.lines.length < FAILURE_LINES_MAX) failure.lines.push(`    ${text}`);
    return true;
  }

  /** What one file counted of itself. One that ended badly, or without totals, has a failure. */
  counts(exitCode) {
    const { text } = this.totals(exitCode);
    const count = (name) => Number(new RegExp(`(\\d+) ${name}\\b`).exec(text)?.[1] ?? 0);
    const counts = {
      ...{ pass: count('passed'), fail: count('failed') },
      ...{ skip: count('skipped'), todo: count('todo') },
    };
    return { total: counts.pass + counts.fail + counts.skip + counts.todo, ...counts };
  }

  /** What the runner counted. A run without totals, or with a bad exit code, has a failure. */
  totals(exitCode) {
    const count = (name) =>
      Number(new RegExp(`\\b${name}: (\\d+)`).exec(this.#summary ?? '')?.[1] ?? 0);
    const isBroken =
      this.#summary === undefined || this.interruptedBy !== undefined || exitCode !== 0;
    const passed = this.#summary === undefined ? this.passCount : count('pass');
    const counted = this.#summary === undefined ? this.failCount : count('fail');
    const failed = isBroken ? Math.max(counted, 1) : counted;
    let text = `${passed} passed, ${failed} failed`;
    if (count('skip') > 0) text += `, ${count('skip')} skipped`;
    if (count('todo') > 0) text += `, ${count('todo')} todo`;
    return { text, isGood: failed === 0 };
  }
}
