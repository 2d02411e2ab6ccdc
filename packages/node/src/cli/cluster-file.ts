/**
 * What the local cluster tool remembers beside the data directories: the nodes with their addresses
 * and, per node, the process it started. A pid alone may by now belong to someone else, so the
 * start time of the process is kept with it.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError, isNodeId, nodeId } from '@holdfast/base';
import { z } from 'zod';
import type { PlannedNode } from '../cluster/plan.ts';

const CLUSTER_FILE_NAME = 'cluster.json';
const FORMAT = 'holdfast-local-cluster';

const clusterFileSchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(1),
  clusterId: z.string(),
  nodes: z
    .array(
      z.strictObject({
        nodeId: z.string().refine(isNodeId),
        dataDirectory: z.string(),
        publicAddress: z.string(),
        peerAddress: z.string(),
      }),
    )
    .min(1),
});

export interface LocalCluster {
  readonly clusterId: string;
  readonly nodes: readonly PlannedNode[];
}

/** Null when there is none. @throws HoldfastError FILE_CORRUPT */
export function readClusterFile(directory: string): LocalCluster | null {
  const path = join(directory, CLUSTER_FILE_NAME);
  if (!existsSync(path)) return null;
  const parsed = clusterFileSchema.safeParse(parseJson(readFileSync(path, 'utf8')));
  if (!parsed.success) {
    const message =
      `${path} is not a description of a local cluster; restore it or remove ` + `${directory}`;
    throw new HoldfastError('FILE_CORRUPT', message, { details: { file: path } });
  }
  const { clusterId, nodes } = parsed.data;
  return {
    clusterId,
    nodes: nodes.map((node) => ({
      ...node,
      nodeId: nodeId(node.nodeId),
      dataDirectory: join(directory, node.dataDirectory),
    })),
  };
}

/** Written after every data directory is formatted; paths are kept relative, so it can be moved. */
export function writeClusterFile(directory: string, cluster: LocalCluster): void {
  const nodes = cluster.nodes.map((node) => ({
    ...node,
    dataDirectory: node.dataDirectory.slice(directory.length + 1),
  }));
  const body = { format: FORMAT, version: 1, clusterId: cluster.clusterId, nodes };
  mkdirSync(directory, { recursive: true });
  const path = join(directory, CLUSTER_FILE_NAME);
  writeFileSync(`${path}.tmp`, `${JSON.stringify(body, null, 2)}\n`);
  renameSync(`${path}.tmp`, path);
}

export interface ProcessMark {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat; null where there is no /proc. */
  readonly startTime: string | null;
}

const markSchema = z.strictObject({ pid: z.int().min(1), startTime: z.string().nullable() });

const markPath = (directory: string, id: string): string => join(directory, `${id}.pid`);

export function writeProcessMark(directory: string, id: string, pid: number): void {
  const mark: ProcessMark = { pid, startTime: processStartTime(pid) };
  writeFileSync(markPath(directory, id), `${JSON.stringify(mark)}\n`);
}

export function removeProcessMark(directory: string, id: string): void {
  rmSync(markPath(directory, id), { force: true });
}

/** The process that was started for the node and still runs, or null. */
export function runningProcess(directory: string, id: string): ProcessMark | null {
  const path = markPath(directory, id);
  if (!existsSync(path)) return null;
  const parsed = markSchema.safeParse(parseJson(readFileSync(path, 'utf8')));
  if (!parsed.success) return null;
  return isRunning(parsed.data) ? parsed.data : null;
}

export function isRunning({ pid, startTime }: ProcessMark): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    // ESRCH: gone. EPERM: not ours, so not the one we started.
    return false;
  }
  return startTime === processStartTime(pid) && !isZombie(pid);
}

export function processStartTime(pid: number): string | null {
  return statField(pid, 22);
}

const isZombie = (pid: number): boolean => statField(pid, 3) === 'Z';

/** The command name may hold blanks and brackets: fields are counted after its last bracket. */
function statField(pid: number, field: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[field - 3] ?? null;
  } catch {
    // No /proc, or the process ended between two looks.
    return null;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The schema refuses undefined with the file's name.
    return undefined;
  }
}
