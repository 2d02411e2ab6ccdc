/** Lines that work badly: slow, narrow, losing connections, corrupting or repeating messages. */
import type { Cluster } from '../cluster/cluster.ts';
import { type LinkShape, type ProxyMode, shaped } from '../net/link-mode.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { leaderNameOf } from './targets.ts';

interface Weather {
  readonly shape: Partial<LinkShape>;
  /** Only the lines from and to the leader. */
  readonly isAroundLeader: boolean;
}

const around = (shape: Partial<LinkShape>): Weather => ({ shape, isAroundLeader: true });
const everywhere = (shape: Partial<LinkShape>): Weather => ({ shape, isAroundLeader: false });

/** An election timeout is 600 ms: slow stays below it, very slow does not. */
export const WEATHERS = {
  slow: everywhere({ delayMs: 60, jitterMs: 120 }),
  'very-slow': everywhere({ delayMs: 400, jitterMs: 500 }),
  narrow: everywhere({ bytesPerSecondMax: 150_000, delayMs: 5 }),
  lossy: everywhere({ resetChance: 0.01, jitterMs: 10 }),
  'lossy-leader': around({ resetChance: 0.05 }),
  'slow-leader': around({ delayMs: 150, jitterMs: 150 }),
  /** What lost etcd its members: one payload in a hundred. */
  corrupting: everywhere({ corruptChance: 0.01 }),
  'corrupting-much': everywhere({ corruptChance: 0.2 }),
  replaying: everywhere({ replayChance: 0.05 }),
  'all-at-once': everywhere({
    ...{ delayMs: 10, jitterMs: 60, bytesPerSecondMax: 1_000_000 },
    ...{ resetChance: 0.002, corruptChance: 0.005, replayChance: 0.01 },
  }),
} as const satisfies Record<string, Weather>;

export type WeatherKind = keyof typeof WEATHERS;
export const WEATHER_KINDS = Object.keys(WEATHERS) as readonly WeatherKind[];

const HEAL = 'clear-weather';

export function weatherNemesis(
  kinds: readonly WeatherKind[] = WEATHER_KINDS,
  name = 'weather',
): Nemesis {
  return {
    ...{ name, family: 'network', colour: '#3a86c8' },
    needs: { hasPeerProxies: true },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: (action, _pick, cluster) => perform(action, cluster),
  };
}

async function perform(action: string, cluster: Cluster): Promise<FaultOutcome> {
  const { network, nodeNames } = cluster;
  if (network === null) return skipped('the lines of this cluster cannot be disturbed');
  if (action === HEAL) {
    await network.heal();
    return installed(network.describeCounts() || 'every line passes');
  }
  const kind = WEATHER_KINDS.find((one) => one === action);
  if (kind === undefined) return skipped(`unknown action ${action}`);
  const { isAroundLeader, shape } = WEATHERS[kind];
  const mode: ProxyMode = shaped(shape);
  const reason = network.whyNot(mode);
  if (reason !== null) return skipped(reason);
  const leader = await leaderNameOf(cluster);
  if (isAroundLeader && leader === null) return skipped('no leader at this moment');
  for (const from of nodeNames) {
    for (const to of nodeNames) {
      const isMeant = !isAroundLeader || from === leader || to === leader;
      if (from !== to && isMeant) await network.setLink(from, to, mode);
    }
  }
  const detail = isAroundLeader ? `lines of ${leader}` : 'every line';
  return installed(detail, isAroundLeader && leader !== null ? [leader] : []);
}
