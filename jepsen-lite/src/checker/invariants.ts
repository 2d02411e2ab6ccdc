/**
 * What nodes say of themselves, sampled during a run (`GET /api/v1/cluster/status`), must fit
 * together at all times:
 *
 * - a term has at most one leader, whoever tells of it (Raft section 5.2);
 * - the term of a node never goes back, whatever restarts it, while it is the same incarnation;
 * - within one life of a process, commit and applied index never go back, and nothing is applied
 *   that is not committed;
 * - what is committed never changes: one applied index has one digest, on every node, for good.
 */
import { type InvalidExample, invalid, unknown, type Verdict, valid } from './verdict.ts';

export interface StatusSample {
  readonly nodeName: string;
  /** Since the start of the run: when it was asked. */
  readonly timeMs: number;
  /** Counts the starts of the node's process. */
  readonly life: number;
  readonly incarnation: string;
  readonly role: string;
  readonly term: number;
  readonly leader: string | null;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  /** The digest belongs to its own index: the rest may be a little newer. */
  readonly digest: string;
  readonly digestIndex: number;
}

interface Problem extends InvalidExample {
  readonly what: string;
  readonly timeMs: number;
  readonly fromMs: number;
  readonly samples: readonly StatusSample[];
}

export function judgeInvariants(samples: readonly StatusSample[]): Verdict {
  const inOrder = samples.toSorted((left, right) => left.timeMs - right.timeMs);
  const problems = [...twoLeaders(inOrder), ...goingBack(inOrder), ...changedHistory(inOrder)];
  const [first] = problems;
  if (first !== undefined)
    return invalid(`${problems.length} contradictions, first: ${first.what}`, problems);
  if (samples.length === 0) return unknown('no node was sampled');
  const terms = new Set(inOrder.filter(isLeader).map(({ term }) => term));
  if (terms.size === 0) return unknown('no sample has a leader');
  return valid({ sampleCount: samples.length, leaderTermCount: terms.size });
}

const isLeader = ({ role }: StatusSample): boolean => role === 'leader';

const problemOf = (what: string, before: StatusSample, after: StatusSample): Problem => ({
  ...{ what, timeMs: after.timeMs, fromMs: before.timeMs, samples: [before, after] },
});

function twoLeaders(samples: readonly StatusSample[]): readonly Problem[] {
  const leaders = new Map<number, { readonly name: string; readonly sample: StatusSample }>();
  const problems: Problem[] = [];
  for (const sample of samples) {
    const name = isLeader(sample) ? sample.nodeName : sample.leader;
    if (name === null) continue;
    const known = leaders.get(sample.term);
    if (known === undefined) leaders.set(sample.term, { name, sample });
    else if (known.name !== name)
      problems.push(problemOf('two leaders of one term', known.sample, sample));
  }
  return problems;
}

function goingBack(samples: readonly StatusSample[]): readonly Problem[] {
  const last = new Map<string, StatusSample>();
  const problems: Problem[] = [];
  for (const sample of samples) {
    if (sample.appliedIndex > sample.commitIndex) {
      problems.push(problemOf('applied beyond the commit index', sample, sample));
    }
    const before = last.get(sample.nodeName);
    last.set(sample.nodeName, sample);
    if (before === undefined || before.incarnation !== sample.incarnation) continue;
    if (sample.term < before.term) problems.push(problemOf('a term went back', before, sample));
    if (sample.life !== before.life) continue;
    if (sample.commitIndex < before.commitIndex) {
      problems.push(problemOf('a commit index went back', before, sample));
    }
    if (sample.appliedIndex < before.appliedIndex) {
      problems.push(problemOf('an applied index went back', before, sample));
    }
  }
  return problems;
}

function changedHistory(samples: readonly StatusSample[]): readonly Problem[] {
  const digests = new Map<number, StatusSample>();
  const problems: Problem[] = [];
  for (const sample of samples) {
    const known = digests.get(sample.digestIndex);
    if (known === undefined) digests.set(sample.digestIndex, sample);
    else if (known.digest !== sample.digest) {
      problems.push(problemOf('two states at one index', known, sample));
    }
  }
  return problems;
}
