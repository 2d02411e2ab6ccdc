/**
 * Tells the history which faults of a plan were in force, from harm to healing, so that coverage,
 * availability and the timeline see a simulated run as they see any other. The nemesis is `plan`'s
 * kind of fault. A fault that is over at once is healed at once; one kind that strikes twice is
 * healed when the last of it is over, because a healing ends all harm of its nemesis.
 */
import type { NodeId } from '@holdfast/base';
import type { History } from '../history.ts';
import { ARMED_MS_MAX } from './armed-faults.ts';
import type { StrikeReport } from './fault-driver.ts';
import type { Fault, FaultKind } from './plan.ts';

export interface FaultStoryParts {
  readonly history: History;
  /** Since the load began. */
  readonly nowMs: () => number;
  readonly after: (delayMs: number, action: () => void) => void;
}

export class FaultStory {
  readonly #parts: FaultStoryParts;
  readonly #inForce = new Map<FaultKind, number>();

  constructor(parts: FaultStoryParts) {
    this.#parts = parts;
  }

  struck({ fault, nodes, outcome }: StrikeReport): void {
    const { kind } = fault;
    this.#write(kind, {
      ...{ isHealing: false, action: kind, outcome, targets: nodes.map(({ id }) => id) },
      detail: detailOf(fault),
    });
    if (outcome === 'skipped') return;
    this.#inForce.set(kind, (this.#inForce.get(kind) ?? 0) + 1);
    this.#parts.after(forceMsOf(fault), () => this.#over(kind));
  }

  /** Everything is over at once, whatever was in force. */
  healed(): void {
    const kinds = [...this.#inForce].filter(([, count]) => count > 0).map(([kind]) => kind);
    this.#inForce.clear();
    for (const kind of kinds) this.#heal(kind, 'everything is healed');
  }

  #over(kind: FaultKind): void {
    const count = this.#inForce.get(kind) ?? 0;
    // Zero: healed with everything else, before its time.
    if (count === 0) return;
    this.#inForce.set(kind, count - 1);
    if (count === 1) this.#heal(kind, 'its time is over');
  }

  #heal(kind: FaultKind, detail: string): void {
    const action = `end-${kind}`;
    this.#write(kind, { isHealing: true, action, outcome: 'installed', targets: [], detail });
  }

  #write(
    nemesis: string,
    event: {
      readonly isHealing: boolean;
      readonly action: string;
      readonly outcome: StrikeReport['outcome'];
      readonly targets: readonly NodeId[];
      readonly detail: string;
    },
  ): void {
    const timeMs = this.#parts.nowMs();
    this.#parts.history.fault({ nemesis, ...event, timeMs, doneMs: timeMs });
  }
}

function detailOf(fault: Fault): string {
  const { kind, ...rest } = fault;
  const facts = Object.entries(rest).filter(([name]) => name !== 'salt');
  return facts.map(([name, value]) => `${name} ${value}`).join(', ') || kind;
}

/** Until what it did is taken back, or has happened; 0 when it is over at once. */
export function forceMsOf(fault: Fault): number {
  const heldMs = 'forMs' in fault ? fault.forMs : 'downMs' in fault ? (fault.downMs ?? 0) : 0;
  const isArmed =
    fault.kind === 'powerCutAtDiskOperation' ||
    fault.kind === 'powerCutDuringStart' ||
    fault.kind === 'killAtLogSync' ||
    fault.kind === 'diskError';
  return isArmed ? heldMs + ARMED_MS_MAX : heldMs;
}
