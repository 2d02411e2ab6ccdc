/**
 * Two texts line by line as a diff to read: `-` expected, `+` actual, some context. Longest common
 * subsequence; scenario files are small enough for the square table.
 */
const CONTEXT_LINE_COUNT = 3;

interface DiffLine {
  readonly mark: ' ' | '-' | '+';
  readonly text: string;
}

/** Empty when the texts are equal. */
export function diffText(expected: string, actual: string): string {
  if (expected === actual) return '';
  const lines = diffLines(expected.split('\n'), actual.split('\n'));
  const isNear = lines.map((_, i) =>
    lines
      .slice(Math.max(0, i - CONTEXT_LINE_COUNT), i + CONTEXT_LINE_COUNT + 1)
      .some(({ mark }) => mark !== ' '),
  );
  const shown: string[] = [];
  for (const [i, { mark, text }] of lines.entries()) {
    if (isNear[i]) shown.push(`${mark} ${text}`);
    else if (isNear[i - 1]) shown.push('  ...');
  }
  return shown.join('\n');
}

function diffLines(left: readonly string[], right: readonly string[]): DiffLine[] {
  const common = commonLengths(left, right);
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) {
      lines.push({ mark: ' ', text: left[i]! });
      i += 1;
      j += 1;
    } else if (
      j === right.length ||
      (i < left.length && common[i + 1]![j]! >= common[i]![j + 1]!)
    ) {
      lines.push({ mark: '-', text: left[i]! });
      i += 1;
    } else {
      lines.push({ mark: '+', text: right[j]! });
      j += 1;
    }
  }
  return lines;
}

/** common[i][j]: length of the longest common subsequence of left from i and right from j. */
function commonLengths(left: readonly string[], right: readonly string[]): number[][] {
  const common = Array.from({ length: left.length + 1 }, () =>
    new Array<number>(right.length + 1).fill(0),
  );
  for (let i = left.length - 1; i >= 0; i--)
    for (let j = right.length - 1; j >= 0; j--)
      common[i]![j] =
        left[i] === right[j]
          ? common[i + 1]![j + 1]! + 1
          : Math.max(common[i + 1]![j]!, common[i]![j + 1]!);
  return common;
}
