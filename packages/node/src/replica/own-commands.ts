/**
 * Commands that no client asked for: the leader proposes them by itself.
 *
 * Sessions expire by log time only, and only by a logged command: every replica checks each session
 * again when it applies it.
 */
import { encodeCommand } from '../state/command.ts';
import type { MetaMachine } from '../state/meta-machine.ts';

/** Sessions expired by one command: keeps the entry small. */
const SESSIONS_PER_EXPIRY_MAX = 256;

/** The command that expires what was idle for `idleTimeoutMs` of log time; null: nothing was. */
export function sessionExpiryCommand(
  meta: MetaMachine,
  stampMs: number,
  idleTimeoutMs: number,
): Uint8Array | null {
  const cutoffMs = stampMs - idleTimeoutMs;
  const ids = meta.sessions.idleSince(cutoffMs, SESSIONS_PER_EXPIRY_MAX);
  if (ids.length === 0) return null;
  return encodeCommand({
    timestampMs: stampMs,
    session: null,
    bodyHash: 0n,
    command: { kind: 'expireSessions', cutoffMs, ids },
  });
}

/** Asks every replica for the digests of its shards after this entry. */
export const verifyCommand = (stampMs: number): Uint8Array => plainCommand(stampMs, 'verify');

/** What grows becomes segments, where it is large enough. */
export const sealCommand = (stampMs: number): Uint8Array => plainCommand(stampMs, 'seal');

const plainCommand = (stampMs: number, kind: 'seal' | 'verify'): Uint8Array =>
  encodeCommand({ timestampMs: stampMs, session: null, bodyHash: 0n, command: { kind } });
