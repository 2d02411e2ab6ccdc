/** What must never stand in the log of a node: it broke by its own fault, whoever restarted it. */
import { invalid, unknown, type Verdict, valid } from './verdict.ts';

/** The lines of one node, of all its lives. */
export interface NodeLog {
  readonly nodeName: string;
  readonly lines: readonly string[];
}

const FORBIDDEN: Readonly<Record<string, RegExp>> = {
  crash: /holdfast: INTERNAL: .*this is a bug/,
  'failed assertion': /\bInvariantViolation\b|\bAssertionError\b|\bassertion failed\b/i,
  'unhandled rejection': /unhandled ?(promise ?)?rejection|ERR_UNHANDLED_REJECTION/i,
  'uncaught exception': /uncaught ?exception/i,
  'native crash': /\b(SIGSEGV|SIGABRT|SIGBUS|Segmentation fault|double free or corruption)\b/,
  'out of memory': /\bheap out of memory\b/,
  'fatal error': /\bFATAL ERROR:(?!.*\bheap out of memory\b)/,
  'programming error': /\b(TypeError|ReferenceError|RangeError): /,
};

/** A line is shown so far. */
const LINE_LENGTH_MAX = 400;

export function judgeLogs(logs: readonly NodeLog[]): Verdict {
  const found: { what: string; nodeName: string; lineNumber: number; line: string }[] = [];
  let lineCount = 0;
  for (const { nodeName, lines } of logs) {
    lineCount += lines.length;
    lines.forEach((line, i) => {
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
