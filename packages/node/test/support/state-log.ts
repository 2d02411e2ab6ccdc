/** The replicated meta state, fed with entries by hand. */
import type { Entry } from '@holdfast/base';
import { EMPTY_LOG_SUM, logIndex, sessionId, term } from '@holdfast/base';
import type { ApplyResult } from '../../src/state/apply-result.ts';
import type { Command, CommandEnvelope } from '../../src/state/command.ts';
import { encodeCommand } from '../../src/state/command.ts';
import { MetaLoader, MetaMachine } from '../../src/state/meta-machine.ts';
import { succeeded } from '../../src/state/meta-step.ts';

export const SPEC = {
  name: 'docs',
  dimension: 4,
  metric: 'l2',
  shardCount: 2,
  hnsw: { m: 16, efConstruction: 128, efSearch: 64 },
  graph: { engine: 'auto', precision: 'f32' },
  sealRowCount: 100,
  checksumAlgorithm: 'xxhash3',
  sealSizeBytes: 10_000,
} as const;

export const save = (machine: MetaMachine): readonly Uint8Array[] => [...machine.pieces()];

/** Behind the head, each piece is a frame with its size in front. */
export function load([, ...frames]: readonly Uint8Array[]): MetaMachine {
  const loader = new MetaLoader();
  for (const frame of frames) loader.take(frame.subarray(4));
  return loader.finish();
}

export class Log {
  readonly machine: MetaMachine;
  #index: number;

  constructor(machine = MetaMachine.empty()) {
    this.machine = machine;
    this.#index = machine.appliedIndex;
  }

  /** Applies a command as the next entry; writes are answered at once, as lanes would. */
  apply(
    command: Command,
    session: { id: number; sequence: number; ackedThrough?: number } | null = null,
    options: { bodyHash?: bigint; timestampMs?: number } = {},
  ): { index: number; result: ApplyResult } {
    this.#index += 1;
    const entry = entryOf(this.#index, {
      timestampMs: options.timestampMs ?? this.#index,
      session:
        session === null
          ? null
          : {
              id: sessionId(session.id),
              sequence: session.sequence,
              ackedThrough: session.ackedThrough ?? 0,
            },
      bodyHash: options.bodyHash ?? 7n,
      command,
    });
    const { kind, slot } = this.machine.step(entry);
    if (kind === 'write') slot.result = succeeded(entry, { kind: 'written', deletedCount: 0 });
    if (slot.result === null) throw new Error(`no result at ${this.#index}`);
    return { index: this.#index, result: slot.result };
  }

  openSession(): number {
    return this.apply({ kind: 'openSession' }).index;
  }
}

export function entryOf(index: number, envelope: CommandEnvelope): Entry {
  return {
    index: logIndex(index),
    term: term(1),
    type: 'normal',
    data: encodeCommand(envelope),
    sum: EMPTY_LOG_SUM,
  };
}

export const create = (name: string): Command => ({
  kind: 'createCollection',
  spec: { ...SPEC, name },
  ifNotExists: false,
});
