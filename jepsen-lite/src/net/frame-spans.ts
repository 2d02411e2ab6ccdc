/**
 * Finds the WebSocket frames in one direction of a connection, so that a fault can hit the inside
 * of a message, where no layer below the product notices, and not the framing, which would only
 * break the connection (RFC 6455, section 5.2). Pure; bytes come in as the network cut them.
 */

/** Where the payload of a frame lies in the chunk, or that part of it that does. */
export interface FrameSpan {
  /** Of the payload in this chunk; `from` may equal `to`. */
  readonly from: number;
  readonly to: number;
  /** Where the frame with its header begins; null: in a chunk before. */
  readonly headerAt: number | null;
  /** False: the rest comes in the next chunk. */
  readonly isWhole: boolean;
  /** True for messages, false for pings, pongs and goodbyes. */
  readonly isData: boolean;
}

/** Behind it the HTTP upgrade ends and frames begin. */
const HEAD_END = Buffer.from('\r\n\r\n');
const HEADER_SIZE_BYTES_MIN = 2;
const MASK_SIZE_BYTES = 4;

export class FrameSpans {
  /** The last bytes of an HTTP head that has not ended yet; null: it has. */
  #headTail: Buffer | null = Buffer.alloc(0);
  /** Of a frame header that was cut by the end of a chunk. */
  #header: Buffer = Buffer.alloc(0);
  #payloadLeft = 0;
  #isData = false;

  /** The frames that lie in this chunk wholly or in part, in order. */
  advance(chunk: Buffer): readonly FrameSpan[] {
    let at = this.#skipHead(chunk);
    const spans: FrameSpan[] = [];
    while (at < chunk.length) {
      let headerAt: number | null = null;
      if (this.#payloadLeft === 0) {
        const heldCount = this.#header.length;
        const headerEnd = this.#readHeader(chunk, at);
        if (headerEnd === null) break;
        headerAt = heldCount === 0 ? at : null;
        at = headerEnd;
      }
      const to = Math.min(chunk.length, at + this.#payloadLeft);
      this.#payloadLeft -= to - at;
      const isWhole = headerAt !== null && this.#payloadLeft === 0;
      spans.push({ from: at, to, headerAt, isWhole, isData: this.#isData });
      at = to;
    }
    return spans;
  }

  #skipHead(chunk: Buffer): number {
    if (this.#headTail === null) return 0;
    const seen = Buffer.concat([this.#headTail, chunk]);
    const at = seen.indexOf(HEAD_END);
    if (at < 0) {
      this.#headTail = seen.subarray(-HEAD_END.length + 1);
      return chunk.length;
    }
    const end = at + HEAD_END.length - this.#headTail.length;
    this.#headTail = null;
    return end;
  }

  /** Where the payload begins in the chunk; null: the header goes on in the next. */
  #readHeader(chunk: Buffer, at: number): number | null {
    const held = this.#header.length;
    const bytes = held === 0 ? chunk.subarray(at) : Buffer.concat([this.#header, chunk]);
    const sizeBytes = headerSizeOf(bytes);
    if (sizeBytes === null) {
      this.#header = Buffer.from(bytes);
      return null;
    }
    this.#header = Buffer.alloc(0);
    this.#isData = (bytes.readUInt8(0) & 0x08) === 0;
    this.#payloadLeft = payloadSizeOf(bytes);
    return at + sizeBytes - held;
  }
}

/** Null: not all of it is there. */
function headerSizeOf(bytes: Buffer): number | null {
  if (bytes.length < HEADER_SIZE_BYTES_MIN) return null;
  const second = bytes.readUInt8(1);
  const size = (second & 0x80) === 0 ? 0 : MASK_SIZE_BYTES;
  const length = second & 0x7f;
  const lengthSize = length === 127 ? 8 : length === 126 ? 2 : 0;
  const whole = HEADER_SIZE_BYTES_MIN + lengthSize + size;
  return bytes.length < whole ? null : whole;
}

function payloadSizeOf(bytes: Buffer): number {
  const length = bytes.readUInt8(1) & 0x7f;
  if (length === 127) return Number(bytes.readBigUInt64BE(2));
  return length === 126 ? bytes.readUInt16BE(2) : length;
}
