/**
 * What must never stand in the log of a node: it broke by its own fault, whoever restarted it. A
 * process to which a fault left no memory may end for that, and for nothing else.
 */
import { invalid, unknown, type Verdict, valid } from './verdict.ts';

/** The lines of one node, of all its lives. */
export interface NodeLog {
  readonly nodeName: string;
  readonly lines: readonly string[];
  /** A fault of the run kept memory from it. */
  readonly isStarved?: boolean;
}

const FORBIDDEN: Readonly<Record<string, RegExp>> = {
  crash: /holdfast: INTERNAL: .*this is a bug/,
  'failed assertion': /\bInvariantViolation\b|\bAssertionError\b|\bassertion failed\b/i,
  'unhandled rejection': /unhandled ?(promise ?)?rejection|ERR_UNHANDLED_REJECTION/i,
  'uncaught exception': /uncaught ?exception/i,
  'native crash': /\b(SIGSEGV|SIGABRT|SIGBUS|Segmentation fault|double free or corruption)\b/,
  'out of memory': /\bheap out of memory\b/,
  'fatal error': /\bFATAL ERROR:(?!.*\bheap out of memory\b)|\bCheck failed: /,
  'programming error': /\b(TypeError|ReferenceError|RangeError): /,
};

/** V8 ends the process when the kernel refuses to give or to take back pages. */
const REFUSED_MEMORY = /\bCheck failed: 0 == (?:munmap|mprotect|madvise)\(|\bout of memory\b/;

/** A line is shown so far. */
const LINE_LENGTH_MAX = 400;

export function judgeLogs(logs: readonly NodeLog[]): Verdict {
  const found: { what: string; nodeName: string; lineNumber: number; line: string }[] = [];
  let lineCount = 0;
  for (const { isStarved = false, lines, nodeName } of logs) {
    lineCount += lines.length;
    lines.forEach((line, i) => {
      if (isStarved && REFUSED_MEMORY.test(line)) return;
      for (const [what, pattern] of Object.entries(FORBIDDEN)) {
        if (!pattern.test(line)) continue;
        found.push({ what, nodeName, lineNumber: i + 1, line: line.slice(0, LINE_LENGTH_MAX) });
      }
    });
  }
  const [first] = found;
  if (first !== undefined) {
    const reason = `${found.length} lines of node logs tell of a fault of the node's own`;
    return invalid(`${reason}, first a ${first.what} of ${first.nodeName}`, found);
  }
  if (logs.some(({ lines }) => lines.length === 0)) return unknown('a node has an empty log');
  return logs.length === 0 ? unknown('no node has a log') : valid({ lineCount });
}
