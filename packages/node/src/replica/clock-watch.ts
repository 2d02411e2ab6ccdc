/**
 * A node whose wall clock is far from that of the others raises an alarm, and does not lead while
 * somebody with a right clock can: it does not hurry to be elected, and when it was elected all the
 * same it hands over. It goes on voting and acknowledging, for which no clock is needed.
 */
import type { Logger, NodeId } from '@holdfast/base';
import {
  CLOCK_SKEW_MS_MAX,
  type ClockView,
  isClockRight,
  medianOffsetMs,
  ownSkewMs,
} from './clock-median.ts';

const LOOK_INTERVAL_MS = 1_000;
/** A transfer that failed is tried again after this. */
const HAND_OVER_INTERVAL_MS = 5_000;

export interface ClockWatchParts {
  readonly view: () => ClockView;
  readonly logger: Logger;
  readonly isLeader: () => boolean;
  /** Voters that could take over, best first. */
  readonly successors: () => readonly NodeId[];
  readonly handOver: (to: NodeId) => void;
}

export class ClockWatch {
  readonly #parts: ClockWatchParts;
  #skewMs: number | null = null;
  #isAlarmRaised = false;
  #nextLookMs = 0;
  #nextHandOverMs = 0;

  constructor(parts: ClockWatchParts) {
    this.#parts = parts;
  }

  /** Our clock minus the median of the voters; null while too few clocks are known. */
  get skewMs(): number | null {
    return this.#skewMs;
  }

  /** Median of the voters minus our clock; null while the clocks of a quorum are not known. */
  medianOffsetMs(): number | null {
    return medianOffsetMs(this.#parts.view());
  }

  /** The others are not better off with this node as leader. */
  get isWrong(): boolean {
    return this.#isAlarmRaised;
  }

  onTick(nowMs: number): void {
    if (nowMs < this.#nextLookMs) return;
    this.#nextLookMs = nowMs + LOOK_INTERVAL_MS;
    this.#skewMs = ownSkewMs(this.#parts.view());
    this.#judge();
    if (this.#isAlarmRaised && this.#parts.isLeader() && nowMs >= this.#nextHandOverMs) {
      this.#nextHandOverMs = nowMs + HAND_OVER_INTERVAL_MS;
      this.#handOver();
    }
  }

  /** Not knowing is no all-clear: the alarm ends when the clock is known to be right. */
  #judge(): void {
    if (this.#skewMs === null) return;
    const isWrong = Math.abs(this.#skewMs) > CLOCK_SKEW_MS_MAX;
    if (isWrong === this.#isAlarmRaised) return;
    this.#isAlarmRaised = isWrong;
    const fields = { skewMs: Math.round(this.#skewMs), limitMs: CLOCK_SKEW_MS_MAX };
    if (!isWrong) this.#parts.logger.info(fields, 'the clock of this node is right again');
    else {
      const message =
        'the clock of this node is far from the clocks of the others: set it; until then this ' +
        'node leads only when nobody else can';
      this.#parts.logger.error(fields, message);
    }
  }

  #handOver(): void {
    const view = this.#parts.view();
    const to = this.#parts.successors().find((id) => isClockRight(view, id));
    if (to !== undefined) this.#parts.handOver(to);
  }
}
