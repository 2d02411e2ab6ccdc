/** Faults of the links between nodes: cuts that may overlap, and weather. */
import { unreachable } from '@holdfast/base';
import type { SimCluster, SimNode, Weather } from '@holdfast/node/testing';
import type { Fault, NodePick } from './plan.ts';

type CutFault = Extract<Fault, { kind: 'isolate' | 'cutOneWay' | 'partition' }>;
type WeatherFault = Extract<Fault, { kind: 'loss' | 'duplication' | 'reordering' | 'slowNetwork' }>;

type Link = readonly [from: SimNode, to: SimNode];
type Pick = (pick: NodePick) => SimNode | null;

export class NetworkFaults {
  readonly #cluster: SimCluster;
  readonly #ordinaryWeather: Weather;
  /** How many faults cut each link. */
  readonly #cuts = new Map<string, number>();
  readonly #weathers: Partial<Weather>[] = [];
  #isHealed = false;

  constructor(cluster: SimCluster, ordinaryWeather: Weather) {
    this.#cluster = cluster;
    this.#ordinaryWeather = ordinaryWeather;
  }

  /** Returns the nodes between which links were cut; weather is about all. */
  strike(fault: CutFault | WeatherFault, pick: Pick): readonly SimNode[] {
    switch (fault.kind) {
      case 'isolate':
      case 'cutOneWay':
      case 'partition': {
        const links = this.#linksOf(fault, pick);
        this.#cutLinks(links, fault.forMs);
        return [...new Set(links.flat())];
      }
      case 'loss':
        return this.#weather({ lossRate: fault.rate }, fault.forMs);
      case 'duplication':
        return this.#weather({ duplicateRate: fault.rate }, fault.forMs);
      case 'reordering':
        return this.#weather({ reorderRate: fault.rate }, fault.forMs);
      case 'slowNetwork':
        return this.#weather({ delayMsMax: fault.delayMsMax }, fault.forMs);
      default:
        return unreachable(fault);
    }
  }

  /** Mends everything for good; messages still take their time. */
  heal(): void {
    this.#isHealed = true;
    const { network } = this.#cluster;
    network.weather = this.#ordinaryWeather;
    network.heal();
  }

  #cutLinks(links: readonly Link[], forMs: number): void {
    const { network, scheduler } = this.#cluster;
    for (const [from, to] of links) {
      this.#count(from, to, 1);
      network.cut(from.id, to.id);
    }
    scheduler.clock.after(forMs, () => {
      for (const [from, to] of links)
        if (this.#count(from, to, -1) === 0) network.mend(from.id, to.id);
    });
  }

  #count(from: SimNode, to: SimNode, change: number): number {
    const link = `${from.id}>${to.id}`;
    const count = (this.#cuts.get(link) ?? 0) + change;
    this.#cuts.set(link, count);
    return count;
  }

  #linksOf(fault: CutFault, pick: Pick): readonly Link[] {
    const { nodes } = this.#cluster;
    if (fault.kind === 'partition') {
      const isLeft = (node: SimNode): boolean => ((fault.side >> nodes.indexOf(node)) & 1) === 1;
      return linksAmong(nodes).filter(([from, to]) => isLeft(from) !== isLeft(to));
    }
    const one = pick(fault.kind === 'isolate' ? fault.node : fault.from);
    if (one === null) return [];
    if (fault.kind === 'isolate') return linksAmong(nodes).filter((link) => link.includes(one));
    const to = nodes[(nodes.indexOf(one) + fault.toOffset) % nodes.length];
    return to === undefined || to === one ? [] : [[one, to]];
  }

  /** Several may hold at once; the newest value of each property counts. */
  #weather(change: Partial<Weather>, forMs: number): readonly SimNode[] {
    this.#weathers.push(change);
    this.#applyWeather();
    this.#cluster.scheduler.clock.after(forMs, () => {
      this.#weathers.splice(this.#weathers.indexOf(change), 1);
      if (!this.#isHealed) this.#applyWeather();
    });
    return [];
  }

  #applyWeather(): void {
    this.#cluster.network.weather = Object.assign({}, this.#ordinaryWeather, ...this.#weathers);
  }
}

function linksAmong(nodes: readonly SimNode[]): readonly Link[] {
  return nodes.flatMap((from) => nodes.filter((to) => to !== from).map((to): Link => [from, to]));
}
