/** Metrics of the replica (raft, log, checkpoints, snapshots), read from its status per scrape. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { NodeService, NodeStatus, SnapshotProgress } from '../service-api.ts';

type ActivityNumber = readonly [
  name: string,
  help: string,
  read: (activity: NodeStatus['activity']) => number,
];

const GAUGES: readonly ActivityNumber[] = [
  ['log_first_index', 'First index that is in the log.', (a) => a.log.firstIndex],
  ['log_size_bytes', 'Bytes of the entries in the log.', (a) => a.log.sizeBytes],
  [
    'log_pinned_index',
    'The log is kept from here for a snapshot; 0: no.',
    (a) => a.log.pinnedIndex,
  ],
  ['checkpoint_index', 'Log index of the newest checkpoint.', (a) => a.checkpoint.index],
  [
    'checkpoint_failures_in_row',
    'Checkpoints that failed since the last good one; above 0 is an alarm.',
    (a) => a.checkpoint.failuresInRow,
  ],
  [
    'checkpoint_duration_seconds',
    'How long the newest checkpoint took.',
    (a) => a.checkpoint.durationMs / 1_000,
  ],
  [
    'checkpoint_size_bytes',
    'Of all files of the newest checkpoint.',
    (a) => a.checkpoint.sizeBytes,
  ],
  ['snapshots_sending', 'Snapshots being sent.', (a) => a.snapshots.outgoing.length],
  [
    'snapshots_receiving',
    'Snapshots being received, 0 or 1.',
    (a) => (a.snapshots.incoming === null ? 0 : 1),
  ],
];

const COUNTERS: readonly ActivityNumber[] = [
  ['raft_elections_total', 'Elections this node started.', (a) => a.raft.elections],
  ['raft_pre_votes_total', 'Rounds of pre-votes this node started.', (a) => a.raft.preVotes],
  ['raft_votes_granted_total', 'Votes given to others.', (a) => a.raft.votesGranted],
  ['raft_role_changes_total', 'Changes of role, leader or term.', (a) => a.raft.roleChanges],
  ['failover_count_total', 'Leaderships that began here.', (a) => a.raft.leaderships],
  ['rollback_count_total', 'Uncommitted tails replaced.', (a) => a.raft.logTruncations],
  ['raft_step_downs_total', 'Leaderships that ended here.', (a) => a.raft.stepDowns],
  [
    'raft_transfers_completed_total',
    'Leaderships given to the node that was to have it.',
    (a) => a.raft.transfersCompleted,
  ],
  [
    'raft_transfers_failed_total',
    'Transfers of leadership that came to nothing.',
    (a) => a.raft.transfersFailed,
  ],
  [
    'raft_configuration_changes_total',
    'Configurations that came into force here, reverts included.',
    (a) => a.raft.configurationChanges,
  ],
  ['raft_log_truncations_total', 'Uncommitted tails replaced.', (a) => a.raft.logTruncations],
  [
    'raft_disk_stalls_total',
    'Times the log waited too long for its disk.',
    (a) => a.raft.diskStalls,
  ],
  ['raft_messages_refused_total', 'Raft messages refused.', (a) => a.raft.messagesRefused],
  ['snapshot_sends_begun_total', 'Attempts to send a snapshot.', (a) => a.snapshots.begun],
  ['snapshot_sends_completed_total', 'Attempts that ended well.', (a) => a.snapshots.completed],
  ['snapshot_sends_failed_total', 'Attempts that broke off.', (a) => a.snapshots.failed],
  [
    'snapshot_sends_given_up_total',
    'Snapshots given up because the log kept for them grew too large.',
    (a) => a.snapshots.givenUp,
  ],
];

export function registerReplicaMetrics(registry: Registry, service: NodeService): void {
  const registers = [registry];
  for (const [name, help, read] of GAUGES) {
    new Gauge({
      ...{ name: `holdfast_${name}`, help, registers },
      collect() {
        this.set(read(service.status().activity));
      },
    });
  }
  for (const [name, help, read] of COUNTERS) {
    new Counter({
      ...{ name: `holdfast_${name}`, help, registers },
      collect() {
        this.reset();
        this.inc(read(service.status().activity));
      },
    });
  }
  new Gauge({
    name: 'holdfast_log_held_by',
    help: '1 for what kept the log from being cut further after the newest checkpoint.',
    labelNames: ['holder'],
    registers,
    collect() {
      this.reset();
      this.set({ holder: service.status().activity.log.heldBy }, 1);
    },
  });
  for (const [name, help, key] of [
    ['snapshot_held_bytes', 'Of a snapshot under way: bytes the receiver has.', 'heldSizeBytes'],
    ['snapshot_size_bytes', 'Of a snapshot under way: bytes of all of it.', 'sizeBytes'],
  ] as const) {
    new Gauge({
      ...{ name: `holdfast_${name}`, help, labelNames: ['direction', 'peer'], registers },
      collect() {
        this.reset();
        for (const { direction, progress } of transfersOf(service.status())) {
          this.set({ direction, peer: progress.peer }, progress[key]);
        }
      },
    });
  }
}

function transfersOf({ activity }: NodeStatus) {
  const { outgoing, incoming } = activity.snapshots;
  const received: readonly SnapshotProgress[] = incoming === null ? [] : [incoming];
  return [
    ...outgoing.map((progress) => ({ direction: 'send', progress })),
    ...received.map((progress) => ({ direction: 'receive', progress })),
  ];
}
