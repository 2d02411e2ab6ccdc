/**
 * The arguments of one command: `a b key=value flag`. Whatever a verb does not ask for is refused,
 * so a misspelt option cannot quietly change what a scenario proves.
 */
import { assert } from '@holdfast/base';
import type { ScriptCommand } from './script.ts';

export class Arguments {
  readonly #where: string;
  readonly #words: string[];
  readonly #options = new Map<string, string>();

  constructor(command: ScriptCommand) {
    this.#where = `line ${command.line}, ${command.verb}`;
    this.#words = command.args.filter((arg) => !arg.includes('='));
    for (const arg of command.args) {
      const split = arg.indexOf('=');
      if (split === -1) continue;
      const key = arg.slice(0, split);
      this.check(!this.#options.has(key), `${key} is given twice`);
      this.#options.set(key, arg.slice(split + 1));
    }
  }

  check(condition: boolean, what: string): asserts condition {
    assert(condition, `${this.#where}: ${what}`);
  }

  /** The next word that is neither option nor flag. */
  word(what: string): string {
    const word = this.#words.shift();
    this.check(word !== undefined, `needs ${what}`);
    return word;
  }

  optionalWord(): string | null {
    return this.#words.shift() ?? null;
  }

  /** Every word that is left. */
  words(): readonly string[] {
    return this.#words.splice(0);
  }

  flag(name: string): boolean {
    const position = this.#words.indexOf(name);
    if (position === -1) return false;
    this.#words.splice(position, 1);
    return true;
  }

  option(name: string): string | null {
    const value = this.#options.get(name) ?? null;
    this.#options.delete(name);
    return value;
  }

  list(name: string): readonly string[] | null {
    const value = this.option(name);
    return value === null ? null : value.split(',').filter((word) => word !== '');
  }

  count(name: string): number | null {
    const value = this.option(name);
    return value === null ? null : this.#number(name, value);
  }

  numbers(name: string): readonly number[] | null {
    return this.list(name)?.map((value) => this.#number(name, value)) ?? null;
  }

  /** A word that is a number; `fallback` when there is none. */
  countWord(fallback: number): number {
    const word = this.optionalWord();
    return word === null ? fallback : this.#number('count', word);
  }

  isOn(name: string): boolean | null {
    const value = this.option(name);
    if (value === null) return null;
    this.check(value === 'on' || value === 'off', `${name} is on or off`);
    return value === 'on';
  }

  /** Nothing may be left that no verb asked for. */
  finish(): void {
    this.check(this.#words.length === 0, `does not know ${this.#words.join(' ')}`);
    const left = [...this.#options.keys()];
    this.check(left.length === 0, `does not know ${left.join(' ')}`);
  }

  #number(name: string, value: string): number {
    const number = Number(value);
    this.check(value !== '' && Number.isSafeInteger(number) && number >= 0, `${name} is a count`);
    return number;
  }
}
