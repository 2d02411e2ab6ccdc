/**
 * All nodes go at one moment, by kill -9 or because the power of their disks goes, and are started
 * again at once. Time counts from when a majority listens for clients: until then no cluster could
 * answer. Nothing acknowledged may be missing afterwards, no batch may be there in part, and no
 * node may refuse to start.
 */
import { createConnection } from 'node:net';
import { assert } from '@holdfast/base';
import type { HistoryEvent } from '../history.ts';
import { lookAtMachine, type Machine, planLaunch } from '../nemesis/needs.ts';
import { isWrite } from '../operation.ts';
import { waitFor } from '../wait.ts';
import { atMost, figure } from './figure.ts';
import { everywherePossible, type NumberRow, type RowContext, type RowOutcome } from './row.ts';
import { BATCH_LOAD, Stage, type StageReport } from './stage.ts';
import { maxOf, medianOf, partsOf, promiseFigures, worstByName } from './summary.ts';

const ROUNDS_PER_CLUSTER = 10;
const LISTENING_TIMEOUT_MS = 60_000;
const LISTENING_POLL_MS = 5;

type Way = 'kill -9' | 'power cut';

interface Restart {
  readonly majorityMs: number;
  readonly firstAcknowledgementMs: number;
}

async function playRounds(
  context: RowContext,
  row: string,
  way: Way,
): Promise<readonly StageReport[]> {
  const rounds = Array.from({ length: context.times }, (_unused, i) => i + 1);
  const reports: StageReport[] = [];
  for (const part of partsOf(rounds, ROUNDS_PER_CLUSTER)) {
    const launch =
      way === 'power cut' ? planLaunch([{ volume: 'ext4' }], lookAtMachine()).options : {};
    const options = { row, stageNumber: reports.length, launch, hasBatches: true };
    const report = await Stage.play(context, options, async (stage) => {
      for (const round of part) {
        await stage.steady();
        await allAtOnce(stage, way);
        context.log(`${round}/${rounds.length} ${way} of all`);
      }
    });
    reports.push(report);
  }
  return reports;
}

async function allAtOnce(stage: Stage, way: Way): Promise<void> {
  const { cluster } = stage;
  const targets = cluster.nodeNames;
  await stage.strike({ action: way, isHealing: false, targets }, async () => {
    if (way === 'power cut') await cluster.cutPower(targets);
    else await cluster.killAll();
  });
  await stage.strike({ action: 'start', isHealing: true, targets }, async () => {
    await cluster.startAll();
    await untilListening(cluster.addresses, Math.floor(targets.length / 2) + 1);
  });
}

/** Resolves as soon as so many of these addresses take connections. */
async function untilListening(addresses: readonly string[], count: number): Promise<void> {
  const listening = new Set<string>();
  const what = `${count} nodes to listen`;
  const options = { what, timeoutMs: LISTENING_TIMEOUT_MS, pollIntervalMs: LISTENING_POLL_MS };
  await waitFor(options, async () => {
    const silent = addresses.filter((address) => !listening.has(address));
    const answers = await Promise.all(silent.map((address) => isListening(address)));
    silent.forEach((address, i) => {
      if (answers[i] === true) listening.add(address);
    });
    return listening.size >= count ? true : null;
  });
}

function isListening(address: string): Promise<boolean> {
  const colon = address.lastIndexOf(':');
  return new Promise((resolve) => {
    const socket = createConnection(Number(address.slice(colon + 1)), address.slice(0, colon));
    const end = (isOpen: boolean): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

/**
 * Pure: of each start, how long until a majority listened, and from there to the first acknowledged
 * write. A start that no acknowledgement followed is left out: the verdicts tell of it.
 */
export function restartsOf(events: readonly HistoryEvent[]): readonly Restart[] {
  return events.flatMap((event) => {
    if (event.kind !== 'fault' || !event.isHealing) return [];
    const { doneMs, timeMs } = event;
    const first = events.find(
      (one) =>
        one.kind === 'operation' &&
        one.phase === 'ok' &&
        isWrite(one.operation) &&
        // An acknowledgement may arrive before the harness has seen that a majority listens.
        one.timeMs >= timeMs,
    );
    if (first === undefined) return [];
    assert(doneMs >= timeMs, 'a start ends after it began', { doneMs, timeMs });
    return [
      {
        majorityMs: doneMs - timeMs,
        firstAcknowledgementMs: Math.max(0, first.timeMs - doneMs),
      },
    ];
  });
}

function outcomeOf(reports: readonly StageReport[], times: number, isTimed: boolean): RowOutcome {
  const restarts = reports.flatMap(({ events }) => restartsOf(events));
  const firstMs = restarts.map((one) => one.firstAcknowledgementMs);
  const majorityMs = restarts.map((one) => one.majorityMs);
  const median = medianOf(firstMs);
  return {
    figures: [
      ...(isTimed
        ? [
            atMost(`majority up to first acknowledgement, median of ${times}`, median, 'ms', 500),
            atMost('majority up to first acknowledgement, max', maxOf(firstMs), 'ms', 2_000),
          ]
        : [figure(`majority up to first acknowledgement, median of ${times}`, median, 'ms')]),
      figure('start of the processes to majority up, median', medianOf(majorityMs), 'ms'),
      atMost('restarts that no acknowledged write followed', times - restarts.length, '', 0),
      ...promiseFigures(reports),
    ],
    verdicts: worstByName(reports),
    notes: [],
    samples: restarts.map((one) => ({
      majorityMs: Math.round(one.majorityMs),
      firstAcknowledgementMs: Math.round(one.firstAcknowledgementMs),
    })),
  };
}

export const allKilledRow: NumberRow = {
  ...{ name: 'all-killed', timesDefault: 50, timesQuick: 2, load: BATCH_LOAD },
  what: 'kill -9 of all 5 nodes: how soon the first write is acknowledged; nothing lost',
  whyNot: everywherePossible,
  run: async (context) => {
    const reports = await playRounds(context, 'all-killed', 'kill -9');
    return outcomeOf(reports, context.times, true);
  },
};

export const powerCutRow: NumberRow = {
  ...{ name: 'power-cut', timesDefault: 50, timesQuick: 2, load: BATCH_LOAD },
  what: 'the power of all 5 nodes goes: nothing lost, no torn batch, every node starts',
  whyNot: (machine: Machine) => planLaunch([{ volume: 'ext4' }], machine).missing[0] ?? null,
  run: async (context) => {
    const reports = await playRounds(context, 'power-cut', 'power cut');
    return outcomeOf(reports, context.times, false);
  },
};
