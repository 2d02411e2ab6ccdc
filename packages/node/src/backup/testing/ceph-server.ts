/**
 * A private S3 server for tests, and a real one: Ceph's gateway over one monitor and one storage
 * daemon that keeps everything in memory. Loopback only, in a directory of its own, without root;
 * up in a second or two. Debian: `radosgw ceph-mon ceph-osd ceph-common`.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { must } from '@holdfast/base';
import { ChildServer } from './child-server.ts';
import { freePorts } from './free-port.ts';

const run = promisify(execFile);

export const CEPH_ACCESS_KEY_ID = 'ak';
export const CEPH_SECRET_ACCESS_KEY = 'sk';
const PROGRAMS = ['radosgw', 'radosgw-admin', 'ceph', 'ceph-mon', 'ceph-osd', 'ceph-authtool'];
const LIBRARIES = '/usr/lib/x86_64-linux-gnu';
const MEMORY_SIZE_BYTES = 2 * 1024 ** 3;

/** A reason to skip what needs the server, or false. */
export function cephMissing(): string | false {
  const folders = (process.env.PATH ?? '').split(':').concat('/usr/bin', '/usr/sbin');
  const missing = PROGRAMS.filter((name) => !folders.some((at) => existsSync(join(at, name))));
  if (missing.length === 0) return false;
  return `${missing.join(', ')} not installed (Debian: radosgw ceph-mon ceph-osd ceph-common)`;
}

export class CephServer {
  readonly port: number;
  readonly #folder: string;
  readonly #daemons: ChildServer[] = [];
  #gateway: ChildServer | null = null;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.port = port;
  }

  static async start(): Promise<CephServer> {
    const [port, ...monitorPorts] = await freePorts(3);
    const folder = mkdtempSync(join(tmpdir(), 'hf-ceph-'));
    const server = new CephServer(folder, must(port));
    try {
      await server.#layOut(monitorPorts);
      await server.#startStorage();
      await server.startGateway();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async makeBucket(name: string): Promise<void> {
    const { CreateBucketCommand, S3Client } = await import('@aws-sdk/client-s3');
    const client = new S3Client({
      ...{ endpoint: this.endpoint, region: 'us-east-1', forcePathStyle: true },
      credentials: {
        accessKeyId: CEPH_ACCESS_KEY_ID,
        secretAccessKey: CEPH_SECRET_ACCESS_KEY,
      },
    });
    await client.send(new CreateBucketCommand({ Bucket: name }));
    client.destroy();
  }

  async startGateway(): Promise<void> {
    this.#gateway = new ChildServer('radosgw', [...this.#config, '-n', 'client.rgw', '-f']);
    await this.#gateway.untilListening(this.port);
  }

  /** As a crash of the gateway: connections break, what was stored is there. */
  async killGateway(): Promise<void> {
    await this.#gateway?.stop('SIGKILL');
    this.#gateway = null;
  }

  async stop(): Promise<void> {
    await this.killGateway();
    for (const daemon of this.#daemons.reverse()) await daemon.stop('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #config(): readonly string[] {
    return ['-c', join(this.#folder, 'ceph.conf')];
  }

  async #layOut(monitorPorts: readonly number[]): Promise<void> {
    const folder = this.#folder;
    const clusterUuid = randomUUID();
    const [first, second] = monitorPorts;
    const monitor = `[v2:127.0.0.1:${first},v1:127.0.0.1:${second}]`;
    mkdirSync(join(folder, 'mon'));
    mkdirSync(join(folder, 'osd'));
    const config = configText({ folder, clusterUuid, monitor, port: this.port });
    writeFileSync(join(folder, 'ceph.conf'), config);
    const keyring = join(folder, 'keyring');
    const all = (...names: readonly string[]) =>
      names.flatMap((name) => ['--cap', name, 'allow *']);
    const key = (name: string, caps: readonly string[], isFirst = false) =>
      run('ceph-authtool', [...(isFirst ? ['-C'] : []), keyring, '--gen-key', '-n', name, ...caps]);
    await key('mon.', all('mon'), true);
    await key('client.admin', all('mon', 'osd', 'mgr'));
    await key('client.rgw', all('mon', 'osd'));
    await key('osd.0', ['--cap', 'mon', 'allow profile osd', '--cap', 'osd', 'allow *']);
    const map = join(folder, 'monmap');
    await run('monmaptool', ['--create', '--fsid', clusterUuid, '--addv', 'a', monitor, map]);
    const make = ['--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring];
    await run('ceph-mon', [...this.#config, ...make]);
    this.#daemons.push(new ChildServer('ceph-mon', [...this.#config, '-i', 'a', '-f']));
    await must(this.#daemons[0]).untilListening(must(first));
  }

  async #startStorage(): Promise<void> {
    const uuid = randomUUID();
    const keyring = join(this.#folder, 'keyring');
    await run('ceph', [...this.#config, 'osd', 'new', uuid]);
    await run('ceph', [...this.#config, 'auth', 'import', '-i', keyring]);
    await run('ceph-osd', [...this.#config, '-i', '0', '--mkfs', '--osd-uuid', uuid]);
    this.#daemons.push(new ChildServer('ceph-osd', [...this.#config, '-i', '0', '-f']));
    const keys = [`--access-key=${CEPH_ACCESS_KEY_ID}`, `--secret-key=${CEPH_SECRET_ACCESS_KEY}`];
    const user = ['user', 'create', '--uid=tester', '--display-name=tester', ...keys];
    await run('radosgw-admin', [...this.#config, ...user]);
  }
}

interface ConfigFacts {
  readonly folder: string;
  readonly clusterUuid: string;
  readonly monitor: string;
  readonly port: number;
}

const configText = ({ folder, clusterUuid, monitor, port }: ConfigFacts): string => `[global]
fsid = ${clusterUuid}
mon host = ${monitor}
keyring = ${folder}/keyring
run dir = ${folder}
admin socket = ${folder}/$name.asok
pid file = ${folder}/$name.pid
log file = ${folder}/$name.log
mon cluster log file = ${folder}/cluster.log
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
mon data = ${folder}/mon
mon allow pool size one = true
paxos propose interval = 0.02
paxos min wait = 0.01
mon osd min up ratio = 0
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = ${MEMORY_SIZE_BYTES}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd class dir = ${LIBRARIES}/rados-classes
erasure code dir = ${LIBRARIES}/ceph/erasure-code
plugin dir = ${LIBRARIES}/ceph
osd class load list = *
osd class default list = *
rgw frontends = beast endpoint=127.0.0.1:${port}
rgw override bucket index max shards = 1
debug rgw = 0
`;
