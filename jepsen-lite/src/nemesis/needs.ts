/**
 * What faults need of the machine and of the way in which a cluster is launched. What the machine
 * does not offer is left out, with a sentence that says why; the faults are then skipped.
 */
import { hasCommand } from '../cluster/native-program.ts';
import type { ServerSettings } from '../cluster/server-command.ts';
import type { SurroundingsOptions } from '../cluster/surroundings.ts';

export interface NemesisNeeds {
  readonly hasPeerProxies?: true;
  readonly hasClientProxies?: true;
  readonly hasInterposer?: true;
  readonly volume?: 'tmpfs' | 'ext4';
  /** Nodes that archive; the run says so, because it is judged then. */
  readonly hasStore?: true;
  /** Of every node, for example checkpoints often enough to be hit. */
  readonly settings?: ServerSettings;
}

export interface Machine {
  readonly isRoot: boolean;
  readonly hasCompiler: boolean;
  readonly hasExt4Tools: boolean;
}

export interface LaunchOptions extends SurroundingsOptions {
  readonly settings: ServerSettings;
}

export interface LaunchPlan {
  readonly options: LaunchOptions;
  /** What was asked for and cannot be had, and why. */
  readonly missing: readonly string[];
}

/** A log of 16 MiB per file, two checkpoints and some room: a node runs well in it. */
const VOLUME_SIZE_BYTES = 512 * 1024 * 1024;

export function lookAtMachine(): Machine {
  return {
    isRoot: process.getuid?.() === 0,
    hasCompiler: hasCommand('cc'),
    hasExt4Tools: hasCommand('mkfs.ext4', '-V'),
  };
}

/** Pure. Where two want volumes of different kinds, the first gets its own. */
export function planLaunch(needs: readonly NemesisNeeds[], machine: Machine): LaunchPlan {
  const missing: string[] = [];
  const isWanted = (is: (one: NemesisNeeds) => boolean): boolean => needs.some(is);
  let hasInterposer = isWanted((one) => one.hasInterposer === true);
  if (hasInterposer && !machine.hasCompiler) {
    hasInterposer = false;
    missing.push('faults of system calls need a C compiler: install gcc, so that `cc` is found');
  }
  const kinds = needs.flatMap(({ volume }) => (volume === undefined ? [] : [volume]));
  const kind = kinds.find((one) => {
    const reason = whyNoVolume(one, machine);
    if (reason !== null) missing.push(reason);
    return reason === null;
  });
  if (kinds.some((one) => one !== kind && whyNoVolume(one, machine) === null)) {
    missing.push(`a node has one volume, and that is ${kind}: run the other fault by itself`);
  }
  const hasClientProxies = isWanted((one) => one.hasClientProxies === true);
  const hasPeerProxies = hasClientProxies || isWanted((one) => one.hasPeerProxies === true);
  const settings = Object.assign({}, ...needs.map((one) => one.settings ?? {}));
  const volume = kind === undefined ? {} : { volume: { kind, sizeBytes: VOLUME_SIZE_BYTES } };
  return {
    options: { hasClientProxies, hasInterposer, hasPeerProxies, settings, ...volume },
    missing: [...new Set(missing)],
  };
}

function whyNoVolume(kind: 'tmpfs' | 'ext4', machine: Machine): string | null {
  if (!machine.isRoot) return `a ${kind} volume for every node needs root: run as root`;
  if (kind === 'tmpfs') return null;
  if (!machine.hasExt4Tools) return 'power cuts need mkfs.ext4: install e2fsprogs';
  return machine.hasCompiler ? null : 'power cuts need a C compiler: install gcc';
}
