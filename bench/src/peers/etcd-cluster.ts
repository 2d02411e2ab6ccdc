/**
 * The peer of the write benchmark: three etcd servers on loopback with their data on the same file
 * system, driven by the Node client etcd3. Absent server or client is a visible "peer absent".
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { must } from '@holdfast/base';
import {
  findFreePorts,
  makeScratchDirectory,
  readText,
  removeScratchDirectory,
  waitFor,
} from '@holdfast/jepsen-lite';
import type { Etcd3 } from 'etcd3';
import { commandVersion } from '../environment.ts';

const MEMBER_COUNT = 3;
const READY_TIMEOUT_MS = 30_000;

export class EtcdCluster {
  readonly directory: string;
  readonly #children: readonly ChildProcess[];
  readonly #client: Etcd3;

  private constructor(directory: string, children: readonly ChildProcess[], client: Etcd3) {
    this.directory = directory;
    this.#children = children;
    this.#client = client;
  }

  /** Null when etcd or its client is not installed. */
  static async launch(): Promise<EtcdCluster | null> {
    if (commandVersion('etcd', ['--version']) === 'absent') return null;
    const etcd3 = await import('etcd3').catch(() => null);
    if (etcd3 === null) return null;
    const directory = makeScratchDirectory('etcd');
    const ports = await findFreePorts(MEMBER_COUNT * 2);
    const members = Array.from({ length: MEMBER_COUNT }, (_unused, i) => ({
      name: `e${i + 1}`,
      clientUrl: `http://127.0.0.1:${must(ports[i * 2])}`,
      peerUrl: `http://127.0.0.1:${must(ports[i * 2 + 1])}`,
    }));
    const initialCluster = members.map((one) => `${one.name}=${one.peerUrl}`).join(',');
    const children = members.map((member) => startMember(directory, member, initialCluster));
    try {
      for (const { clientUrl } of members) await waitUntilHealthy(clientUrl);
      const leaderUrl = await findLeader(
        members.map((one) => one.clientUrl),
        etcd3.Etcd3,
      );
      return new EtcdCluster(directory, children, new etcd3.Etcd3({ hosts: [leaderUrl] }));
    } catch (thrown) {
      for (const child of children) child.kill('SIGKILL');
      throw new Error(`etcd did not come up; see ${directory}`, { cause: thrown });
    }
  }

  get pids(): readonly number[] {
    return this.#children.map((child) => must(child.pid));
  }

  /** One durable put. etcd answers after a majority has synced it. */
  async put(key: string, value: Buffer): Promise<void> {
    await this.#client.put(key).value(value).exec();
  }

  async stop(): Promise<void> {
    this.#client.close();
    await Promise.all(
      this.#children.map((child) => {
        const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
        child.kill('SIGKILL');
        return gone;
      }),
    );
    removeScratchDirectory(this.directory);
  }
}

interface Member {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
}

function startMember(directory: string, member: Member, initialCluster: string): ChildProcess {
  const log = openSync(join(directory, `${member.name}.log`), 'a');
  try {
    const child = spawn(
      'etcd',
      [
        ...['--name', member.name],
        ...['--data-dir', join(directory, member.name)],
        ...['--listen-client-urls', member.clientUrl],
        ...['--advertise-client-urls', member.clientUrl],
        ...['--listen-peer-urls', member.peerUrl],
        ...['--initial-advertise-peer-urls', member.peerUrl],
        ...['--initial-cluster', initialCluster],
        ...['--initial-cluster-token', 'holdfast-bench'],
        ...['--initial-cluster-state', 'new'],
      ],
      { stdio: ['ignore', log, log] },
    );
    process.once('exit', () => child.kill('SIGKILL'));
    return child;
  } finally {
    closeSync(log);
  }
}

async function waitUntilHealthy(clientUrl: string): Promise<void> {
  const address = clientUrl.replace('http://', '');
  await waitFor({ what: `etcd at ${clientUrl}`, timeoutMs: READY_TIMEOUT_MS }, async () => {
    const answer = await readText(address, '/health');
    return answer?.text.includes('true') === true ? answer : null;
  });
}

/** Puts sent to a follower take another hop: the peer gets the better case. */
async function findLeader(
  clientUrls: readonly string[],
  makeClient: new (options: { hosts: string[] }) => Etcd3,
): Promise<string> {
  for (const clientUrl of clientUrls) {
    const client = new makeClient({ hosts: [clientUrl] });
    try {
      const status = await client.maintenance.status();
      if (status.leader === status.header.member_id) return clientUrl;
    } finally {
      client.close();
    }
  }
  throw new Error('no etcd member says that it is the leader');
}
