// Conformance cases that are tables rather than histories.
import { must, nodeId } from '@holdfast/base';
import t from 'tap';
import { resolveOptions } from '../src/options-resolved.ts';
import { ReplicaState } from '../src/replica-state.ts';
import { becomeCandidate, becomePreCandidate } from '../src/roles/candidate.ts';
import { becomeFollower } from '../src/roles/follower.ts';
import { becomeLeader } from '../src/roles/leader.ts';
import { at, Bench, benchOptions, logOf, termOf } from './support.ts';

t.test('case 2: who voted for whom, and how new both logs are, decides a vote', async (t) => {
  const own = [1, 2, 2];
  for (const vote of [null, 'b', 'c'])
    for (const index of [2, 3, 4])
      for (const term of [1, 2, 3]) {
        const voter = new Bench({ terms: own, term: 4, ...(vote === null ? {} : { vote }) });
        const answer = voter.askVote('b', 4, { index, term });
        const isNewEnough = term > 2 || (term === 2 && index >= 3);
        const isGranted = vote !== 'c' && isNewEnough;
        const name = `voted for ${vote}, candidate ends at ${index} of term ${term}`;
        t.equal(answer.isGranted, isGranted, name);
        t.equal(voter.status.vote, isGranted ? 'b' : vote, `${name}: what is kept`);
      }
});

t.test(
  'case 12: a change of role that the paper does not know is refused as our bug',
  async (t) => {
    const broken = { name: 'InvariantViolation' };
    const made = () => {
      const bench = new Bench({ terms: [1], term: 3 });
      return new ReplicaState(resolveOptions(benchOptions(bench.id)), bench.log);
    };
    t.throws(() => becomeLeader(made()), broken, 'a follower does not become leader');
    const pre = made();
    becomePreCandidate(pre);
    t.throws(() => becomeLeader(pre), broken, 'nor does a pre-candidate');
    const candidate = made();
    becomeCandidate(candidate, false);
    t.throws(() => becomeLeader(candidate), broken, 'nor a candidate whose vote is not durable');
    const leader = made();
    leader.role = 'leader';
    t.throws(() => becomeCandidate(leader, false), broken, 'a leader does not campaign');
    t.throws(() => becomePreCandidate(leader), broken, 'nor ask');
    t.throws(() => becomeFollower(made(), termOf(2), nodeId('b')), broken, 'no term goes back');
  },
);

t.test('case 17: hints of a rejection and the next probe, computed by hand', async (t) => {
  // Logs by term; the leader probes at the end of its own log as it was before its no-op.
  const table = [
    // The follower has a long tail of terms the leader never saw: skipped in one step.
    { leader: [1, 3, 3, 3, 5, 5, 5], follower: [1, 1, 1, 1, 2, 2], hint: [6, 2], next: 2 },
    // The leader's own terms after the hint cannot match a follower that ends before them.
    { leader: [1, 1, 3, 4, 4, 4], follower: [1, 1, 3], hint: [3, 3], next: 4 },
    // Same length, one term differs at the end.
    { leader: [1, 1, 1, 3], follower: [1, 1, 1, 2], hint: [4, 2], next: 4 },
    // The follower's whole tail is of one term above the probed one.
    { leader: [1, 1, 1, 1], follower: [1, 3, 3, 3, 3], hint: [1, 1], next: 2 },
    // Several terms on both sides.
    { leader: [2, 2, 4, 4, 6, 6], follower: [2, 2, 3, 3, 3, 5], hint: [6, 5], next: 5 },
    // Nothing is common but the beginning of everything.
    { leader: [2, 2, 2], follower: [1, 1, 1], hint: [3, 1], next: 1 },
    // The follower is empty.
    { leader: [1, 2, 3], follower: [], hint: [0, 0], next: 1 },
    // The follower lacks the middle of a term.
    { leader: [1, 1, 5, 5, 5, 5], follower: [1, 1, 5, 5], hint: [4, 5], next: 5 },
    // The follower is longer, and of older terms.
    { leader: [1, 4, 4], follower: [1, 1, 2, 2, 2, 3], hint: [3, 2], next: 2 },
  ];
  for (const { leader, follower, hint, next } of table) {
    const name = `leader ${leader.join('')}, follower ${follower.join('')}`;
    const led = new Bench({ terms: leader, term: 7 });
    const sent = led.lead();
    const probe = must(sent.find((message) => message.kind === 'append' && message.to === 'b'));
    t.match(probe, { prevIndex: leader.length, prevTerm: leader.at(-1) }, name);
    const peer = new Bench({ id: 'b', entries: logOf(follower), term: 7 });
    peer.core.step(probe);
    const [answer] = peer.flushOf('appendResponse');
    const rejection = { rejectedIndex: leader.length, hintIndex: hint[0], hintTerm: hint[1] };
    t.match(answer, { rejection }, `${name}: hint`);
    led.core.step(must(answer));
    const [again] = led.flushOf('append');
    t.equal(again?.prevIndex, at(next - 1), `${name}: the next probe starts at ${next}`);
  }
});
