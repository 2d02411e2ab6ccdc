/**
 * A restore as it goes on a bad day: `restore run` is killed at a place in its middle, run again to
 * its end, then run once more to replace what it has made, killed again, and run to its end. Only
 * then a node is started on what is there.
 */
import { copyFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Failpoint, must, SeededRandom } from '@holdfast/base';
import {
  noteFailpoints,
  type ProcessCluster,
  readFailpointsSeen,
} from '../cluster/process-cluster.ts';
import { holdfastWith } from '../drill/holdfast-command.ts';
import { keepSecret, removeDataDirectories } from '../drill/rebuild.ts';

export interface RestoreOptions {
  /** Of one node, which does not run. */
  readonly past: ProcessCluster;
  readonly store: string;
  readonly clusterId: string;
  readonly index: number;
  /** Of the places at which it is killed. */
  readonly seed: number;
}

/** Passed by every restore into a new directory. */
const LAYING_PLACES = [
  ...(['restore.after-marker', 'restore.before-file', 'restore.after-files'] as const),
  ...(['restore.before-root', 'restore.after-root', 'restore.before-append'] as const),
  ...(['restore.before-configuration', 'restore.after-log', 'restore.before-identity'] as const),
  'restore.before-unmarking',
] as const satisfies readonly Failpoint[];
/** And by one that takes the place of another directory. */
const REPLACING_PLACES = [
  ...LAYING_PLACES,
  ...(['restore.after-unmarking', 'restore.before-aside'] as const),
  ...(['restore.before-swap', 'restore.after-swap'] as const),
] as const satisfies readonly Failpoint[];

const FAILPOINTS_VARIABLE = 'HOLDFAST_TEST_FAILPOINTS';
const NODE_NAME = 'n1';

/**
 * The node runs and leads itself when it resolves, with the places that the commands got to.
 * @throws Error when a command fails that was not killed
 */
export async function restoreOnABadDay(options: RestoreOptions): Promise<readonly string[]> {
  const { past, seed } = options;
  const secretPath = keepSecret(past);
  removeDataDirectories(past);
  const random = new SeededRandom(seed);
  const draw = (places: readonly Failpoint[]): Failpoint =>
    must(places[random.nextBelow(places.length)]);
  const seenPath = join(past.directory, 'commands-seen.txt');
  const run = await plan(options, noteFailpoints(seenPath));
  if (await isKilledAt(draw(LAYING_PLACES), run)) await run({});
  copyFileSync(secretPath, join(past.dataDirectoryOf(NODE_NAME), basename(secretPath)));
  await isKilledAt(draw(REPLACING_PLACES), run, '--replace');
  await run({}, '--replace');
  await past.startAll();
  await past.waitUntilReady();
  return readFailpointsSeen(seenPath);
}

type Environment = Readonly<Record<string, string>>;
type RunCommand = (environment: Environment, ...more: readonly string[]) => Promise<string>;

/** Makes the plan; returns the command that carries it out. */
async function plan(
  { clusterId, index, past, store }: RestoreOptions,
  noting: Environment,
): Promise<RunCommand> {
  const path = join(past.directory, 'plan.json');
  const from = ['--from', store, '--plan', path];
  await holdfastWith(
    noting,
    ...['restore', 'plan', ...from, '--cluster', clusterId, '--index', String(index)],
    ...['--member', `${NODE_NAME}=${past.peerAddressOf(NODE_NAME)}`],
  );
  const node = ['--node-id', NODE_NAME, '--data-dir', past.dataDirectoryOf(NODE_NAME)];
  return (environment, ...more) =>
    holdfastWith({ ...noting, ...environment }, 'restore', 'run', ...from, ...node, ...more);
}

/** False: it does not pass there, since nothing has to be replayed, and came to its end. */
async function isKilledAt(
  place: Failpoint,
  run: RunCommand,
  ...more: readonly string[]
): Promise<boolean> {
  try {
    await run({ [FAILPOINTS_VARIABLE]: `${place}=kill@1` }, ...more);
    return false;
  } catch (thrown) {
    if ((thrown as { readonly signal?: unknown }).signal !== 'SIGKILL') throw thrown;
    return true;
  }
}
