/**
 * A proxy on every directed link between the nodes of a process cluster, so that a node can be cut
 * off from the others while clients still reach it.
 */
import type { ProxyMode } from '../net/tcp-proxy.ts';
import { TcpProxy } from '../net/tcp-proxy.ts';
import type { NodeName } from './cluster.ts';
import type { MemberPlan } from './server-command.ts';

interface Link {
  readonly from: NodeName;
  readonly to: NodeName;
  readonly proxy: TcpProxy;
}

export class PeerProxies {
  readonly #links: readonly Link[];

  private constructor(links: readonly Link[]) {
    this.#links = links;
  }

  static async open(members: readonly MemberPlan[]): Promise<PeerProxies> {
    const links: Link[] = [];
    for (const { nodeName: from } of members) {
      for (const { nodeName: to, peerAddress } of members) {
        if (from === to) continue;
        const [host = '', port] = peerAddress.split(':');
        links.push({ from, to, proxy: await TcpProxy.listen({ host, port: Number(port) }) });
      }
    }
    return new PeerProxies(links);
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

  /** Every link to and from the node, until `heal`. */
  cutOff(nodeName: NodeName, mode: ProxyMode): void {
    for (const { from, to, proxy } of this.#links) {
      if (from === nodeName || to === nodeName) proxy.setMode(mode);
    }
  }

  heal(): void {
    for (const { proxy } of this.#links) proxy.setMode({ kind: 'pass' });
  }

  async close(): Promise<void> {
    await Promise.all(this.#links.map(({ proxy }) => proxy.stop()));
  }
}
