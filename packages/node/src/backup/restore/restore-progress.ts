/** How far a restore of collections is, and what of it is in the cluster, from its steps. */
import { unreachable } from '@holdfast/base';
import type { BesideStep, HiddenTarget } from './beside-live.ts';
import type { RestoreStep } from './lay-directory.ts';
import type { RestoredCollection, RestorePhase } from './restores-api.ts';

interface Made {
  readonly target: HiddenTarget;
  readonly pointCount: number;
  /** Null until the cluster has compared it. */
  readonly digest: string | null;
}

export class RestoreProgress {
  #phase: RestorePhase = 'planning';
  #progressPercent = 0;
  #firstIndex: number | null = null;
  #sourcePointCount = 0;
  /** By uid, in the order they were begun. */
  readonly #made = new Map<number, Made>();

  get view() {
    const [phase, progressPercent] = [this.#phase, this.#progressPercent];
    return { phase, progressPercent, pointCount: this.#pointCount };
  }

  /** What the cluster has compared with its source. */
  get made(): readonly RestoredCollection[] {
    return [...this.#made.values()].flatMap(({ digest, pointCount, target }) =>
      digest === null ? [] : [{ ...target, pointCount, digest }],
    );
  }

  /** What was begun and not purged. */
  get left(): readonly HiddenTarget[] {
    return [...this.#made.values()].map(({ target }) => target);
  }

  readonly note = (step: RestoreStep | BesideStep): void => {
    switch (step.kind) {
      case 'files':
        this.#at('files', step.bytesDone, step.bytesTotal);
        return;
      case 'entries':
        this.#firstIndex ??= step.index;
        this.#at('entries', step.index - this.#firstIndex, step.through - this.#firstIndex);
        return;
      case 'done':
        return;
      case 'opened':
        this.#sourcePointCount = step.pointCount;
        this.#noteRows();
        return;
      case 'created':
        this.#set({ target: step.target, pointCount: 0, digest: null });
        return;
      case 'rows':
        this.#set({ target: step.target, pointCount: step.pointCount, digest: null });
        return;
      case 'compared': {
        const { content, target } = step;
        this.#set({ target, ...content });
        return;
      }
      case 'published':
        return;
      case 'purged':
        this.#made.delete(step.target.uid);
        return;
      case 'purgeFailed':
        return;
      default:
        unreachable(step);
    }
  };

  get #pointCount(): number {
    return [...this.#made.values()].reduce((sum, { pointCount }) => sum + pointCount, 0);
  }

  #set(made: Made): void {
    this.#made.set(made.target.uid, made);
    this.#noteRows();
  }

  #noteRows(): void {
    this.#at('rows', this.#pointCount, this.#sourcePointCount);
  }

  #at(phase: RestorePhase, done: number, total: number): void {
    this.#phase = phase;
    this.#progressPercent = total <= 0 ? 100 : Math.floor((Math.min(done, total) * 100) / total);
  }
}
