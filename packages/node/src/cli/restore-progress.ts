/** What `holdfast restore run` shows as it works: bytes or entries, the rate, and what is left. */
import type { Clock } from '@holdfast/base';
import type { RestoreStep } from '../backup/restore/lay-directory.ts';
import type { CliIo } from './io.ts';

/** A line in a log; a bar on a terminal is drawn as often. */
const SHOW_INTERVAL_MS = 1_000;
const MB = 1_000_000;
const BAR_LENGTH = 24;

export class RestoreMeter {
  readonly #io: CliIo;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #kind: RestoreStep['kind'] | null = null;
  #beganMs = 0;
  #doneBefore = 0;
  #shownMs = Number.NEGATIVE_INFINITY;
  #isLineOpen = false;

  constructor(io: CliIo, clock: Pick<Clock, 'monotonicMs'>) {
    this.#io = io;
    this.#clock = clock;
  }

  show(step: RestoreStep): void {
    const nowMs = this.#clock.monotonicMs();
    if (step.kind === 'done') {
      if (this.#isLineOpen) this.#io.err('\n');
      this.#isLineOpen = false;
      return;
    }
    const [done, total] =
      step.kind === 'files' ? [step.bytesDone, step.bytesTotal] : [step.index, step.through];
    if (step.kind !== this.#kind) {
      // Of the log nothing is known before its first batch: where it begins counts from there.
      [this.#kind, this.#beganMs, this.#shownMs] = [step.kind, nowMs, Number.NEGATIVE_INFINITY];
      this.#doneBefore = step.kind === 'files' ? 0 : done;
    }
    const isLast = done >= total;
    if (nowMs - this.#shownMs < SHOW_INTERVAL_MS && !isLast) return;
    this.#shownMs = nowMs;
    const perS = ((done - this.#doneBefore) * 1_000) / Math.max(1, nowMs - this.#beganMs);
    const left = perS > 0 ? `${Math.ceil((total - done) / perS)} s left` : 'time left unknown';
    const share = total === 0 ? 1 : done / total;
    const facts =
      step.kind === 'files'
        ? `${step.done} of ${step.total} files, ${(done / MB).toFixed(1)} of ` +
          `${(total / MB).toFixed(1)} MB, ${(perS / MB).toFixed(1)} MB/s`
        : `log: index ${done} of ${total}, ${Math.round(perS)} entries/s`;
    this.#line(`${bar(share)} ${(share * 100).toFixed(0).padStart(3)} %  ${facts}, ${left}`);
  }

  #line(text: string): void {
    if (!this.#io.isInteractive) {
      this.#io.err(`${text}\n`);
      return;
    }
    this.#io.err(`\r\x1b[2K${text}`);
    this.#isLineOpen = true;
  }
}

function bar(share: number): string {
  const full = Math.round(Math.min(1, share) * BAR_LENGTH);
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_LENGTH - full)}]`;
}
