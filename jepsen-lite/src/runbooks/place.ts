/**
 * Where pages are followed: a folder on a real disk, ports that are free, `holdfast` on the PATH,
 * and the values that stand on the pages for whoever follows them (addresses, folders, stores).
 */
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from '@holdfast/base';
import { CEPH_ACCESS_KEY_ID, CEPH_SECRET_ACCESS_KEY, CephServer } from '@holdfast/node/testing';
import { findFreePorts } from '../cluster/free-ports.ts';
import { makeScratchDirectory, removeScratchDirectory } from '../cluster/scratch-directory.ts';
import { serverEntryPath } from '../cluster/server-command.ts';
import { endMarkedProcesses, MARK_NAME, unmountBelow } from './leftovers.ts';
import type { Need } from './page.ts';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
/** Of clients and of nodes: `N1` and `N1_PEER`. */
const ADDRESS_NAMES: readonly string[] = ['N1', 'N2', 'N3', 'N4', 'R1'];
const BUCKET = 'runbooks';

export type OwnValues = Readonly<Record<string, string>>;

export class Place {
  readonly folder: string;
  /** By the name of the variable. */
  readonly values: OwnValues;
  readonly environment: NodeJS.ProcessEnv;
  readonly #mark: string;
  readonly #server: CephServer | null;

  private constructor(
    folder: string,
    place: {
      readonly values: OwnValues;
      readonly mark: string;
      readonly server: CephServer | null;
    },
  ) {
    this.folder = folder;
    this.values = place.values;
    this.#mark = place.mark;
    this.#server = place.server;
    this.environment = environmentOf(folder, place.mark);
  }

  static async make(needs: ReadonlySet<Need>): Promise<Place> {
    const folder = makeScratchDirectory('runbooks');
    mkdirSync(join(folder, 'work'));
    const [firstOfCluster = 0, ...ports] = await findFreePorts(1 + 2 * ADDRESS_NAMES.length);
    const values: Record<string, string> = {
      CHECKOUT: ROOT.replace(/\/$/, ''),
      PRACTICE: join(folder, 'practice'),
      // Nodes of `cluster start` listen on the ports after it.
      BASE_PORT: String(firstOfCluster - 1),
    };
    for (const [i, name] of ADDRESS_NAMES.entries()) {
      values[name] = `127.0.0.1:${ports[2 * i]}`;
      values[`${name}_PEER`] = `127.0.0.1:${ports[2 * i + 1]}`;
    }
    const server = needs.has('s3') ? await CephServer.start() : null;
    if (server !== null) {
      await server.makeBucket(BUCKET);
      values.S3_STORE = `'s3://${BUCKET}/holdfast?endpoint=${server.endpoint}&pathStyle=true'`;
    }
    return new Place(folder, { values, server, mark: randomUUID() });
  }

  /** Where the steps of the pages run. */
  get workFolder(): string {
    return join(this.folder, 'work');
  }

  /** Ends every process that a step began, lets go of its disks, and removes the folder. */
  async leave(isKept = false): Promise<void> {
    // A supervisor may start another one while its child is being ended.
    while (endMarkedProcesses(this.#mark) > 0) await new Promise(setImmediate);
    unmountBelow(this.folder);
    await this.#server?.stop();
    if (!isKept) removeScratchDirectory(this.folder);
  }
}

/** The step with the reader's values in it: the lines `NAME=value` and `export NAME=value`. */
export function withOwnValues(code: string, values: OwnValues): string {
  return code.replaceAll(/^((?:export )?([A-Z][A-Z0-9_]*)=)(\S+)/gm, (line, start, name) => {
    const value = values[name];
    assert(typeof start === 'string', 'the pattern has groups');
    return value === undefined ? line : `${start}${value}`;
  });
}

function environmentOf(folder: string, mark: string): NodeJS.ProcessEnv {
  const programs = join(folder, 'bin');
  mkdirSync(programs);
  const holdfast = join(programs, 'holdfast');
  writeFileSync(holdfast, `#!/bin/sh\nexec '${process.execPath}' '${serverEntryPath()}' "$@"\n`);
  chmodSync(holdfast, 0o755);
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_'));
  return {
    ...Object.fromEntries(inherited),
    [MARK_NAME]: mark,
    PATH: `${programs}:${process.env.PATH ?? ''}`,
    AWS_ACCESS_KEY_ID: CEPH_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY: CEPH_SECRET_ACCESS_KEY,
  };
}
