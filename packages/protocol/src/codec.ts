/**
 * Bytes of one WebSocket binary frame <-> one message. Decoding validates everything: what comes
 * out can be trusted, and nothing but HoldfastError is thrown for any bytes. Encoding trusts its
 * types.
 */
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import { isFields } from './check.ts';
import type { Down, ReceivedDown } from './down.ts';
import { checkDown } from './down.ts';
import { FRAME_SIZE_BYTES_MAX } from './limits.ts';
import { readMsgpack } from './msgpack-reader.ts';
import { writeMsgpack } from './msgpack-writer.ts';
import type { ResultOf } from './results.ts';
import { checkResult } from './results.ts';
import type { OutgoingUp, RequestKind, Up } from './up.ts';
import { checkUp } from './up.ts';

/**
 * Decodes and validates a client frame. Vectors may be views of `bytes`: the caller must not reuse
 * them. The frame limit may be lowered, for example before the hello.
 * @throws HoldfastError FRAME_TOO_LARGE, FRAME_MALFORMED, or a validator's code; when the id of a
 * bad request could be read it is in `details.requestId`, so that the request can be answered
 */
export function decodeUp(bytes: Uint8Array, frameSizeBytesMax = FRAME_SIZE_BYTES_MAX): Up {
  if (bytes.byteLength > frameSizeBytesMax)
    throw frameTooLarge(bytes.byteLength, frameSizeBytesMax);
  const value = readMsgpack(bytes);
  if (!isFields(value)) {
    throw new HoldfastError(
      'FRAME_MALFORMED',
      'frame is not a map; send one msgpack map per frame',
    );
  }
  return checkUp(value);
}

/** @throws HoldfastError FRAME_TOO_LARGE when the message does not fit into a frame */
export function encodeUp(message: OutgoingUp): Uint8Array {
  return writeMsgpack(message, FRAME_SIZE_BYTES_MAX);
}

/** @throws HoldfastError FRAME_TOO_LARGE when an answer is too large: ask for fewer points */
export function encodeDown(message: Down): Uint8Array {
  return writeMsgpack(message, FRAME_SIZE_BYTES_MAX);
}

/** @throws HoldfastError RESPONSE_MALFORMED for bytes that are not a server message */
export function decodeDown(bytes: Uint8Array): ReceivedDown {
  return asResponseMalformed(() => {
    const value = readMsgpack(bytes);
    if (!isFields(value)) throw new HoldfastError('FRAME_MALFORMED', 'frame is not a map');
    return checkDown(value);
  });
}

/** @throws HoldfastError RESPONSE_MALFORMED for a result that does not answer a `kind` request */
export function decodeResult<Kind extends RequestKind>(
  kind: Kind,
  result: unknown,
): ResultOf<Kind> {
  return asResponseMalformed(() => checkResult(kind, result));
}

function asResponseMalformed<Value>(decode: () => Value): Value {
  try {
    return decode();
  } catch (thrown) {
    const cause = toHoldfastError(thrown);
    throw new HoldfastError(
      'RESPONSE_MALFORMED',
      `the server sent what is not a Holdfast response (${cause.message}); check the address`,
      { cause },
    );
  }
}

function frameTooLarge(sizeBytes: number, sizeBytesMax: number): HoldfastError {
  return new HoldfastError(
    'FRAME_TOO_LARGE',
    `frame has ${sizeBytes} bytes, at most ${sizeBytesMax} are allowed; use smaller batches`,
    { details: { sizeBytes, sizeBytesMax } },
  );
}
