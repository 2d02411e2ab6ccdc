/**
 * Which operations a page holds one by one, so that a page stays below its size whatever the run:
 * those of anomalies always, then what failed or stayed open, then what was answered, each thinned
 * out evenly over the whole run. The charts count all of them anyway. Pure.
 */
import { describeOperation } from './describe-operation.ts';
import type { DrawnOperation } from './pair-operations.ts';

/** Of a page of 10 MB: the rest is for charts, bands, anomalies and the script. */
export const DRAWN_SIZE_BYTES_MAX = 7_500_000;
/** Numbers of the columns of one operation: nine of them and their commas. */
const COLUMNS_SIZE_BYTES = 42;
/** Quotes and comma of a text, and what escaping may add to usual ones. */
const TEXT_EXTRA_SIZE_BYTES = 8;

export interface DrawnChoice {
  /** In the order of their begin. */
  readonly drawn: readonly DrawnOperation[];
  readonly leftOutCount: number;
}

export function chooseDrawn(
  operations: readonly DrawnOperation[],
  isMarked: (operation: DrawnOperation) => boolean,
  sizeBytesMax = DRAWN_SIZE_BYTES_MAX,
): DrawnChoice {
  const marked: DrawnOperation[] = [];
  const unusual: DrawnOperation[] = [];
  const usual: DrawnOperation[] = [];
  for (const one of operations) {
    if (isMarked(one)) marked.push(one);
    else if (one.outcome === 'ok') usual.push(one);
    else unusual.push(one);
  }
  let leftBytes = sizeBytesMax - sizeBytesOf(marked);
  const chosenUnusual = thinOut(unusual, leftBytes / 2);
  leftBytes -= sizeBytesOf(chosenUnusual);
  const chosenUsual = thinOut(usual, leftBytes);
  const drawn = [...marked, ...chosenUnusual, ...chosenUsual];
  drawn.sort((left, right) => left.beginMs - right.beginMs);
  return { drawn, leftOutCount: operations.length - drawn.length };
}

/** Every n-th, with the least n at which they fit. */
function thinOut(
  operations: readonly DrawnOperation[],
  sizeBytesMax: number,
): readonly DrawnOperation[] {
  const totalBytes = sizeBytesOf(operations);
  if (totalBytes <= sizeBytesMax) return operations;
  if (sizeBytesMax <= 0) return [];
  const leastStep = Math.ceil(totalBytes / sizeBytesMax);
  for (let step = leastStep; step <= operations.length; step++) {
    const kept = operations.filter((_one, position) => position % step === 0);
    if (sizeBytesOf(kept) <= sizeBytesMax) return kept;
  }
  return [];
}

/** An upper estimate: as if no two operations had the same text, and every character were wide. */
function sizeBytesOf(operations: readonly DrawnOperation[]): number {
  let sizeBytes = 0;
  for (const { errorCode, operation } of operations) {
    const text = describeOperation(operation);
    sizeBytes += COLUMNS_SIZE_BYTES + TEXT_EXTRA_SIZE_BYTES + escapedSizeBytes(text);
    if (errorCode !== null) sizeBytes += TEXT_EXTRA_SIZE_BYTES + escapedSizeBytes(errorCode);
  }
  return sizeBytes;
}

/** In JSON inside a page: a control character or an angle bracket is six bytes. */
function escapedSizeBytes(text: string): number {
  let sizeBytes = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x3c || code > 0x7e) sizeBytes += 6;
    else sizeBytes += code === 0x22 || code === 0x5c ? 2 : 1;
  }
  return sizeBytes;
}
