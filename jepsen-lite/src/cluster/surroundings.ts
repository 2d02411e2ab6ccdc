/**
 * What the harness puts around the nodes of a process cluster before they start, so that they can
 * be disturbed: proxies on their lines, a library before their system calls, file systems of their
 * own. All of it is off until a fault turns it on.
 */
import { join } from 'node:path';
import { assert, must } from '@holdfast/base';
import type { NodeName } from './cluster.ts';
import { findFreePorts } from './free-ports.ts';
import { Interposer } from './interposer.ts';
import { Namespaces } from './namespaces.ts';
import { compileNative } from './native-program.ts';
import { PeerProxies } from './peer-proxies.ts';
import { type MemberPlan, planMember, type ServerSettings } from './server-command.ts';
import { Volume, type VolumeOptions } from './volume.ts';

export interface SurroundingsOptions {
  /** Puts a proxy on every link between nodes, for `network` and `isolate`. Default false. */
  readonly hasPeerProxies?: boolean;
  /** And one between clients and every node; needs `hasPeerProxies`. Default false. */
  readonly hasClientProxies?: boolean;
  /** Gives every node a network of its own, instead of proxies. Needs root and iproute2. */
  readonly hasNamespaces?: boolean;
  /** For the chances of lines; default 1. */
  readonly seed?: number;
  /** Puts a library of ours between nodes and their system calls. Needs `cc`. Default false. */
  readonly hasInterposer?: boolean;
  /** Gives every node a file system of its own, of this kind. Needs root. Default: none. */
  readonly volume?: VolumeOptions;
}

/** What stands behind the nodes; each is null or empty where it was not asked for. */
export interface Surroundings {
  readonly proxies: PeerProxies | null;
  readonly namespaces: Namespaces | null;
  /** Of one node alone. */
  readonly settings: ReadonlyMap<NodeName, ServerSettings>;
  readonly interposers: ReadonlyMap<NodeName, Interposer>;
  readonly volumes: ReadonlyMap<NodeName, Volume>;
  /** The program that cuts the power of volumes. */
  readonly powerCutPath: string | null;
}

export interface ClusterPlan {
  readonly members: readonly MemberPlan[];
  readonly surroundings: Surroundings;
}

/** @throws Error when something cannot be had here; then nothing of it stays behind */
export async function planCluster(
  directory: string,
  nodeCount: number,
  options: SurroundingsOptions,
): Promise<ClusterPlan> {
  const { hasNamespaces = false, hasPeerProxies = false, volume } = options;
  assert(!(hasNamespaces && hasPeerProxies), 'either proxies or namespaces, not both');
  const nodeNames = Array.from({ length: nodeCount }, (_unused, i) => `n${i + 1}`);
  const ports = await findFreePorts(nodeCount * 2);
  const namespaces = hasNamespaces ? await Namespaces.make(nodeNames) : null;
  const made = { proxies: null, namespaces, volumes: new Map<NodeName, Volume>() };
  try {
    const members = nodeNames.map((nodeName, i) => {
      const own = [must(ports[i * 2]), must(ports[i * 2 + 1])] as const;
      const host = namespaces === null ? {} : { host: namespaces.hostOf(nodeName) };
      return planMember(directory, nodeName, {
        ...{ ports: own, hasVolume: volume !== undefined, ...host },
      });
    });
    return { members, surroundings: await surround(directory, members, options, made) };
  } catch (thrown) {
    await closeSurroundings(made);
    throw thrown;
  }
}

interface Made {
  proxies: PeerProxies | null;
  readonly namespaces: Namespaces | null;
  readonly volumes: Map<NodeName, Volume>;
}

/** Puts what it makes into `made` at once, so that a failure can take it away again. */
async function surround(
  directory: string,
  members: readonly MemberPlan[],
  options: SurroundingsOptions,
  made: Made,
): Promise<Surroundings> {
  const { hasClientProxies = false, hasInterposer, hasPeerProxies, seed = 1, volume } = options;
  const interposers = new Map<NodeName, Interposer>();
  const library = hasInterposer === true ? await compileNative('interposer.c', directory) : null;
  const canCutPower = volume?.kind === 'ext4';
  const powerCutPath = canCutPower ? await compileNative('power-cut.c', directory) : null;
  for (const { dataDirectory, nodeName } of library === null ? [] : members) {
    const controlPath = join(directory, nodeName, 'interposer');
    interposers.set(nodeName, new Interposer(must(library), controlPath, dataDirectory));
  }
  if (hasPeerProxies === true) {
    made.proxies = await PeerProxies.open(members, { hasClientProxies, seed });
  }
  for (const { nodeName } of volume === undefined ? [] : members) {
    made.volumes.set(nodeName, await Volume.make(join(directory, nodeName), must(volume)));
  }
  const settings = new Map(
    members.map(({ nodeName }) => [nodeName, settingsOf(nodeName, made)] as const),
  );
  return { ...made, interposers, powerCutPath, settings };
}

function settingsOf(nodeName: NodeName, { namespaces, proxies }: Made): ServerSettings {
  const advertiseAddress = proxies?.clientAddressOf(nodeName) ?? null;
  return {
    ...(advertiseAddress === null ? {} : { advertiseAddress }),
    // The addresses lie in a network of this machine only.
    ...(namespaces === null ? {} : { allowRemote: true }),
  };
}

/** The nodes must be down. */
export async function closeSurroundings({
  namespaces,
  proxies,
  volumes,
}: Pick<Surroundings, 'namespaces' | 'proxies' | 'volumes'>): Promise<void> {
  await proxies?.close();
  for (const volume of volumes.values()) await volume.remove();
  await namespaces?.remove();
}
