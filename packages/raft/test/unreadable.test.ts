// A disk that does not give an entry just now: whoever needs it waits, and nobody else does.
import type { Entry, LogIndex } from '@holdfast/base';
import t from 'tap';
import { confOf } from '../src/testing/core-cluster.ts';
import { InMemoryLog } from '../src/testing/memory-log.ts';
import { at, Bench, logOf, termOf } from './support.ts';

const TERMS = [1, 1, 1, 1, 1, 1];

class RottenLog extends InMemoryLog {
  rotten = 0;

  override entries(low: LogIndex, high: LogIndex, sizeBytesMax: number): readonly Entry[] {
    if (low === this.rotten) return 'unreadable' as unknown as readonly Entry[];
    const end = low < this.rotten && this.rotten < high ? at(this.rotten) : high;
    return super.entries(low, end, sizeBytesMax) as readonly Entry[];
  }
}

function benchOf(commit: number, applied: number): { bench: Bench; log: RottenLog } {
  const log = new RottenLog({
    conf: confOf(['a', 'b', 'c']),
    entries: logOf(TERMS),
    hardState: { term: termOf(1), vote: null, commit: at(commit) },
    applied: at(applied),
  });
  const bench = new Bench({ log });
  log.rotten = 4;
  return { log, bench };
}

t.test(
  'a peer that is owed an unreadable entry gets what is before it, and then waits',
  async (t) => {
    const { bench, log } = benchOf(6, 6);
    bench.lead();
    bench.ack('c', bench.status.lastIndex);
    bench.flush();
    bench.ack('b', 1);
    t.match(bench.flushOf('append'), [
      { to: 'b', prevIndex: 1, entries: [{ index: 2 }, { index: 3 }] },
    ]);
    bench.ack('b', 3);
    const beat = { kind: 'heartbeatResponse', round: 0, beat: 0, isLeaseGranted: false } as const;
    for (let i = 0; i < 3; i++) {
      bench.step('b', bench.status.term, beat);
      t.same(bench.flushOf('append'), [], 'nothing is sent, and nothing spins');
    }
    bench.core.propose([new Uint8Array(1)]);
    t.match(bench.flushOf('append'), [{ to: 'c', entries: [{ index: 8 }] }], 'others go on');
    t.same(bench.flushOf('snapshot'), [], 'it is no reason for a snapshot');
    log.rotten = 0;
    bench.step('b', bench.status.term, beat);
    t.match(bench.flushOf('append'), [{ to: 'b', prevIndex: 3, entries: { length: 5 } }]);
  },
);

t.test(
  'applying waits for an unreadable entry and goes on with a tick after it is back',
  async (t) => {
    const { bench, log } = benchOf(6, 1);
    const indexes = () =>
      bench.applied
        .flatMap((one) => (one.kind === 'entries' ? one.entries : []))
        .map(({ index }) => index);
    bench.take();
    bench.core.applied(at(3));
    bench.take();
    t.same(indexes(), [2, 3]);
    t.notOk(bench.core.hasReady(), 'the host is not kept busy with it');
    log.rotten = 0;
    bench.core.tick(1);
    bench.take();
    t.same(indexes(), [2, 3, 4, 5, 6]);
  },
);
