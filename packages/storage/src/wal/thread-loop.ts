/**
 * The loop of the WAL thread: everything that has arrived becomes one batch; without work it
 * confirms the last batch, prepares the next file, then sleeps. Synchronous; it returns when told
 * to close or on failure. While the disk refuses a batch it does nothing but try that again.
 */
import type { Clock, HoldfastError } from '@holdfast/base';
import { must, toHoldfastError, unreachable } from '@holdfast/base';
import { classifyWriteError } from '../write-errors.ts';
import type { RingConsumer } from './shared-ring.ts';
import type { WalThreadReply } from './thread-protocol.ts';
import { FRAME_APPEND, FRAME_CLOSE, FRAME_ORDER, FRAME_RELEASE } from './thread-protocol.ts';
import type { WalOptions, WalOrder } from './types.ts';
import type { BatchPlace, WalWriter } from './wal-writer.ts';
import { WriteRetry } from './write-retry.ts';
import { isBlockedError } from './writer-errors.ts';

/** A slice of zeros while idle: well below a millisecond. */
const PREPARE_IDLE_SLICE_BYTES = 256 * 1024;
/** A slice after a batch: twice what was written stays ahead of the writer and costs little. */
const PREPARE_BUSY_SLICE_BYTES = 64 * 1024;

interface Collected {
  readonly frames: readonly Uint8Array[];
  readonly releaseBelow: number | null;
  readonly order: WalOrder | null;
  readonly isClosing: boolean;
}

const NO_COMMAND = { releaseBelow: null, order: null, isClosing: false };

export function runWalThread(
  ring: RingConsumer,
  writer: WalWriter,
  options: WalOptions,
  clock: Pick<Clock, 'monotonicMs'>,
  reply: (message: WalThreadReply) => void,
): void {
  const sleepMs = (): number =>
    Math.max(0, (writer.confirmAtMs ?? Number.POSITIVE_INFINITY) - clock.monotonicMs());
  const patient = new PatientWriter(ring, writer, options, clock, reply);
  try {
    for (;;) {
      const doorbell = ring.doorbell();
      const work = collect(ring, options.batchSizeBytesMax);
      if (ring.takeProducerWaits()) reply({ kind: 'space' });
      const hasCommand = work.releaseBelow !== null || work.order !== null || work.isClosing;
      const hasWork = work.frames.length > 0 || hasCommand;
      if (!hasWork) {
        const isDue = sleepMs() === 0;
        if (isDue && patient.confirm()) continue;
        if (writer.prepareNextFile(PREPARE_IDLE_SLICE_BYTES)) continue;
        // It may have needed the file that is finished now; else it waits for the next batch.
        if (isDue && patient.confirm()) continue;
        ring.sleep(doorbell, isDue ? Number.POSITIVE_INFINITY : sleepMs());
        continue;
      }
      perform(work, writer, patient, reply);
      if (work.isClosing) return;
    }
  } catch (error) {
    reply({ kind: 'failed', error: toHoldfastError(error).toBody() });
  }
}

/** Writes batches, and waits as long as the disk refuses one. */
class PatientWriter {
  readonly #ring: RingConsumer;
  readonly #writer: WalWriter;
  readonly #retry: WriteRetry;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #reply: (message: WalThreadReply) => void;

  constructor(
    ring: RingConsumer,
    writer: WalWriter,
    options: WalOptions,
    clock: Pick<Clock, 'monotonicMs'>,
    reply: (message: WalThreadReply) => void,
  ) {
    this.#ring = ring;
    this.#writer = writer;
    this.#retry = new WriteRetry(options.writeRetry);
    this.#clock = clock;
    this.#reply = reply;
  }

  writeBatch(payload: Uint8Array): BatchPlace {
    return this.#persist(() => this.#writer.writeBatch(payload));
  }

  confirm(): boolean {
    return this.#persist<boolean | BatchPlace>(() => this.#writer.confirm()) !== false;
  }

  #persist<Value>(write: () => Value): Value | BatchPlace {
    let attempt: () => Value | BatchPlace = write;
    for (let isFirst = true; ; isFirst = false) {
      try {
        const value = attempt();
        if (!isFirst) this.#tell(() => this.#retry.succeeded());
        return value;
      } catch (error) {
        if (!isBlockedError(error)) throw error;
        this.#wait(error);
        attempt = () => this.#writer.resume();
      }
    }
  }

  #wait(error: HoldfastError): void {
    const facts = must(classifyWriteError(error.cause), 'a refusal was classified before');
    let waitMs = 0;
    // Asked for before this refusal: it was about another one.
    this.#ring.takeHurry();
    this.#tell(() => {
      waitMs = this.#retry.refused(facts, this.#clock.monotonicMs());
    });
    do {
      // New work rings too; it waits as well.
      this.#ring.sleep(this.#ring.doorbell(), waitMs);
      if (this.#ring.takeProducerWaits()) this.#reply({ kind: 'space' });
      if (this.#ring.takeHurry()) this.#retry.allowProbe(this.#clock.monotonicMs());
      waitMs = this.#retry.waitMs(this.#clock.monotonicMs());
    } while (!this.#retry.mayTry(this.#clock.monotonicMs(), this.#writer.hasRoom));
  }

  #tell(change: () => void): void {
    change();
    this.#reply({ kind: 'writes', writes: this.#retry.writes });
  }
}

function perform(
  work: Collected,
  writer: WalWriter,
  patient: PatientWriter,
  reply: (message: WalThreadReply) => void,
): void {
  if (work.frames.length > 0) {
    const payload = Buffer.concat(work.frames);
    const place = patient.writeBatch(payload);
    const [frameCount, closedFiles] = [work.frames.length, writer.takeClosedFiles()];
    reply({ kind: 'durable', frameCount, place, closedFiles, stats: writer.stats });
    // Keeps ahead of the writer also under a load that never pauses.
    writer.prepareNextFile(Math.max(PREPARE_BUSY_SLICE_BYTES, 2 * payload.byteLength));
  }
  if (work.releaseBelow !== null) writer.releaseFilesBelow(work.releaseBelow);
  if (work.order !== null) {
    writer.mend(work.order);
    reply({ kind: 'mended' });
  }
  if (!work.isClosing) return;
  writer.close();
  reply({ kind: 'closed', stats: writer.stats });
}

type FrameKind =
  | typeof FRAME_APPEND
  | typeof FRAME_RELEASE
  | typeof FRAME_CLOSE
  | typeof FRAME_ORDER;

/** From the front of this very process. */
const decodeOrder = (bytes: Uint8Array): WalOrder =>
  JSON.parse(Buffer.from(bytes).toString('utf8')) as WalOrder;

/** Whole frames up to the batch limit, at least one; stops behind a command. */
function collect(ring: RingConsumer, batchSizeBytesMax: number): Collected {
  const frames: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const nextSize = ring.nextSizeBytes();
    const isOver = nextSize !== null && frames.length > 0 && size + nextSize > batchSizeBytesMax;
    const frame = nextSize === null || isOver ? null : ring.next();
    if (frame === null) return { frames, ...NO_COMMAND };
    const kind = frame.kind as FrameKind;
    switch (kind) {
      case FRAME_APPEND:
        frames.push(frame.bytes);
        size += frame.bytes.byteLength;
        break;
      case FRAME_RELEASE: {
        const view = new DataView(frame.bytes.buffer, frame.bytes.byteOffset, 8);
        return { frames, ...NO_COMMAND, releaseBelow: view.getFloat64(0, true) };
      }
      case FRAME_CLOSE:
        return { frames, ...NO_COMMAND, isClosing: true };
      case FRAME_ORDER:
        return { frames, ...NO_COMMAND, order: decodeOrder(frame.bytes) };
      default:
        return unreachable(kind);
    }
  }
}
