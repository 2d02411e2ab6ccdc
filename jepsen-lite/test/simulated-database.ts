/**
 * What the cluster promises to be, in a hundred lines: one log, applied one entry at a time. Every
 * workload runs against it, so its checker sees histories that are right by construction.
 */
import { unreachable } from '@holdfast/base';
import type { Operation, OperationOf, SeenPoint } from '../src/operation.ts';
import type { Effect } from './simulated-history.ts';

interface Cell {
  readonly value: number;
  readonly version: number;
}

export class SimulatedDatabase {
  /** By name: keys of registers, or group and point. */
  readonly #cells = new Map<string, Cell>();
  readonly #lists = new Map<string, readonly number[]>();
  /** By name of the collection: when it was created and what it holds. */
  readonly #collections = new Map<string, { createdIndex: number; cells: Map<number, number> }>();
  #index = 0;

  constructor(initial: Readonly<Record<string, number>> = {}) {
    for (const [name, value] of Object.entries(initial)) this.#write(name, value, 1);
    this.#index = 1;
  }

  readonly apply = (operation: Operation): Effect => {
    return this.#apply(operation) ?? { outcome: 'fail', operation };
  };

  #write(name: string, value: number | null, version: number): void {
    if (value === null) this.#cells.delete(name);
    else this.#cells.set(name, { value, version });
  }

  #value = (name: string): number | null => this.#cells.get(name)?.value ?? null;

  #seen(group: string, points: readonly number[]): readonly SeenPoint[] {
    return points.flatMap((point) => {
      const cell = this.#cells.get(`${group}/${point}`);
      return cell === undefined ? [] : [{ point, ...cell }];
    });
  }

  /** Null: refused, nothing was changed. */
  #apply(operation: Operation): Effect | null {
    const ok = (done: Operation): Effect => ({ outcome: 'ok', operation: done });
    switch (operation.kind) {
      case 'read':
        return ok({ ...operation, value: this.#value(operation.key) });
      case 'findPoint': {
        const found = this.#value(operation.key);
        return ok({
          ...operation,
          found: operation.means === 'graph' && found === null ? undefined : found,
        });
      }
      case 'write':
      case 'putPoint':
        this.#write(operation.key, operation.value, ++this.#index);
        return ok(operation);
      case 'deletePoint':
        this.#write(operation.key, null, ++this.#index);
        return ok(operation);
      case 'compareAndSet': {
        const expected = this.#value(operation.key);
        this.#write(operation.key, operation.value, ++this.#index);
        return ok({ ...operation, expected });
      }
      case 'writeVersioned': {
        const index = ++this.#index;
        this.#write(`${operation.key}/0`, operation.value, index);
        return ok({ ...operation, index });
      }
      case 'readStale': {
        const cell = this.#cells.get(`${operation.key}/0`);
        const seen = { value: cell?.value ?? null, version: cell?.version ?? null };
        return ok({ ...operation, ...seen, appliedIndex: this.#index });
      }
      case 'writeTogether': {
        const { key, points, value } = operation;
        const index = ++this.#index;
        for (const point of points) this.#write(`${key}/${point}`, value, index);
        return ok({ ...operation, index });
      }
      case 'readTogether': {
        const seen = this.#seen(operation.key, operation.points);
        return ok({ ...operation, seen, appliedIndex: this.#index });
      }
      case 'transfer':
        return this.#transfer(operation);
      case 'append': {
        const list = this.#lists.get(operation.key) ?? [];
        this.#lists.set(operation.key, [...list, operation.element]);
        return ok({ ...operation, list });
      }
      case 'readList':
        return ok({ ...operation, list: this.#lists.get(operation.key) ?? [] });
      case 'add':
      case 'readAll':
      case 'insertRepeated':
      case 'readRepeated':
        return this.#element(operation);
      case 'createCollection':
      case 'dropCollection':
      case 'changePayloadIndex':
      case 'insertInto':
      case 'readCollection':
        return this.#schema(operation);
      default:
        return unreachable(operation);
    }
  }

  #element(operation: OperationOf<'add' | 'readAll' | 'insertRepeated' | 'readRepeated'>): Effect {
    const ok = (done: Operation): Effect => ({ outcome: 'ok', operation: done });
    switch (operation.kind) {
      case 'add':
        this.#write(`set/${operation.element}`, operation.element, ++this.#index);
        return ok(operation);
      case 'readAll': {
        const { elementMin = 1, elementMax } = operation;
        const seen = this.#seen('set', range(elementMin, elementMax));
        return ok({ ...operation, elements: seen.map(({ point }) => point) });
      }
      case 'insertRepeated': {
        const index = ++this.#index;
        this.#write(`repeated/${operation.element}`, operation.element, index);
        return ok({ ...operation, indexes: [index, index], refusals: [] });
      }
      case 'readRepeated': {
        const { elementMin, elementMax } = operation;
        return ok({ ...operation, seen: this.#seen('repeated', range(elementMin, elementMax)) });
      }
      default:
        return unreachable(operation);
    }
  }

  #transfer(operation: Extract<Operation, { kind: 'transfer' }>): Effect | null {
    const { from, to, amount } = operation;
    const [source, target] = [`accounts/${from}`, `accounts/${to}`];
    const left = (this.#value(source) ?? 0) - amount;
    if (left < 0) return null;
    const grown = (this.#value(target) ?? 0) + amount;
    const index = ++this.#index;
    this.#write(source, left, index);
    this.#write(target, grown, index);
    return { outcome: 'ok', operation: { ...operation, balances: [left, grown], index } };
  }

  #schema(operation: Extract<Operation, { name: string }>): Effect | null {
    const collection = this.#collections.get(operation.name);
    const ok = (done: Operation): Effect => ({ outcome: 'ok', operation: done });
    if (operation.kind === 'createCollection') {
      if (collection !== undefined && !operation.isIdempotent) return null;
      const index = ++this.#index;
      const { createdIndex } = collection ?? { createdIndex: index };
      if (collection === undefined) {
        this.#collections.set(operation.name, { createdIndex, cells: new Map() });
      }
      return ok({ ...operation, index, createdIndex });
    }
    if (operation.kind === 'dropCollection') {
      const isDropped = this.#collections.delete(operation.name);
      return ok({ ...operation, index: ++this.#index, isDropped });
    }
    if (collection === undefined) return null;
    if (operation.kind === 'changePayloadIndex') return ok({ ...operation, index: ++this.#index });
    if (operation.kind === 'insertInto') {
      const index = ++this.#index;
      collection.cells.set(operation.element, index);
      return ok({ ...operation, index });
    }
    const seen = [...collection.cells].map(([point, version]) => ({
      point,
      version,
      value: point,
    }));
    return ok({ ...operation, seen, appliedIndex: this.#index });
  }
}

const range = (first: number, last: number): readonly number[] =>
  Array.from({ length: Math.max(0, last - first + 1) }, (_unused, i) => first + i);
