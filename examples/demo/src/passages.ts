/**
 * Cuts Markdown into passages: runs of prose of a readable length, each with the heading it stands
 * under. Code, tables, badges and link lists are left out, because the questions are about prose.
 * Pure; the same files give the same passages in the same order.
 */

export interface TextFile {
  /** Path as shown to the reader, relative to the repository. */
  readonly path: string;
  readonly text: string;
}

export interface Passage {
  /** 1, 2, 3, ... in order of appearance. */
  readonly id: number;
  readonly source: string;
  readonly heading: string;
  readonly text: string;
}

/** Shorter runs say too little to be an answer. */
const PASSAGE_CHARACTERS_MIN = 90;
const PASSAGE_CHARACTERS_MAX = 420;

/** At most `passageCountMax` passages; the same words twice count once. */
export function cutIntoPassages(
  files: readonly TextFile[],
  passageCountMax: number,
): readonly Passage[] {
  const passages: Passage[] = [];
  const seen = new Set<string>();
  for (const file of files) {
    for (const { heading, text } of passagesOf(file.text)) {
      if (passages.length >= passageCountMax) return passages;
      const fingerprint = text.toLowerCase().replace(/[^a-z0-9]+/g, ' ');
      if (seen.has(fingerprint)) continue;
      seen.add(fingerprint);
      passages.push({ id: passages.length + 1, source: file.path, heading, text });
    }
  }
  return passages;
}

function* passagesOf(text: string): Generator<{ heading: string; text: string }> {
  let heading = '';
  let run: string[] = [];
  const flush = function* () {
    for (const piece of piecesOf(run.join(' '))) yield { heading, text: piece };
    run = [];
  };
  for (const block of blocksOf(text)) {
    const title = /^#{1,6}\s+(.*)$/.exec(block);
    if (title !== null) {
      yield* flush();
      heading = plainText(title[1] ?? '');
      continue;
    }
    const plain = plainText(block);
    if (plain !== '') run.push(plain);
  }
  yield* flush();
}

/** Paragraphs and headings, in order, without fenced code. */
function blocksOf(text: string): readonly string[] {
  const withoutCode = text
    .replaceAll('\r\n', '\n')
    .replace(/^ {0,3}(```|~~~)[\s\S]*?^ {0,3}\1[^\n]*$/gm, '\n\n')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/^(#{1,6} .*)$/gm, '\n$1\n');
  return withoutCode
    .split(/\n\s*\n/)
    .map((block) => block.trim())
    .filter((block) => block !== '' && !isNotProse(block));
}

const isNotProse = (block: string): boolean =>
  /^(\||<|\[!\[|!\[|\[[^\]]+\]:|={3,}|-{3,})/.test(block) || /^( {4}|\t)/.test(block);

/** Markdown marks removed, links reduced to their words, white space to single blanks. */
function plainText(block: string): string {
  return block
    .replace(/!\[[^\]]*\]\([^)]*\)/g, '')
    .replace(/\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])/g, '$1')
    .replace(/<[^>]*>/g, '')
    .replace(/https?:\/\/\S+/g, '')
    .replace(/^\s*([-*+]|\d+\.)\s+/gm, '')
    .replace(/^\s*>\s?/gm, '')
    .replace(/[*`_]{1,3}/g, '')
    .replace(/&nbsp;/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Cuts at ends of sentences, so that no passage is longer than the limit if it can be helped. */
function* piecesOf(run: string): Generator<string> {
  let piece = '';
  for (const sentence of run.match(/[^.!?]+(?:[.!?]+(?=\s|$)|[.!?]|$)+\s*/g) ?? []) {
    if (piece !== '' && piece.length + sentence.length > PASSAGE_CHARACTERS_MAX) {
      if (piece.trim().length >= PASSAGE_CHARACTERS_MIN) yield cutTo(piece.trim());
      piece = '';
    }
    piece += sentence;
  }
  if (piece.trim().length >= PASSAGE_CHARACTERS_MIN) yield cutTo(piece.trim());
}

/** A "sentence" without any full stop may still be too long: then it is cut between words. */
function cutTo(piece: string): string {
  if (piece.length <= PASSAGE_CHARACTERS_MAX * 2) return piece;
  const cut = piece.slice(0, PASSAGE_CHARACTERS_MAX * 2);
  return `${cut.slice(0, cut.lastIndexOf(' '))} ...`;
}
