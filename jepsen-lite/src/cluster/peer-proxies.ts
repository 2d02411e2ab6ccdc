/**
 * A proxy on every directed link between the nodes of a process cluster, so that each can be
 * disturbed on its own while clients still reach every node; and, where asked for, one in front of
 * the public port of every node, for clients that are cut off too.
 *
 * A node dials every peer for what it sends, so a directed link carries the messages of one
 * direction and nothing else.
 */
import { deriveSeed, must } from '@holdfast/base';
import type { ProxyMode } from '../net/link-mode.ts';
import { TcpProxy } from '../net/tcp-proxy.ts';
import type { ClusterNetwork, NodeName } from './cluster.ts';
import type { MemberPlan } from './server-command.ts';

interface Link {
  readonly from: NodeName;
  readonly to: NodeName;
  readonly proxy: TcpProxy;
}

export interface PeerProxiesOptions {
  /** Also between clients and nodes. */
  readonly hasClientProxies: boolean;
  /** For the chances of the lines. */
  readonly seed: number;
}

const PASS: ProxyMode = { kind: 'pass' };

export class PeerProxies implements ClusterNetwork {
  readonly #links: readonly Link[];
  readonly #clients: ReadonlyMap<NodeName, TcpProxy>;

  private constructor(links: readonly Link[], clients: ReadonlyMap<NodeName, TcpProxy>) {
    this.#links = links;
    this.#clients = clients;
  }

  static async open(
    members: readonly MemberPlan[],
    options: PeerProxiesOptions,
  ): Promise<PeerProxies> {
    const links: Link[] = [];
    const clients = new Map<NodeName, TcpProxy>();
    for (const { nodeName: from, address } of members) {
      for (const { nodeName: to, peerAddress } of members) {
        if (from === to) continue;
        const seed = deriveSeed(options.seed, `${from} to ${to}`);
        const proxy = await TcpProxy.listen(targetOf(peerAddress), { hasFrames: true, seed });
        links.push({ from, to, proxy });
      }
      if (!options.hasClientProxies) continue;
      const seed = deriveSeed(options.seed, `clients to ${from}`);
      clients.set(from, await TcpProxy.listen(targetOf(address), { seed }));
    }
    return new PeerProxies(links, clients);
  }

  get hasClientLinks(): boolean {
    return this.#clients.size > 0;
  }

  /** The members as `nodeName` is to reach them; those that came later directly. */
  asSeenBy(nodeName: NodeName, members: readonly MemberPlan[]): readonly MemberPlan[] {
    return members.map((member) => {
      if (member.nodeName === nodeName) return member;
      const link = this.#links.find((one) => one.from === nodeName && one.to === member.nodeName);
      if (link === undefined) return member;
      return { ...member, peerAddress: `127.0.0.1:${link.proxy.port}` };
    });
  }

  /** Where clients are to reach the node; null: there is no proxy before it. */
  clientAddressOf(nodeName: NodeName): string | null {
    const proxy = this.#clients.get(nodeName);
    return proxy === undefined ? null : `127.0.0.1:${proxy.port}`;
  }

  whyNot(): null {
    return null;
  }

  async setLink(from: NodeName, to: NodeName, mode: ProxyMode): Promise<void> {
    // A node that joined later has no proxies: its links cannot be disturbed.
    this.#linkOf(from, to)?.proxy.setMode(mode);
  }

  async setClients(nodeName: NodeName, mode: ProxyMode): Promise<void> {
    must(this.#clients.get(nodeName), 'the cluster has no client proxies').setMode(mode);
  }

  async resetConnections(from: NodeName, to: NodeName): Promise<void> {
    this.#linkOf(from, to)?.proxy.resetConnections();
  }

  /** Every link to and from the node, until `heal`. */
  cutOff(nodeName: NodeName, mode: ProxyMode): void {
    for (const { from, to, proxy } of this.#links) {
      if (from === nodeName || to === nodeName) proxy.setMode(mode);
    }
  }

  async heal(): Promise<void> {
    for (const proxy of this.#all()) proxy.setMode(PASS);
  }

  get corruptionCount(): number {
    return this.#all().reduce((sum, { counts }) => sum + counts.corruptions, 0);
  }

  describeCounts(): string {
    const sum = { resets: 0, corruptions: 0, replays: 0 };
    for (const { counts } of this.#all()) {
      sum.resets += counts.resets;
      sum.corruptions += counts.corruptions;
      sum.replays += counts.replays;
    }
    const words = Object.entries(sum).filter(([, count]) => count > 0);
    return words.map(([what, count]) => `${count} ${what}`).join(', ');
  }

  async close(): Promise<void> {
    await Promise.all(this.#all().map((proxy) => proxy.stop()));
  }

  #all(): readonly TcpProxy[] {
    return [...this.#links.map(({ proxy }) => proxy), ...this.#clients.values()];
  }

  #linkOf(from: NodeName, to: NodeName): Link | undefined {
    return this.#links.find((one) => one.from === from && one.to === to);
  }
}

function targetOf(address: string): { readonly host: string; readonly port: number } {
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
}
