/** Bugs of looking after disks, lanes and replicas, and of making them whole again. */
import type { Mutant } from './mutant.ts';

const HEAL = 'packages/node/dist/src/heal';
const RECOVERY = 'packages/node/dist/src/recovery';
const STORAGE = 'packages/storage/dist/src';
const SHARD = 'packages/shard-worker/dist/src';

const FILE_MUTANTS: readonly Mutant[] = [
  {
    id: 'damaged-block-is-served',
    bug: 'rows of a block that fails its checksum are loaded and served',
    source: 'checksums that are written and never read; rows in quarantine that are served',
    file: `${STORAGE}/checksummed-file.js`,
    find: 'if (Buffer.compare(expected, stored.subarray(size)) !== 0) {',
    replace: 'if (expected.byteLength === 0) {',
  },
  {
    id: 'repair-is-not-proven',
    bug: 'a repaired file takes the name whatever file its blocks make',
    source: 'repair that skips the verification after it',
    file: `${STORAGE}/checksummed-repair.js`,
    find: 'this.#isProven = found === checksum;',
    replace: "this.#isProven = found !== '';",
  },
  {
    id: 'repair-takes-the-name-unsynced',
    bug: 'a repaired file takes the name before its content is durable',
    source: 'repair in place, as seen after a power cut; etcd#14098',
    file: `${STORAGE}/checksummed-repair.js`,
    find: 'this.#handle.sync();',
    replace: 'this.#handle.sizeBytes();',
  },
  {
    id: 'block-sums-are-enough',
    bug: 'a file whose blocks are sound counts as the file that is named',
    source: 'checksums stored with the data only; misdirected and lost writes',
    file: `${STORAGE}/scrub-steps.js`,
    find: 'if (found === checksum)\n        return flaws;',
    replace: 'if (found.length === checksum.length)\n        return flaws;',
  },
  {
    id: 'scrub-leaves-out-the-last-file',
    bug: 'a scrub ends before the last file',
    source: 'off by one at the end of a scrub',
    file: `${HEAL}/scrubber.js`,
    find: 'for (const target of listTargets(place)) {',
    replace: 'for (const target of listTargets(place).slice(0, -1)) {',
  },
  {
    id: 'lagging-copy-repairs',
    bug: 'of whole copies the one of the replica that lags most is asked first',
    source: 'repair from a stale replica',
    file: `${HEAL}/segment-repair.js`,
    find: 'right.answer.appliedIndex - left.answer.appliedIndex',
    replace: 'left.answer.appliedIndex - right.answer.appliedIndex',
  },
  {
    id: 'action-that-ran-has-helped',
    bug: 'a recovery counts as done when its action ran, whatever a look says',
    source: 'recovery without verification',
    file: `${HEAL}/recovery-manager.js`,
    find: 'if (await action.verify())',
    replace: 'if ((await action.verify()) || facts !== null)',
  },
];

const CHECKPOINT_MUTANTS: readonly Mutant[] = [
  {
    id: 'folder-is-made-once',
    bug: 'the folder of a shard that went with a failed checkpoint is not made again',
    source: 'this project: a simulated disk that refused the first checkpoint of a collection',
    file: `${SHARD}/segment/checkpoint-writer.js`,
    find: 'if (shardsWithDirectory.has(source) && place.fs.exists(directory))',
    replace: 'if (shardsWithDirectory.has(source))',
  },
];

const START_MUTANTS: readonly Mutant[] = [
  {
    id: 'log-is-given-up-at-once',
    bug: 'a node without a checkpoint gives up its log before the others have gone on without it',
    source: 'protocol-aware recovery (FAST 18): deleting what may be the last copy',
    file: `${RECOVERY}/open-state.js`,
    find: 'await this.#untilDispensable();',
    replace: '',
  },
  {
    id: 'only-root-stands-once',
    bug: 'the only checkpoint of a node has one root file, and nothing says who its peers are',
    source: 'this project: a simulated node that had joined by a snapshot',
    file: `${STORAGE}/checkpoint-root.js`,
    find: "if (attemptRead(fileSystem, previousPath).kind === 'root')\n        return;",
    replace: 'if (previousPath.length > 0)\n        return;',
  },
  {
    id: 'graph-is-loaded-unverified',
    bug: 'native code is given a saved graph whose checksum was not looked at',
    source: 'hnswlib and usearch: loaders that corrupt the heap on damaged files',
    file: `${SHARD}/graph-cache/load.js`,
    find: 'if (digestChecksummedFile(fs, path) !== sidecar.checksum)',
    replace: 'if (sidecar.checksum.length === 0)',
  },
  {
    id: 'suspect-graph-is-forgotten',
    bug: 'a graph that took the process down is loaded again by the next start',
    source: 'quarantine that does not outlive a restart; crash loops',
    file: `${SHARD}/graph-cache/graph-cache.js`,
    find: "if (kinds.has('loading'))",
    replace: "if (kinds.has('loading') && !kinds.has('graph'))",
  },
];

const REPLICA_MUTANTS: readonly Mutant[] = [
  {
    id: 'minority-digest-wins',
    bug: 'a digest that somebody reports counts as that of the majority',
    source: 'conflict X5: majority of all voters',
    file: `${HEAL}/digest-vote.js`,
    find: 'count * 2 > voterCount',
    replace: 'count * 2 > 1',
  },
  {
    id: 'majority-of-those-heard',
    bug: 'a majority of the voters heard so far says who has diverged',
    source: 'conflict X5: majority of all voters',
    file: `${HEAL}/digest-vote.js`,
    find: '), voters.length)',
    replace: '), heard.length)',
  },
  {
    id: 'lost-lane-is-lost-again',
    bug: 'a lane whose thread hung is taken for lost over and over until it is given up',
    source: 'this project: a simulated lane that hung at work',
    file: `${SHARD}/host/supervised-lane.js`,
    find: 'if (this.#timer !== null)\n            return;',
    replace: '',
  },
  {
    id: 'reopened-lane-stays-missed',
    bug: 'nobody hears that a lane is back when a snapshot gave it its state, and its node never leads',
    source: 'this project: a simulated lane that was lost while a snapshot was on its way',
    file: `${SHARD}/host/supervised-lane.js`,
    find: "if (wasLost && reply.kind === 'opened' && generation === this.#generation) {",
    replace: "if (wasLost && reply.kind === 'failed') {",
  },
  {
    id: 'lane-answers-while-it-replays',
    bug: 'a lane that comes back answers reads before it stands where they belong',
    source: 'stale reads after a restore',
    file: `${SHARD}/host/supervised-lane.js`,
    find: "if (this.#state !== 'up')\n            throw this.#refusal();\n        const generation",
    replace: 'const generation',
  },
  {
    id: 'refused-vote-is-not-remembered',
    bug: 'what lanes refused together is not there when one of them comes back',
    source: 'own design: ADR 0027',
    file: 'packages/node/dist/src/replica/applier.js',
    find: 'this.votes.noteRefused(entry.index);',
    replace: '',
  },
  {
    id: 'refused-frames-are-not-told',
    bug: 'a batch that the disk refused first is never told to be durable',
    source: 'own design: retry where nothing was synced',
    file: `${STORAGE}/wal/inline-wal.js`,
    find: 'return this.#onBlocked(error, frames.length);',
    replace: 'return this.#onBlocked(error, 0);',
  },
];

export const HEAL_MUTANTS: readonly Mutant[] = [
  ...FILE_MUTANTS,
  ...CHECKPOINT_MUTANTS,
  ...START_MUTANTS,
  ...REPLICA_MUTANTS,
];
