// Peers are hostile until proven otherwise: more than a million mutated messages through decode and
// step. Two methods. (1) One replica among forged messages: it never throws, keeps its invariants,
// and a refused message leaves no trace. (2) A storm under the global checker, into which wrong
// envelopes and replays of everything ever sent are mixed: the group stays one history and
// converges.
// Replay one round of either: HOLDFAST_SEED=123 node packages/raft/dist/test/hostile-peers.test.js
import type { Incarnation, NodeId, Random } from '@holdfast/base';
import { assert, deriveSeed, HoldfastError, SeededRandom } from '@holdfast/base';
import t from 'tap';
import { decodeRaftMessage, encodeRaftMessage } from '../src/codec.ts';
import type { RaftMessage, RaftMessageKind } from '../src/messages.ts';
import { runChaos } from '../src/testing/chaos.ts';
import type { CoreCluster } from '../src/testing/core-cluster.ts';
import { mutateBytes, mutateField } from '../src/testing/hostile/field-mutator.ts';
import { plausibleMessage } from '../src/testing/hostile/plausible-message.ts';
import { Victim } from '../src/testing/hostile/victim.ts';

t.setTimeout(0);

const VICTIM_COUNT = 14_000;
const MESSAGES_PER_VICTIM = 60;
const STORM_COUNT = 60;
const STORM_STEP_COUNT = 2_500;
const MESSAGE_COUNT_MIN = 1_000_000;
/** Real messages kept of each kind, to be mutated as bytes. */
const CORPUS_PER_KIND = 200;

const replayed = process.env.HOLDFAST_SEED;
const seedsOf = (count: number): readonly number[] =>
  replayed === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(replayed)];

const counts = { decoded: 0, malformed: 0, stepped: 0, refused: 0, replayed: 0, misaddressed: 0 };

/** Real messages of storms, some of every kind. */
function captureCorpus(): readonly RaftMessage[] {
  const byKind = new Map<RaftMessageKind, RaftMessage[]>();
  const messageLeaving = (_replica: unknown, message: RaftMessage): void => {
    const kept = byKind.get(message.kind) ?? [];
    if (kept.length < CORPUS_PER_KIND) kept.push(message);
    byKind.set(message.kind, kept);
  };
  for (let seed = 9_001; seed < 9_020; seed++)
    runChaos({ seed, stepCount: 1_500, observer: { messageLeaving } });
  return [...byKind.values()].flat();
}

const corpus = captureCorpus();
const encoded = corpus.map((message) => encodeRaftMessage(message));

/** A real message with damaged bytes, as it arrives on the connection of a member; or null. */
function decodeDamaged(random: Random, victim: Victim): RaftMessage | null {
  let bytes = mutateBytes(encoded[random.nextBelow(encoded.length)]!, random);
  if (random.nextBelow(3) === 0) bytes = mutateBytes(bytes, random);
  const from = victim.members[random.nextBelow(victim.members.length)]!;
  try {
    const message = decodeRaftMessage(bytes, from);
    counts.decoded += 1;
    return message;
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError && thrown.code === 'MESSAGE_MALFORMED')) throw thrown;
    counts.malformed += 1;
    return null;
  }
}

/** The envelope that gets `message` past the doorman. */
function addressTo(victim: Victim, message: RaftMessage, random: Random): RaftMessage {
  const { core } = victim.replica;
  const fitting = plausibleMessage(victim.replica, victim.members, random);
  const { from, to, fromIncarnation, toIncarnation, group } = fitting;
  const isTermKept = random.nextBelow(2) === 0;
  const term = isTermKept ? message.term : core.status().term;
  return { ...message, from, to, fromIncarnation, toIncarnation, group, term };
}

function hostileMessage(random: Random, victim: Victim): RaftMessage | null {
  const way = random.nextBelow(10);
  if (way < 2) {
    const damaged = decodeDamaged(random, victim);
    return damaged === null || way === 0 ? damaged : addressTo(victim, damaged, random);
  }
  let message =
    way < 4
      ? addressTo(victim, corpus[random.nextBelow(corpus.length)]!, random)
      : plausibleMessage(victim.replica, victim.members, random);
  for (let i = random.nextBelow(3); i > 0; i--) message = mutateField(message, random);
  return message;
}

function besiege(seed: number): void {
  const random = new SeededRandom(deriveSeed(seed, 'hostile'));
  const victim = new Victim(random);
  for (let i = 0; i < MESSAGES_PER_VICTIM; i++) {
    const message = hostileMessage(random, victim);
    if (message !== null) {
      victim.take(message);
      counts.stepped += 1;
    }
    if (random.nextBelow(3) === 0) victim.live();
  }
  counts.refused += victim.refusedCount;
}

t.test('no forged message breaks a replica, and a refused one leaves no trace', async (t) => {
  for (const seed of seedsOf(VICTIM_COUNT)) {
    try {
      besiege(seed);
    } catch (cause) {
      t.fail(`seed ${seed} broke; replay with HOLDFAST_SEED=${seed}`, { cause: String(cause) });
      throw cause;
    }
  }
  t.pass(JSON.stringify(counts));
});

/** A message that is somebody else's, of another group, or from or to another life. */
function misaddressed(message: RaftMessage, random: Random): RaftMessage {
  const otherLife = `${random.nextU32().toString(16).padStart(8, '0')}`.repeat(4) as Incarnation;
  switch (random.nextBelow(5)) {
    case 0:
      return { ...message, group: (message.group + 1) as RaftMessage['group'] };
    case 1:
      return { ...message, toIncarnation: otherLife };
    case 2:
      return { ...message, fromIncarnation: otherLife };
    case 3:
      return { ...message, from: message.to };
    default:
      return { ...message, to: 'nobody' as NodeId };
  }
}

function stormWithIntruder(seed: number): void {
  const random = new SeededRandom(deriveSeed(seed, 'intruder'));
  const history: RaftMessage[] = [];
  const intrude = (message: RaftMessage, cluster: CoreCluster): readonly RaftMessage[] => {
    history.push(message);
    const victim = cluster.isUp(message.to) ? cluster.replica(message.to) : null;
    if (victim !== null) {
      const refusedBefore = victim.core.status().refusedMessageCount;
      victim.core.step(misaddressed(message, random));
      counts.misaddressed += 1;
      const { refusedMessageCount } = victim.core.status();
      assert(refusedMessageCount === refusedBefore + 1, 'a wrong envelope was not refused', {
        message,
      });
      cluster.after(message.to);
    }
    const old = [1, 2, 3, 4].map(() => history[random.nextBelow(history.length)]!);
    // What was sent a moment ago does more harm than what is long past.
    const recent = history[Math.max(0, history.length - 1 - random.nextBelow(30))]!;
    counts.replayed += old.length + 1;
    return [...old, recent];
  };
  runChaos({ seed: 50_000 + seed, stepCount: STORM_STEP_COUNT, intrude });
}

t.test(
  'replays of everything ever sent and wrong envelopes neither fork nor stop a group',
  async (t) => {
    for (const seed of seedsOf(STORM_COUNT)) {
      try {
        stormWithIntruder(seed);
      } catch (cause) {
        t.fail(`seed ${seed} broke; replay with HOLDFAST_SEED=${seed}`, { cause: String(cause) });
        throw cause;
      }
    }
    t.pass(JSON.stringify(counts));
  },
);

t.test('more than a million hostile messages were tried', async (t) => {
  const total = counts.malformed + counts.stepped + counts.replayed + counts.misaddressed;
  t.comment(`${total} hostile messages: ${JSON.stringify(counts)}`);
  if (replayed !== undefined) return;
  t.ok(total >= MESSAGE_COUNT_MIN, `${total} messages`);
  t.ok(counts.decoded > 20_000, 'damaged bytes often still decode');
  t.ok(counts.refused > 100_000, 'many are refused');
  t.ok(counts.stepped - counts.refused > 100_000, 'many get past the doorman');
});
