/**
 * Bits flip inside of the messages between nodes, under a TCP checksum that is right: no node may
 * crash, none may apply anything wrong, and the nodes count what they refused.
 */
import { must } from '@holdfast/base';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { shaped } from '../net/link-mode.ts';
import { waitFor } from '../wait.ts';
import { atLeast, atMost, figure } from './figure.ts';
import { everywherePossible, type NumberRow } from './row.ts';
import { SET_LOAD, Stage } from './stage.ts';
import { promiseFigures, worstByName } from './summary.ts';

const ROW = 'corrupt-frames';
/** Of the frames on every line: connections that keep corrupting are closed, so not too often. */
const CORRUPT_CHANCE = 0.1;
const CORRUPTED_TIMEOUT_MS = 1_800_000;
const LOOK_INTERVAL_MS = 1_000;
/** What a node counts when a frame of a peer is not what was sent. */
const METRICS = [
  'holdfast_peer_frames_corrupt_total',
  'holdfast_peer_messages_malformed_total',
  'holdfast_peer_handshakes_refused_total',
] as const;

async function countedOn(cluster: ProcessCluster, metric: string): Promise<number> {
  const counts = await Promise.all(cluster.nodeNames.map((name) => cluster.metric(name, metric)));
  return counts.reduce<number>((sum, count) => sum + (count ?? 0), 0);
}

export const corruptFramesRow: NumberRow = {
  ...{ name: ROW, timesDefault: 10_000, timesQuick: 300, load: SET_LOAD },
  what: 'so many corrupted frames between peers: no crash, nothing wrong applied, counted',
  whyNot: everywherePossible,
  run: async (context) => {
    let corruptedCount = 0;
    let goneCount = 0;
    const counted: Record<string, number> = {};
    const options = { row: ROW, launch: { hasPeerProxies: true } };
    const report = await Stage.play(context, options, async (stage) => {
      const { cluster } = stage;
      const network = must(cluster.network, 'the cluster has proxies');
      const { nodeNames } = cluster;
      const pids = nodeNames.map((name) => cluster.pidOf(name));
      await stage.strike({ action: 'corrupt', isHealing: false, targets: [] }, async () => {
        for (const from of nodeNames) {
          for (const to of nodeNames) {
            if (from === to) continue;
            await network.setLink(from, to, shaped({ corruptChance: CORRUPT_CHANCE }));
          }
        }
      });
      const what = `${context.times} corrupted frames`;
      const wait = { what, timeoutMs: CORRUPTED_TIMEOUT_MS, pollIntervalMs: LOOK_INTERVAL_MS };
      await waitFor(wait, () => {
        corruptedCount = network.corruptionCount;
        context.log(`${corruptedCount}/${context.times} frames corrupted`);
        return corruptedCount >= context.times ? true : null;
      });
      await stage.strike({ action: 'pass', isHealing: true, targets: [] }, () => network.heal());
      await stage.steady();
      corruptedCount = network.corruptionCount;
      goneCount = nodeNames.filter((name, i) => cluster.pidOf(name) !== pids[i]).length;
      for (const metric of METRICS) counted[metric] = await countedOn(cluster, metric);
    });
    const countedSum = Object.values(counted).reduce((sum, count) => sum + count, 0);
    return {
      figures: [
        atLeast('frames corrupted, TCP checksum right', corruptedCount, '', context.times),
        atMost('nodes that ended', goneCount, '', 0),
        atLeast('frames that the nodes refused and counted', countedSum, '', 1),
        figure(
          'of all that were corrupted',
          corruptedCount === 0 ? null : (100 * countedSum) / corruptedCount,
          '%',
        ),
        ...promiseFigures([report]),
      ],
      verdicts: worstByName([report]),
      notes: ['a connection that keeps corrupting is closed; what was on its way then is not read'],
      samples: [counted],
    };
  },
};
