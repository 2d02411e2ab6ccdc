/**
 * Splits TypeScript text into code, comments and literals without a compiler (TypeScript 7 has no
 * JavaScript API). Every view has the length and the line breaks of the original, so an offset
 * means the same place in all of them.
 *
 * Invariant: a rule that looks at `code` never sees the inside of a comment, a string, a template
 * or a regular expression; code inside `${}` of a template is code.
 */

export interface SourceText {
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** Comments and the contents of literals are blanks; quotes stay. */
  readonly code: string;
  readonly codeLines: readonly string[];
  /** Everything but comments is blank. */
  readonly comments: string;
}

type Mode = 'code' | 'lineComment' | 'blockComment' | 'single' | 'double' | 'template' | 'regex';

/** After one of these a slash starts a regular expression, not a division. */
const REGEX_MAY_FOLLOW = /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|do|else))\s*$/;
const LOOK_BEHIND_SIZE = 40;

export function readSource(path: string, text: string): SourceText {
  const { code, comments } = separate(text);
  return { path, text, lines: text.split('\n'), code, codeLines: code.split('\n'), comments };
}

function separate(text: string): { code: string; comments: string } {
  const separator = new Separator(text);
  while (!separator.isAtEnd) separator.step();
  return separator.views();
}

/** One pass over the text; every step moves by one or two characters. */
class Separator {
  readonly #text: string;
  readonly #code: string[] = [];
  readonly #comments: string[] = [];
  /** Brace depth at which each open `${` returns to its template. */
  readonly #templateDepths: number[] = [];
  #at = 0;
  #mode: Mode = 'code';
  #depth = 0;
  #isInClass = false;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  views(): { code: string; comments: string } {
    return { code: this.#code.join(''), comments: this.#comments.join('') };
  }

  step(): void {
    if (this.#mode === 'code') this.#inCode();
    else if (this.#mode === 'lineComment' || this.#mode === 'blockComment') this.#inComment();
    else this.#inLiteral();
  }

  /** Takes `size` characters as code, as comment, or as neither (the inside of a literal). */
  #take(size: number, kind: 'code' | 'comment' | 'literal'): void {
    const part = this.#text.slice(this.#at, this.#at + size);
    const blank = part.replaceAll(/[^\n]/g, ' ');
    this.#code.push(kind === 'code' ? part : blank);
    this.#comments.push(kind === 'comment' ? part : blank);
    this.#at += size;
  }

  #inCode(): void {
    const next = startOf(this.#text, this.#at, this.#code);
    this.#mode = next;
    if (next === 'lineComment' || next === 'blockComment') {
      this.#take(2, 'comment');
      return;
    }
    const character = this.#text[this.#at];
    if (character === '{') this.#depth++;
    if (character === '}') {
      if (this.#templateDepths.at(-1) === this.#depth) {
        this.#templateDepths.pop();
        this.#mode = 'template';
      }
      this.#depth--;
    }
    this.#take(1, 'code');
  }

  #inComment(): void {
    const isLine = this.#mode === 'lineComment';
    const isEnd = isLine ? this.#text[this.#at] === '\n' : this.#text.startsWith('*/', this.#at);
    if (isEnd) this.#mode = 'code';
    this.#take(isEnd && !isLine ? 2 : 1, 'comment');
  }

  #inLiteral(): void {
    const character = this.#text[this.#at] ?? '';
    if (character === '\\') {
      this.#take(2, 'literal');
      return;
    }
    if (this.#mode === 'regex' && (character === '[' || character === ']'))
      this.#isInClass = character === '[';
    if (this.#mode === 'template' && this.#text.startsWith('${', this.#at)) {
      this.#templateDepths.push(++this.#depth);
      this.#mode = 'code';
      this.#take(2, 'code');
      return;
    }
    const isEnd = isLiteralEnd(this.#mode, character, this.#isInClass);
    if (isEnd) {
      this.#mode = 'code';
      this.#isInClass = false;
    }
    this.#take(1, isEnd ? 'code' : 'literal');
  }
}

function startOf(text: string, i: number, code: readonly string[]): Mode {
  const character = text[i];
  if (character === "'") return 'single';
  if (character === '"') return 'double';
  if (character === '`') return 'template';
  if (character !== '/') return 'code';
  if (text[i + 1] === '/') return 'lineComment';
  if (text[i + 1] === '*') return 'blockComment';
  return REGEX_MAY_FOLLOW.test(code.slice(-LOOK_BEHIND_SIZE).join('')) ? 'regex' : 'code';
}

function isLiteralEnd(mode: Mode, character: string, isInClass: boolean): boolean {
  if (mode === 'single') return character === "'" || character === '\n';
  if (mode === 'double') return character === '"' || character === '\n';
  if (mode === 'template') return character === '`';
  return (character === '/' && !isInClass) || character === '\n';
}

function lineAt(source: SourceText, offset: number): number {
  let line = 1;
  for (let i = 0; i < offset; i++) if (source.text[i] === '\n') line++;
  return line;
}

export interface ImportUse {
  readonly specifier: string;
  readonly line: number;
  /** import(), require.resolve(), new URL(): the specifier is a compiled file or a package. */
  readonly isDynamic: boolean;
}

const FROM_CLAUSE = /(?:^|[;\n])\s*(?:import|export)\b[\w\s{},*$]*?\bfrom\s*(['"])[^'"\n]*\1/g;
const BARE_IMPORT = /(?:^|[;\n])\s*import\s*(['"])[^'"\n]*\1/g;
const DYNAMIC_IMPORT = /\b(?:import|require)(?:\.meta)?(?:\.resolve)?\s*\(\s*(['"])[^'"\n]*\1/g;
const URL_USE = /\bnew URL\(\s*(['"])[^'"\n]*\1(?=\s*,\s*import\.meta\.url)/g;

/** Every module specifier that the file names: imports, re-exports, import(), new URL(). */
export function importsOf(source: SourceText): readonly ImportUse[] {
  const uses: ImportUse[] = [];
  for (const pattern of [FROM_CLAUSE, BARE_IMPORT, DYNAMIC_IMPORT, URL_USE])
    for (const match of source.code.matchAll(pattern)) {
      const end = match.index + match[0].length;
      const isDynamic = pattern === DYNAMIC_IMPORT || pattern === URL_USE;
      const literal = literalAt(source, end);
      const isBesideUs = pattern === URL_USE && !/^(\.|\/|[a-z]+:)/.test(literal);
      const specifier = isBesideUs ? `./${literal}` : literal;
      uses.push({ specifier, line: lineAt(source, end - 1), isDynamic });
    }
  return uses;
}

/** The literal whose closing quote is just before `end`, read from the original text. */
function literalAt(source: SourceText, end: number): string {
  const quote = source.code[end - 1] ?? "'";
  const start = source.code.lastIndexOf(quote, end - 2);
  return source.text.slice(start + 1, end - 1);
}
