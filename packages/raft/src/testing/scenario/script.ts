/**
 * The text of a scenario: comment lines, then blocks of commands with what they must print.
 *
 *   # Case 22: a leader that no quorum answers steps down.
 *
 *   nodes a b c
 *   campaign a
 *   ----
 *   a is preCandidate t0
 *   ...
 *
 * A block is one command per line, `----`, and the output up to the next empty line. Commands of a
 * block share one output, so a reader chooses how much happens between two looks. The output is
 * written by the runner, never by hand.
 */
import { assert } from '@holdfast/base';

export interface ScriptCommand {
  readonly line: number;
  readonly verb: string;
  readonly args: readonly string[];
}

export interface ScriptBlock {
  /** Comment lines and empty lines before the commands, as they stand. */
  readonly lead: readonly string[];
  /** The commands as they stand. */
  readonly source: readonly string[];
  readonly commands: readonly ScriptCommand[];
  readonly expected: readonly string[];
}

export interface Script {
  readonly blocks: readonly ScriptBlock[];
  /** What follows the last block. */
  readonly tail: readonly string[];
}

const SEPARATOR = '----';

export function parseScript(text: string): Script {
  const lines = text.replace(/\n+$/, '').split('\n');
  const blocks: ScriptBlock[] = [];
  let at = 0;
  for (;;) {
    const lead: string[] = [];
    while (at < lines.length && isComment(lines[at]!)) lead.push(lines[at++]!);
    if (at === lines.length) return { blocks, tail: lead };
    const source: string[] = [];
    const commands: ScriptCommand[] = [];
    for (; at < lines.length && lines[at] !== SEPARATOR; at++) {
      const line = lines[at]!;
      assert(line.trim() !== '', `scenario line ${at + 1}: a block needs ${SEPARATOR}`);
      source.push(line);
      if (!isComment(line)) commands.push(parseCommand(line, at + 1));
    }
    assert(at < lines.length, `scenario line ${at}: the last block needs ${SEPARATOR}`);
    at += 1;
    const expected: string[] = [];
    while (at < lines.length && lines[at] !== '') expected.push(lines[at++]!);
    blocks.push({ lead, source, commands, expected });
  }
}

/** The same script with `outputs` (one list per block) instead of what it expected. */
export function renderScript(script: Script, outputs: readonly (readonly string[])[]): string {
  const parts: string[] = [];
  for (const [i, block] of script.blocks.entries())
    parts.push(...block.lead, ...block.source, SEPARATOR, ...outputs[i]!);
  parts.push(...script.tail);
  return `${parts.join('\n').replace(/\n+$/, '')}\n`;
}

const isComment = (line: string): boolean => line.trim() === '' || line.startsWith('#');

function parseCommand(line: string, number: number): ScriptCommand {
  const [verb, ...args] = line.trim().split(/\s+/);
  return { line: number, verb: verb ?? '', args };
}
