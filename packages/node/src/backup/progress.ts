/** How far a backup has come, for people who watch it. Bytes are those of the files, unsealed. */
import type { Clock } from '@holdfast/base';

/** In this order; `check` looks once more for everything that the manifest names. */
export type BackupPhase = 'prepare' | 'files' | 'manifest' | 'check' | 'done';

export interface BackupProgress {
  readonly phase: BackupPhase;
  /** Sent, or found to be there already. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** What had to be sent. */
  readonly bytesSent: number;
  /** Of what is sent, since the first byte; 0 before it. */
  readonly ratePerS: number;
  /** Until the files are there, as if all that is left had to be sent; null while unknown. */
  readonly etaMs: number | null;
}

export type BackupProgressListener = (progress: BackupProgress) => void;

export class BackupProgressMeter {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #listener: BackupProgressListener;
  readonly #bytesTotal: number;
  readonly #startMs: number;
  /** Of files under way, by path: it falls back when a part is repeated. */
  readonly #underWay = new Map<string, number>();
  #phase: BackupPhase = 'prepare';
  #bytesReused = 0;
  #bytesSent = 0;

  constructor(
    clock: Pick<Clock, 'monotonicMs'>,
    bytesTotal: number,
    listener: BackupProgressListener,
  ) {
    this.#clock = clock;
    this.#bytesTotal = bytesTotal;
    this.#listener = listener;
    this.#startMs = clock.monotonicMs();
  }

  get bytesSent(): number {
    return this.#bytesSent;
  }

  enter(phase: BackupPhase): void {
    this.#phase = phase;
    this.#tell();
  }

  reused(sizeBytes: number): void {
    this.#bytesReused += sizeBytes;
    this.#tell();
  }

  sending(path: string, sizeBytes: number): void {
    this.#underWay.set(path, sizeBytes);
    this.#tell();
  }

  sent(path: string, sizeBytes: number): void {
    this.#underWay.delete(path);
    this.#bytesSent += sizeBytes;
    this.#tell();
  }

  #tell(): void {
    const bytesUnderWay = [...this.#underWay.values()].reduce((sum, bytes) => sum + bytes, 0);
    const bytesMoved = this.#bytesSent + bytesUnderWay;
    const bytesDone = this.#bytesReused + bytesMoved;
    const elapsedMs = this.#clock.monotonicMs() - this.#startMs;
    const ratePerS = elapsedMs > 0 ? (bytesMoved * 1_000) / elapsedMs : 0;
    const bytesLeft = this.#bytesTotal - bytesDone;
    const etaMs = ratePerS > 0 ? Math.round((bytesLeft * 1_000) / ratePerS) : null;
    this.#listener({
      ...{ phase: this.#phase, bytesDone, bytesTotal: this.#bytesTotal },
      ...{ bytesSent: this.#bytesSent, ratePerS, etaMs: bytesLeft === 0 ? 0 : etaMs },
    });
  }
}
