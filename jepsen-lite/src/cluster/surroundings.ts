/**
 * What the harness puts around the nodes of a process cluster before they start, so that they can
 * be disturbed: proxies on their lines, a library before their system calls, file systems of their
 * own. All of it is off until a fault turns it on.
 */
import { join } from 'node:path';
import { must } from '@holdfast/base';
import type { NodeName } from './cluster.ts';
import { Interposer } from './interposer.ts';
import { compileNative } from './native-program.ts';
import { PeerProxies } from './peer-proxies.ts';
import type { MemberPlan } from './server-command.ts';
import { Volume, type VolumeOptions } from './volume.ts';

export interface SurroundingsOptions {
  /** Puts a proxy on every link between nodes, for `network` and `isolate`. Default false. */
  readonly hasPeerProxies?: boolean;
  /** And one between clients and every node; needs `hasPeerProxies`. Default false. */
  readonly hasClientProxies?: boolean;
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
  readonly interposers: ReadonlyMap<NodeName, Interposer>;
  readonly volumes: ReadonlyMap<NodeName, Volume>;
  /** The program that cuts the power of volumes. */
  readonly powerCutPath: string | null;
}

/** @throws Error when something cannot be had here; then nothing of it stays behind */
export async function surround(
  directory: string,
  members: readonly MemberPlan[],
  options: SurroundingsOptions,
): Promise<Surroundings> {
  const { hasClientProxies = false, hasInterposer, hasPeerProxies, seed = 1, volume } = options;
  const interposers = new Map<NodeName, Interposer>();
  const volumes = new Map<NodeName, Volume>();
  const library = hasInterposer === true ? await compileNative('interposer.c', directory) : null;
  const canCutPower = volume?.kind === 'ext4';
  const powerCutPath = canCutPower ? await compileNative('power-cut.c', directory) : null;
  for (const { dataDirectory, nodeName } of library === null ? [] : members) {
    const controlPath = join(directory, nodeName, 'interposer');
    interposers.set(nodeName, new Interposer(must(library), controlPath, dataDirectory));
  }
  let proxies: PeerProxies | null = null;
  try {
    if (hasPeerProxies === true) {
      proxies = await PeerProxies.open(members, { hasClientProxies, seed });
    }
    for (const { nodeName } of volume === undefined ? [] : members) {
      volumes.set(nodeName, await Volume.make(join(directory, nodeName), must(volume)));
    }
    return { proxies, interposers, volumes, powerCutPath };
  } catch (thrown) {
    await closeSurroundings({ proxies, volumes });
    throw thrown;
  }
}

/** The nodes must be down. */
export async function closeSurroundings({
  proxies,
  volumes,
}: Pick<Surroundings, 'proxies' | 'volumes'>): Promise<void> {
  await proxies?.close();
  for (const volume of volumes.values()) await volume.remove();
}
