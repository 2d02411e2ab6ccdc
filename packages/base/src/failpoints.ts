/**
 * Named places of the product at which a test may stop the process or let it wait: exactly between
 * two steps whose order matters. Off unless a process arms them (storage/failpoint-arming.ts), and
 * then a place costs one comparison. They change nothing by themselves: no decision of the product
 * depends on them.
 *
 * The one piece of state that belongs to a module, because a place must be reachable from anywhere
 * without being handed through every constructor; each thread arms its own.
 */
export const FAILPOINTS = [
  // The log, in its thread.
  'wal.before-write',
  'wal.before-sync',
  'wal.after-sync',
  'wal.hard-state-between-copies',
  'wal.hard-state-written',
  'wal.before-roll',
  'wal.after-roll',
  'wal.before-next-file-is-named',
  'wal.before-release',
  'wal.before-confirm',
  'wal.before-mend',
  'wal.recovery-before-epoch',
  'wal.recovery-before-settle',
  'wal.recovery-before-first-batch',
  // Files that are replaced as a whole.
  'file.before-sync',
  'file.before-rename',
  'file.after-rename',
  'root.before-previous',
  'root.before-current',
  'root.after-current',
  // Checkpoints and the log that they replace.
  'checkpoint.before-capture',
  'checkpoint.meta-written',
  'checkpoint.lanes-written',
  'checkpoint.before-root',
  'checkpoint.after-root',
  'checkpoint.before-compaction',
  'checkpoint.before-removal',
  'checkpoint.after-removal',
  // Lanes, in their threads.
  'lane.before-open',
  'lane.after-open',
  'lane.before-apply',
  'lane.after-apply',
  'lane.before-segment',
  'lane.after-segment',
  'lane.before-growing',
  'lane.before-manifest',
  'lane.after-manifest',
  'lane.before-graph-save',
  'lane.before-graph-sidecar',
  'lane.after-graph-sidecar',
  // One turn of a replica.
  'replica.before-send',
  'replica.before-append',
  'replica.durable',
  'replica.before-gated-send',
  'replica.before-apply',
  'replica.became-leader',
  'replica.lost-leadership',
  'apply.before-batch',
  'apply.after-batch',
  'apply.before-vote',
  // Snapshots, both ends.
  'snapshot.send-begins',
  'snapshot.send-chunk',
  'snapshot.send-ended',
  'snapshot.receive-begins',
  'snapshot.receive-chunk',
  'snapshot.receive-sealed',
  'snapshot.before-install',
  'snapshot.before-root',
  'snapshot.after-root',
  'snapshot.before-lanes',
  'snapshot.after-lanes',
  // Members.
  'members.before-change',
  'members.conf-adopted',
  'life.before-marker',
  'life.before-quarantine',
  'life.before-identity',
  'life.before-end',
  // Clients.
  'request.admitted',
  'request.before-answer',
  'request.answered',
  // Repairs.
  'repair.blocks-fetched',
  'repair.before-install',
  'repair.after-install',
  'repair.quarantined',
  'repair.before-log-fill',
  'repair.after-log-fill',
  // The archive of the log.
  'archive.before-timeline',
  'archive.after-timeline',
  'archive.before-chunk',
  'archive.after-chunk',
  'archive.before-gap',
  'archive.after-gap',
  'archive.lost-race',
  'archive.before-adoption',
  // Backups, their removal, and who begins them by the clock.
  'backup.before-pins',
  'backup.after-pins',
  'backup.before-file',
  'backup.after-files',
  'backup.before-manifest',
  'backup.after-manifest',
  'backup.before-check',
  'backup.after-check',
  'backup.before-withdrawal',
  'prune.before-manifest',
  'prune.before-objects',
  'prune.before-batch',
  'schedule.before-backup',
  'schedule.before-prune',
  'schedule.before-verification',
  // Data directories that are made of a backup.
  'restore.before-clearing',
  'restore.before-marker',
  'restore.after-marker',
  'restore.before-file',
  'restore.after-files',
  'restore.before-root',
  'restore.after-root',
  'restore.before-append',
  'restore.before-configuration',
  'restore.after-log',
  'restore.before-identity',
  'restore.before-unmarking',
  'restore.after-unmarking',
  'restore.before-aside',
  'restore.before-swap',
  'restore.after-swap',
  // The end of a process that stops in order.
  'stop.before-hand-over',
  'stop.before-log-close',
] as const;

export type Failpoint = (typeof FAILPOINTS)[number];
export type FailpointHandler = (name: Failpoint) => void;

let armed: FailpointHandler | null = null;

/** Null: off. Of this thread only. */
export function armFailpoints(handler: FailpointHandler | null): void {
  armed = handler;
}

/** Execution is at this place. */
export function failpoint(name: Failpoint): void {
  if (armed !== null) armed(name);
}
