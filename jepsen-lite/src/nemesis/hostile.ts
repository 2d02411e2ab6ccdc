/**
 * Hostile clients and strangers at the doors of the nodes while good clients go on: garbage, huge
 * lengths, deep nesting, readers that do not read, crowds that say nothing, forged peers. (Replayed
 * and corrupted messages of real peers are weather: they need a line between two nodes.)
 */
import { type Random, unreachable } from '@holdfast/base';
import type { Cluster } from '../cluster/cluster.ts';
import { readJson } from '../cluster/node-http.ts';
import {
  type Address,
  type AttackEnd,
  announceHugeFrame,
  BAD_MESSAGES,
  type Door,
  forgePeer,
  readNothing,
  sendBadMessage,
  sendGarbage,
} from '../net/hostile-clients.ts';
import { crowdCountMax, IdleCrowd } from '../net/idle-crowd.ts';
import { Background } from './background.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { chanceOf } from './targets.ts';

export const HOSTILITIES = [
  'garbage',
  'huge-frames',
  'bad-messages',
  'slow-readers',
  'idle-crowd',
  'forged-peers',
] as const;
export type Hostility = (typeof HOSTILITIES)[number];

export const SEND_HOME = 'send-them-home';
/** Attacks under way at one time. */
const ATTACKER_COUNT = 8;
const CROWD_COUNT = 5_000;
const PAUSE_MS_MAX = 40;

export function hostileNemesis(
  kinds: readonly Hostility[] = HOSTILITIES,
  name = 'hostile',
): Nemesis {
  const hostiles = new Hostiles();
  return {
    ...{ name, family: 'hostile', colour: '#a4161a', needs: {} },
    harmfulActions: kinds,
    healingAction: SEND_HOME,
    perform: (action, pick, cluster) => hostiles.perform(action, pick, cluster),
  };
}

/** All that hostile clients know of a cluster. */
export type Doors = Pick<Cluster, 'nodeNames' | 'addressOf' | 'peerAddressOf'>;

export class Hostiles {
  readonly #attackers = Array.from({ length: ATTACKER_COUNT }, () => new Background());
  readonly #crowd = new IdleCrowd();
  readonly #ends: Record<AttackEnd, number> = { closed: 0, endured: 0, refused: 0 };

  async perform(action: string, pick: number, cluster: Doors): Promise<FaultOutcome> {
    if (action === SEND_HOME) return this.#heal();
    const kind = HOSTILITIES.find((one) => one === action);
    if (kind === undefined) return skipped(`unknown action ${action}`);
    const random = chanceOf(pick);
    if (kind === 'idle-crowd') return this.#gather(cluster);
    const [clusterId] = await clusterIdsOf(cluster);
    if (kind === 'forged-peers' && clusterId === undefined) return skipped('no node answers');
    for (const attacker of this.#attackers) {
      attacker.start(async (wait) => {
        const end = await this.#attack(kind, cluster, clusterId ?? '', random);
        this.#ends[end] += 1;
        await wait(random.nextBelow(PAUSE_MS_MAX));
      });
    }
    return installed(`${ATTACKER_COUNT} at a time, at every node`);
  }

  #attack(
    kind: Exclude<Hostility, 'idle-crowd'>,
    cluster: Doors,
    clusterId: string,
    random: Random,
  ): Promise<AttackEnd> {
    const { nodeNames } = cluster;
    const nodeId = nodeNames[random.nextBelow(nodeNames.length)] ?? '';
    const door: Door = random.nextBelow(2) === 0 ? 'client' : 'peer';
    const clientAddress = addressOf(cluster.addressOf(nodeId));
    const peerAddress = addressOf(cluster.peerAddressOf(nodeId));
    const address = door === 'client' ? clientAddress : peerAddress;
    switch (kind) {
      case 'garbage':
        return sendGarbage(address, random);
      case 'huge-frames':
        return announceHugeFrame(address, door, random);
      case 'bad-messages': {
        const makers = Object.values(BAD_MESSAGES);
        const make = makers[random.nextBelow(makers.length)];
        return sendBadMessage(address, door, make === undefined ? Buffer.alloc(0) : make());
      }
      case 'slow-readers':
        return readNothing(clientAddress);
      case 'forged-peers': {
        const said = nodeNames[random.nextBelow(nodeNames.length)] ?? '';
        const identity = {
          ...{ clusterId, nodeId: said, incarnation: '0'.repeat(32) },
          peerAddress: cluster.peerAddressOf(said),
        };
        return forgePeer(peerAddress, identity, random);
      }
      default:
        return unreachable(kind);
    }
  }

  async #gather(cluster: Doors): Promise<FaultOutcome> {
    const count = crowdCountMax(CROWD_COUNT);
    if (count === 0) return skipped('the limit of open files leaves no room: raise ulimit -n');
    const doors = cluster.nodeNames.flatMap((name) => [
      addressOf(cluster.addressOf(name)),
      addressOf(cluster.peerAddressOf(name)),
    ]);
    const made = await this.#crowd.gather(doors, count);
    return installed(`${made} of ${count} connections, ${this.#crowd.heldCount} held`);
  }

  async #heal(): Promise<FaultOutcome> {
    await Promise.all(this.#attackers.map((attacker) => attacker.stop()));
    const heldCount = this.#crowd.heldCount;
    this.#crowd.disperse();
    const ends = Object.entries(this.#ends).filter(([, count]) => count > 0);
    const words = ends.map(([how, count]) => `${count} attacks ${how}`);
    if (heldCount > 0) words.push(`${heldCount} idle connections were still held`);
    return installed(words.join(', ') || 'nobody was there');
  }
}

async function clusterIdsOf(cluster: Doors): Promise<readonly string[]> {
  const answers = await Promise.all(
    cluster.nodeNames.map((name) => readJson(cluster.addressOf(name), '/api/v1/cluster/status')),
  );
  return answers.flatMap((answer) =>
    answer?.status === 200 && typeof answer.body.clusterId === 'string'
      ? [answer.body.clusterId]
      : [],
  );
}

function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}
