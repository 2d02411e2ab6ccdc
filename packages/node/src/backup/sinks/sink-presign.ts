import { refusal } from './sink-failure.ts';

/** Of S3: a week. */
const EXPIRES_IN_S_MAX = 7 * 86_400;

/** @throws HoldfastError SINK_REFUSED */
export function checkLinkExpiry(what: string, expiresInS: number): void {
  if (Number.isInteger(expiresInS) && expiresInS >= 1 && expiresInS <= EXPIRES_IN_S_MAX) return;
  throw refusal(what, `it can last from 1 to ${EXPIRES_IN_S_MAX} seconds`);
}
