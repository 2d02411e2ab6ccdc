/**
 * Hidden collections go when their time is over, by log time only, and only by a logged command:
 * the leader proposes it, and every replica checks the time again when it applies it.
 */
import { encodeCommand } from '../state/command.ts';
import type { MetaMachine } from '../state/meta-machine.ts';

/** Purges proposed at once: each lets go of the shards of a collection. */
const PURGES_PER_ROUND_MAX = 16;

/** One command for each collection whose time is over; those that waited longest first. */
export function purgeCommands(meta: MetaMachine, stampMs: number): readonly Uint8Array[] {
  return meta.catalogue
    .allHidden()
    .filter(({ hiding }) => hiding.purgeAtMs <= stampMs)
    .sort((left, right) => left.hiding.purgeAtMs - right.hiding.purgeAtMs)
    .slice(0, PURGES_PER_ROUND_MAX)
    .map(({ definition }) =>
      encodeCommand({
        ...{ timestampMs: stampMs, session: null, bodyHash: 0n },
        command: { kind: 'purgeCollection', uid: definition.uid, cutoffMs: stampMs },
      }),
    );
}
