// A replicated counter in one process. Half-way the leader crashes and starts again from its log;
// in the end all three replicas must have counted the same, or the exit code is 1.
import { createHash, randomInt } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { EntryHasher, NodeId } from '@holdfast/base';
import { DEFAULT_GROUP_ID, SeededRandom } from '@holdfast/base';
import { RaftCore, type RaftMessage, type Ready } from '@holdfast/raft';
import { confOf, InMemoryLog, incarnationOf } from '@holdfast/raft/testing';

const hash: EntryHasher = (previousSum, term, index, type, data) => {
  const digest = createHash('sha256').update(previousSum).update(`${term} ${index} ${type} `);
  return digest.update(data).digest().subarray(0, 16);
};
const conf = confOf(['a', 'b', 'c']); // of members with made-up addresses and incarnations
const running = new Map<NodeId, Replica>();

class Replica {
  readonly core: RaftCore;
  readonly #log: InMemoryLog;
  readonly #waiting = new Map<number, (term: number) => void>();
  readonly #timer = setInterval(() => this.turn((core) => core.tick(performance.now())), 20);
  count = 0;

  constructor(id: NodeId, log = new InMemoryLog({ conf })) {
    const random = new SeededRandom(randomInt(2 ** 32)); // another seed at every start
    const incarnation = incarnationOf(id); // a real one is drawn once per disk
    this.core = new RaftCore({ id, group: DEFAULT_GROUP_ID, incarnation, random, hash }, log);
    this.#log = log;
    running.set(id, this);
  }

  /** Resolves with true once it is counted here, with false if it certainly never will be. */
  increment = (): Promise<boolean> =>
    new Promise((resolve) => {
      this.turn((core) => {
        const outcome = core.propose([new Uint8Array(0)]);
        if (outcome.ok) this.#waiting.set(outcome.index, (term) => resolve(term === outcome.term));
        else resolve(false);
      });
    });
  restart(): void {
    clearInterval(this.#timer);
    new Replica(this.core.status().id, this.#log.crash()); // with what was synced, nothing else
  }
  turn(input: (core: RaftCore) => void): void {
    input(this.core);
    while (this.core.hasReady()) this.#carryOut(this.core.ready());
  }
  #carryOut({ append, apply, send, sendAfter }: Ready): void {
    this.#send(send);
    if (append !== null) {
      this.#log.write(append);
      this.#log.sync(append.seq); // a real log: write, fdatasync, and only then the next line
      this.core.appended(append.seq);
    }
    for (const { messages } of sendAfter) this.#send(messages); // what they wait for is durable
    for (const entry of apply?.kind === 'entries' ? apply.entries : []) {
      if (entry.type === 'normal') this.count += 1;
      this.#waiting.get(entry.index)?.(entry.term);
      this.core.applied(entry.index);
    }
  }
  #send(messages: readonly RaftMessage[]): void {
    for (const message of messages)
      setImmediate(() => running.get(message.to)?.turn((core) => core.step(message)));
  }
}

for (const id of conf.voters) new Replica(id);
const leader = () => [...running.values()].find(({ core }) => core.status().role === 'leader');
for (let counted = 0; counted < 200; counted += 1) {
  while ((await leader()?.increment()) !== true) await setTimeout(10); // none yet, or deposed
  if (counted === 99) leader()?.restart();
}
const counts = () => [...running.values()].map(({ count }) => count);
for (let i = 0; i < 1_000 && counts().some((count) => count < 200); i++) await setTimeout(10);
console.log(`counted ${counts().join(', ')}`);
process.exit(counts().every((count) => count === 200) ? 0 : 1);
