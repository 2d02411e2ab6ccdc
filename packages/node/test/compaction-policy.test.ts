/**
 * Goal: the log is cut as far as it can be and never further. Method: one case per rule, and a
 * property over any view: the floors hold, every limit holds, more room never cuts further.
 */
import { SeededRandom } from '@holdfast/base';
import t from 'tap';
import type {
  CompactionDecision,
  CompactionLimits,
  CompactionView,
} from '../src/replica/compaction-policy.ts';
import { decideCompaction } from '../src/replica/compaction-policy.ts';

/** Every entry has 10 bytes; the log ends at 1,000. */
const LAST = 1_000;
const firstIndexWithin =
  (baseIndex: number) =>
  (sizeBytesMax: number): number =>
    Math.max(baseIndex + 1, LAST + 1 - Math.floor(sizeBytesMax / 10));

const view = (changes: Partial<CompactionView> = {}): CompactionView => ({
  baseIndex: 100,
  newestIndex: 900,
  previousIndex: 700,
  followers: [],
  transferIndex: null,
  archivedIndex: null,
  givenUpIndex: 0,
  firstIndexWithin: firstIndexWithin(changes.baseIndex ?? 100),
  ...changes,
});
const limits = (changes: Partial<CompactionLimits> = {}): CompactionLimits => ({
  retainedEntryCount: 0,
  retainedSizeBytesMax: 1_000_000,
  followerHoldSizeBytesMax: 1_000_000,
  transferHoldSizeBytesMax: 1_000_000,
  archiveHoldSizeBytesMax: 1_000_000,
  ...changes,
});

const cases: readonly (readonly [
  title: string,
  view: CompactionView,
  limits: CompactionLimits,
  index: number,
  heldBy: string,
])[] = [
  ['the generation before is the end of it', view(), limits(), 700, 'checkpoint'],
  [
    'without a generation before nothing is cut',
    view({ previousIndex: 0, baseIndex: 0 }),
    limits(),
    0,
    'checkpoint',
  ],
  [
    'entries are retained behind the newest checkpoint',
    view(),
    limits({ retainedEntryCount: 300 }),
    600,
    'retention',
  ],
  [
    'but only so many bytes of them',
    view(),
    limits({ retainedEntryCount: 500, retainedSizeBytesMax: 4_000 }),
    600,
    'retention',
  ],
  [
    'entries that nobody can be given any more are not retained',
    view({ givenUpIndex: 650 }),
    limits({ retainedEntryCount: 500 }),
    650,
    'retention',
  ],
  [
    'nor kept for a follower, which needs a snapshot now',
    view({ givenUpIndex: 650, followers: [{ matchIndex: 400, isReachable: true }] }),
    limits(),
    650,
    'follower',
  ],
  [
    'but never cut into what a generation needs',
    view({ givenUpIndex: 800 }),
    limits({ retainedEntryCount: 500 }),
    700,
    'checkpoint',
  ],
  [
    'a reachable follower holds the log at what it has',
    view({ followers: [{ matchIndex: 400, isReachable: true }] }),
    limits(),
    400,
    'follower',
  ],
  [
    'the slowest of them decides',
    view({
      followers: [
        { matchIndex: 400, isReachable: true },
        { matchIndex: 300, isReachable: true },
        { matchIndex: 950, isReachable: true },
      ],
    }),
    limits(),
    300,
    'follower',
  ],
  [
    'up to so many bytes',
    view({ followers: [{ matchIndex: 300, isReachable: true }] }),
    limits({ followerHoldSizeBytesMax: 5_000 }),
    500,
    'follower',
  ],
  [
    'a dead follower holds nothing',
    view({ followers: [{ matchIndex: 300, isReachable: false }] }),
    limits(),
    700,
    'checkpoint',
  ],
  [
    'one whose state is not known yet holds all there is',
    view({ followers: [{ matchIndex: null, isReachable: true }] }),
    limits(),
    100,
    'follower',
  ],
  [
    'up to the same limit',
    view({ followers: [{ matchIndex: null, isReachable: true }] }),
    limits({ followerHoldSizeBytesMax: 5_000 }),
    500,
    'follower',
  ],
  [
    'nor does one that lies before the log already',
    view({ followers: [{ matchIndex: 99, isReachable: true }] }),
    limits(),
    700,
    'checkpoint',
  ],
  ['a running transfer pins its index', view({ transferIndex: 250 }), limits(), 250, 'transfer'],
  [
    'an archive holds what it does not have yet',
    view({ archivedIndex: 350 }),
    limits(),
    350,
    'archive',
  ],
  [
    'up to so many bytes, too',
    view({ archivedIndex: 350 }),
    limits({ archiveHoldSizeBytesMax: 4_500 }),
    550,
    'archive',
  ],
  ['the base never goes back', view({ archivedIndex: 50 }), limits(), 100, 'archive'],
];

for (const [title, seen, bounds, index, heldBy] of cases) {
  t.test(title, async (t) => {
    t.match(decideCompaction(seen, bounds), { index, heldBy, isTransferGivenUp: false });
  });
}

t.test('a transfer that holds too much is given up, and then holds nothing', async (t) => {
  const bounds = limits({ transferHoldSizeBytesMax: 6_000 });
  t.match(decideCompaction(view({ transferIndex: 400 }), bounds), {
    index: 400,
    isTransferGivenUp: false,
  });
  t.match(decideCompaction(view({ transferIndex: 399 }), bounds), {
    index: 700,
    heldBy: 'checkpoint',
    isTransferGivenUp: true,
  });
});

t.test('for any view: floors and limits hold, and more room never cuts further', async (t) => {
  for (let seed = 1; seed <= 5_000; seed++) {
    const random = new SeededRandom(seed);
    const seen = anyView(random);
    const bounds = anyLimits(random, () => 0);
    const decision = decideCompaction(seen, bounds);
    const flaws = flawsOf(seen, bounds, decision);
    const more = random.nextBelow(6_000);
    const roomier = anyLimits(new SeededRandom(seed), () => more, seen);
    if (decideCompaction(seen, roomier).index > decision.index)
      flaws.push('more room cuts further');
    if (flaws.length > 0) t.fail(`seed ${seed}: ${flaws.join(', ')}`);
  }
  t.pass('5,000 views');
});

function anyView(random: SeededRandom): CompactionView {
  const index = (): number => random.nextBelow(LAST);
  const [baseIndex = 0, previousIndex = 0, newestIndex = 0] = [index(), index(), index()].sort(
    (left, right) => left - right,
  );
  return {
    ...{ baseIndex, previousIndex, newestIndex, firstIndexWithin: firstIndexWithin(baseIndex) },
    followers: Array.from({ length: random.nextBelow(5) }, () => ({
      matchIndex: random.nextBelow(5) === 0 ? null : index(),
      isReachable: random.nextBelow(2) === 0,
    })),
    transferIndex: random.nextBelow(2) === 0 ? null : index(),
    archivedIndex: random.nextBelow(2) === 0 ? null : index(),
    givenUpIndex: random.nextBelow(3) === 0 ? index() : 0,
  };
}

/** With a view the same numbers are drawn as after `anyView`, so that only `more` differs. */
function anyLimits(
  random: SeededRandom,
  more: () => number,
  drawFirst: CompactionView | null = null,
): CompactionLimits {
  if (drawFirst !== null) anyView(random);
  return {
    retainedEntryCount: random.nextBelow(LAST) + more(),
    retainedSizeBytesMax: random.nextBelow(12_000) + more(),
    followerHoldSizeBytesMax: random.nextBelow(12_000) + more(),
    transferHoldSizeBytesMax: random.nextBelow(12_000) + more(),
    archiveHoldSizeBytesMax: random.nextBelow(12_000) + more(),
  };
}

/** What does not hold, said without the code under test: by what must still be readable. */
function flawsOf(
  seen: CompactionView,
  bounds: CompactionLimits,
  { index, isTransferGivenUp }: CompactionDecision,
): string[] {
  const flaws: string[] = [];
  const isCutBehind = (floor: number): boolean => index > Math.max(floor, seen.baseIndex);
  /** A reader at `floor` may be cut off only when more than its limit was kept for it. */
  const isWronged = (floor: number, sizeBytesMax: number): boolean =>
    isCutBehind(floor) && 10 * (LAST - floor) <= sizeBytesMax;
  if (index < seen.baseIndex) flaws.push('the base went back');
  if (isCutBehind(seen.previousIndex)) flaws.push('recovery needs what was cut');
  const { transferIndex, archivedIndex } = seen;
  if (transferIndex !== null && transferIndex >= seen.baseIndex) {
    if (!isTransferGivenUp && isCutBehind(transferIndex)) flaws.push('the transfer was overtaken');
    if (isWronged(transferIndex, bounds.transferHoldSizeBytesMax)) flaws.push('transfer wronged');
  }
  for (const { matchIndex, isReachable } of seen.followers) {
    const neededFrom = matchIndex ?? seen.baseIndex;
    const isHeld = isReachable && neededFrom >= seen.baseIndex;
    // Nobody can be served from entries that are given up.
    const floor = Math.max(neededFrom, seen.givenUpIndex);
    if (isHeld && isWronged(floor, bounds.followerHoldSizeBytesMax)) flaws.push('follower');
  }
  if (archivedIndex !== null && isWronged(archivedIndex, bounds.archiveHoldSizeBytesMax)) {
    flaws.push('archive');
  }
  return flaws;
}
