/**
 * Collections that are created and dropped while others write into them. By log index:
 *
 * - between two creations of a name lies a drop, and between two drops that dropped something a
 *   creation, unless an operation whose end nobody knows may have been one (`created twice`,
 *   `dropped twice`): a retry changes nothing a second time;
 * - an element that is read was inserted after the last drop before the read (`came back`);
 * - an element inserted and not dropped since is read (`lost`), with one version whoever reads it.
 *
 * The log itself agrees with real time (`log-order.ts`).
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import type { OperationOf } from '../operation.ts';
import { checkLogOrder, type Placed } from './log-order.ts';
import { Problems } from './problems.ts';
import { newestUpTo } from './snapshots.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

interface Change {
  readonly version: number;
  readonly finished: FinishedOperation;
}

interface Insert {
  readonly finished: FinishedOperation;
  readonly name: string;
  version: number | null;
}

/** What is known of one name. */
interface Timeline {
  readonly creations: Change[];
  readonly drops: Change[];
  /** Changes whose end nobody knows. */
  readonly openCreations: FinishedOperation[];
  readonly openDrops: FinishedOperation[];
  readonly reads: FinishedOperation[];
}

export function judgeSchema(events: readonly HistoryEvent[]): Verdict {
  const operations = finishedOperations(events);
  const problems = new Problems();
  const timelines = timelinesOf(operations);
  const inserts = insertsOf(operations);
  for (const timeline of timelines.values()) {
    for (const read of timeline.reads) learnVersions(problems, inserts, read);
  }
  for (const [name, timeline] of timelines) {
    checkAlternation(problems, name, timeline);
    const own = new Map([...inserts].filter(([, insert]) => insert.name === name));
    for (const read of timeline.reads) checkRead(problems, timeline, own, read);
  }
  checkLogOrder(problems, placedOf(operations));
  const found = problems.toVerdict('collections');
  if (found !== null) return found;
  const count = (pick: (timeline: Timeline) => readonly unknown[]) =>
    [...timelines.values()].reduce((sum, timeline) => sum + pick(timeline).length, 0);
  const dropCount = count(({ drops }) => drops);
  const readCount = count(({ reads }) => reads);
  if (dropCount === 0) return unknown('no collection was dropped');
  if (readCount === 0) return unknown('no read was answered');
  return valid({ creationCount: count(({ creations }) => creations), dropCount, readCount });
}

function timelinesOf(operations: readonly FinishedOperation[]): Map<string, Timeline> {
  const timelines = new Map<string, Timeline>();
  for (const finished of operations) {
    const { operation, outcome } = finished;
    if (!('name' in operation) || outcome === 'fail') continue;
    const empty = { creations: [], drops: [], openCreations: [], openDrops: [], reads: [] };
    const timeline: Timeline = timelines.get(operation.name) ?? empty;
    timelines.set(operation.name, timeline);
    if (operation.kind === 'createCollection') {
      const { index, createdIndex } = operation;
      if (outcome === 'info') timeline.openCreations.push(finished);
      else if (createdIndex !== null && !isKnown(timeline.creations, createdIndex)) {
        timeline.creations.push({ version: createdIndex, finished });
      } else if (createdIndex === null && index !== null) {
        timeline.creations.push({ version: index, finished });
      }
    } else if (operation.kind === 'dropCollection') {
      const { index, isDropped } = operation;
      if (outcome === 'info') timeline.openDrops.push(finished);
      else if (isDropped && index !== null) timeline.drops.push({ version: index, finished });
    } else if (operation.kind === 'readCollection' && outcome === 'ok') {
      timeline.reads.push(finished);
    }
  }
  for (const { creations, drops } of timelines.values()) {
    creations.sort((left, right) => left.version - right.version);
    drops.sort((left, right) => left.version - right.version);
  }
  return timelines;
}

const isKnown = (changes: readonly Change[], version: number): boolean =>
  changes.some((change) => change.version === version);

/** Any change of unknown end may lie between two others that nothing known separates. */
function checkAlternation(problems: Problems, name: string, timeline: Timeline): void {
  const { creations, drops, openCreations, openDrops } = timeline;
  const check = (
    what: string,
    changes: readonly Change[],
    between: readonly Change[],
    open: readonly FinishedOperation[],
  ) => {
    changes.forEach((change, position) => {
      const before = changes[position - 1];
      if (before === undefined) return;
      const isBetween = (newestUpTo(between, change.version)?.version ?? 0) > before.version;
      const isExplained = open.some(({ invokedAt }) => invokedAt < change.finished.finishedAt);
      if (isBetween || isExplained) return;
      const facts = { name, indexes: [before.version, change.version] };
      problems.add(what, facts, [before.finished, change.finished]);
    });
  };
  check('created twice', creations, drops, openDrops);
  check('dropped twice', drops, creations, openCreations);
}

function insertsOf(operations: readonly FinishedOperation[]): Map<number, Insert> {
  const inserts = new Map<number, Insert>();
  for (const finished of operations) {
    const { operation, outcome } = finished;
    if (operation.kind !== 'insertInto') continue;
    const { name, element, index } = operation;
    inserts.set(element, { finished, name, version: outcome === 'ok' ? index : null });
  }
  return inserts;
}

function learnVersions(
  problems: Problems,
  inserts: ReadonlyMap<number, Insert>,
  finished: FinishedOperation,
): void {
  const { name, seen, nodePick } = finished.operation as OperationOf<'readCollection'>;
  for (const { point, version } of seen ?? []) {
    const insert = inserts.get(point);
    const facts = { name, element: point, version, nodePick };
    const isPossible =
      insert !== undefined &&
      insert.finished.outcome !== 'fail' &&
      insert.finished.invokedAt < finished.finishedAt &&
      insert.name === name;
    if (!isPossible) {
      problems.add('phantom', facts, [finished]);
      continue;
    }
    insert.version ??= version;
    if (insert.version === version) continue;
    const twice = { ...facts, known: insert.version };
    problems.add('executed twice', twice, [insert.finished, finished]);
  }
}

function checkRead(
  problems: Problems,
  { drops, openDrops }: Timeline,
  inserts: ReadonlyMap<number, Insert>,
  finished: FinishedOperation,
): void {
  const operation = finished.operation as OperationOf<'readCollection'>;
  const { name, seen, appliedIndex, nodePick } = operation;
  if (seen === null || appliedIndex === null) return;
  const drop = newestUpTo(drops, appliedIndex);
  const present = new Set(seen.map(({ point }) => point));
  if (present.size !== seen.length) problems.add('duplicated', { name, nodePick }, [finished]);
  for (const { point, version } of seen) {
    const facts = { name, element: point, version, appliedIndex, nodePick };
    if (version > appliedIndex) problems.add('from the future', facts, [finished]);
    if (drop === null || version > drop.version) continue;
    problems.add('came back', { ...facts, dropped: drop.version }, [drop.finished, finished]);
  }
  for (const [element, { version, finished: insert }] of inserts) {
    if (version === null || version > appliedIndex || present.has(element)) continue;
    if (drop !== null && drop.version > version) continue;
    const isExplained = openDrops.some(({ invokedAt }) => invokedAt < finished.finishedAt);
    if (isExplained) continue;
    problems.add('lost', { name, element, version, appliedIndex, nodePick }, [insert, finished]);
  }
}

function placedOf(operations: readonly FinishedOperation[]): readonly Placed[] {
  return operations.flatMap((finished): Placed[] => {
    const { operation, outcome } = finished;
    if (outcome !== 'ok') return [];
    switch (operation.kind) {
      case 'createCollection':
      case 'dropCollection':
      case 'changePayloadIndex':
      case 'insertInto': {
        const { index } = operation;
        return index === null ? [] : [{ finished, index, isWrite: true }];
      }
      case 'readCollection': {
        const { appliedIndex } = operation;
        return appliedIndex === null ? [] : [{ finished, index: appliedIndex, isWrite: false }];
      }
      default:
        return [];
    }
  });
}
