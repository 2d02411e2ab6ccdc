/** Checks the shape of a JSON body whose checksum was verified; names the field that is wrong. */
import { jsonCorrupt } from './atomic-json.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** Typed access to the fields of one object of `file`. Every method throws FILE_CORRUPT. */
export class JsonFields {
  readonly #file: string;
  readonly #fields: JsonObject;

  constructor(file: string, value: unknown) {
    this.#file = file;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw jsonCorrupt(file, 'has a body that is no object');
    }
    this.#fields = value as JsonObject;
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== 'string') throw this.wrong(name);
    return value;
  }

  textOrNull(name: string): string | null {
    return this.#fields[name] === null ? null : this.text(name);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#fields, name);
  }

  isNull(name: string): boolean {
    return this.#fields[name] === null;
  }

  matching(name: string, pattern: RegExp): string {
    const value = this.text(name);
    if (!pattern.test(value)) throw this.wrong(name);
    return value;
  }

  integer(name: string, minimum = 0): number {
    const value = this.#fields[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum) {
      throw this.wrong(name);
    }
    return value;
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== 'boolean') throw this.wrong(name);
    return value;
  }

  object(name: string): JsonFields {
    return new JsonFields(this.#file, this.#fields[name]);
  }

  objects(name: string): readonly JsonFields[] {
    return this.#list(name).map((item) => new JsonFields(this.#file, item));
  }

  texts(name: string, pattern: RegExp): readonly string[] {
    return this.#list(name).map((item) => {
      if (typeof item !== 'string' || !pattern.test(item)) throw this.wrong(name);
      return item;
    });
  }

  /** Whole numbers from 0 on. */
  integers(name: string): readonly number[] {
    return this.#list(name).map((item) => {
      if (typeof item !== 'number' || !Number.isSafeInteger(item) || item < 0) {
        throw this.wrong(name);
      }
      return item;
    });
  }

  wrong(name: string) {
    return jsonCorrupt(this.#file, `has a bad field "${name}"`);
  }

  #list(name: string): readonly unknown[] {
    const value = this.#fields[name];
    if (!Array.isArray(value)) throw this.wrong(name);
    return value;
  }
}
