/**
 * What a node has beside its replica that looks after its log: backups, and proofs of its chain.
 */
import type { AssembleOptions, AssembleParts } from './assemble-parts.ts';
import { NodeBackup } from './backup/node-backup.ts';
import { LogCheck } from './log-check/log-check.ts';
import type { RotListener } from './replica/log-store.ts';
import type { Replica } from './replica/replica.ts';
import { pauseBy } from './replica/slices.ts';

/** A backup goes on without it. */
const SEAL_TIMEOUT_MS = 30_000;

/** Null where there is no place for backups. `makeNodeSite` tells it when to archive. */
export function makeNodeBackup(
  { dataDirectory, identity }: AssembleOptions,
  parts: AssembleParts,
  replica: Replica,
): NodeBackup | null {
  if (parts.backup === undefined) return null;
  const { hash, wal } = parts;
  const backup = new NodeBackup({
    ...{ ...parts, ...parts.backup, identity, dataDirectory, hasher: hash },
    ...{ log: wal.groupLog(identity.group), pause: pauseBy(parts.defer) },
    replica: {
      checkpoint: () => replica.checkpoint(),
      sealGrowing: async () => {
        await replica.sealGrowing(parts.clock.monotonicMs() + SEAL_TIMEOUT_MS);
      },
      pin: (root) => replica.checkpointer.pin(root),
      commitIndex: () => replica.raftStatus().commit,
      site: () => replica.meta.site,
    },
  });
  return backup;
}

export function makeLogCheck(
  { identity, logVerifyIntervalMs = 0 }: AssembleOptions,
  parts: AssembleParts,
  others: {
    readonly replica: Replica;
    readonly backup: NodeBackup | null;
    readonly onRot: RotListener;
  },
): LogCheck {
  const { backup, onRot, replica } = others;
  const check = new LogCheck({
    ...{ ...parts, hasher: parts.hash, pause: pauseBy(parts.defer) },
    ...{ log: parts.wal.groupLog(identity.group), intervalMs: logVerifyIntervalMs },
    committedIndex: () => replica.raftStatus().commit,
    archive: () => backup?.status().archive ?? [],
    onRot: (index, rot) => void onRot(index, rot),
  });
  replica.onSoftState(({ role }) => check.setLeading(role === 'leader'));
  return check;
}
