/** Metrics of scrubs and recoveries, read from their own counters per scrape. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { CareStatus } from '../heal/care-api.ts';
import type { NodeService } from '../service-api.ts';

type CareNumber = readonly [name: string, help: string, read: (status: CareStatus) => number];

const corrupted = (status: CareStatus, key: 'found' | 'recovered' | 'escalated'): number =>
  status.recoveries.causes
    .filter(({ type }) => type === 'corruption')
    .reduce((sum, cause) => sum + cause[key], 0);

const GAUGES: readonly CareNumber[] = [
  ['recovery_success_rate', 'Recoveries that ended well.', (s) => s.recoveries.successRate],
  ['rto_compliance_rate', 'Recoveries within their target.', (s) => s.recoveries.rtoComplianceRate],
  ['recovery_waiting', 'Recoveries that wait.', (s) => s.recoveries.waiting],
  ['recovery_running', 'Recoveries under way.', (s) => s.recoveries.running],
  ['recovery_unrecovered', 'Causes that no action helped; an alarm.', (s) => s.unrecovered.length],
  ['scrub_running', '1 while a scrub is under way.', (s) => (s.isScrubbing ? 1 : 0)],
  [
    'scrub_last_end_timestamp_seconds',
    'When the newest scrub ended; 0: never.',
    (s) => (s.newest?.endedAtMs ?? 0) / 1_000,
  ],
];

const COUNTERS: readonly CareNumber[] = [
  ['recovery_count_total', 'Recoveries that ended well.', (s) => s.recoveries.successfulRecoveries],
  ['recovery_overdue_total', 'Not recovered within their target.', (s) => s.recoveries.overdue],
  ['corruption_detected_total', 'Damaged files found.', (s) => corrupted(s, 'found')],
  ['corruption_repaired_total', 'Damaged files repaired.', (s) => corrupted(s, 'recovered')],
  ['corruption_unrecovered_total', 'Given up.', (s) => corrupted(s, 'escalated')],
  ['scrub_passes_total', 'Scrubs that ended.', (s) => s.totals.passes],
  ['scrub_bytes_total', 'Bytes read by scrubs.', (s) => s.totals.bytesRead],
  ['scrub_flaws_total', 'Damaged places seen by scrubs.', (s) => s.totals.flawsFound],
];

/** The targets of the priorities are among them. */
const DURATION_BUCKETS_SECONDS = [0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3_600];

export function registerCareMetrics(registry: Registry, service: NodeService): void {
  registerDurations(registry, service);
  registerWorkers(registry, service);
  const registers = [registry];
  for (const [name, help, read] of GAUGES) {
    new Gauge({
      ...{ name: `holdfast_${name}`, help, registers },
      collect() {
        const status = service.care?.status();
        this.reset();
        if (status !== undefined) this.set(read(status));
      },
    });
  }
  for (const [name, help, read] of COUNTERS) {
    new Counter({
      ...{ name: `holdfast_${name}`, help, registers },
      collect() {
        const status = service.care?.status();
        this.reset();
        if (status !== undefined) this.inc(read(status));
      },
    });
  }
  new Counter({
    name: 'holdfast_recovery_actions_total',
    help: 'Attempts of each action, by result.',
    labelNames: ['action', 'result'],
    registers,
    collect() {
      this.reset();
      for (const { attempts, name, successes } of service.care?.status().recoveries.actions ?? []) {
        this.inc({ action: name, result: 'helped' }, successes);
        this.inc({ action: name, result: 'failed' }, attempts - successes);
      }
    },
  });
}

/** Filled from the events that are new since the scrape before. */
function registerDurations(registry: Registry, service: NodeService): void {
  let seen = 0;
  new Histogram({
    name: 'holdfast_recovery_duration_seconds',
    help: 'From a finding until it was recovered.',
    labelNames: ['priority'],
    buckets: DURATION_BUCKETS_SECONDS,
    registers: [registry],
    collect() {
      for (const { facts, kind, number, priority } of service.care?.events(seen) ?? []) {
        seen = number;
        if (kind !== 'recovered') continue;
        this.observe({ priority: `P${priority}` }, Number(facts.tookMs) / 1_000);
      }
    },
  });
}

function registerWorkers(registry: Registry, service: NodeService): void {
  const registers = [registry];
  new Gauge({
    ...{ name: 'holdfast_worker_up', labelNames: ['worker'], registers },
    help: '1 for every worker of the node that does its work.',
    collect() {
      this.reset();
      for (const { name, state } of service.care?.workers() ?? [])
        this.set({ worker: name }, state === 'up' || state === 'closed' ? 1 : 0);
    },
  });
  new Gauge({
    ...{ name: 'holdfast_event_loop_delay_seconds', registers },
    help: 'Longest delay of the main thread since it was last looked at.',
    collect() {
      const delays = (service.care?.workers() ?? []).map((one) => one.eventLoopDelayMs ?? 0);
      this.set(Math.max(0, ...delays) / 1_000);
    },
  });
  new Gauge({
    ...{ name: 'holdfast_operations_open', registers },
    help: 'Writes between their request and their answer.',
    collect() {
      this.set(service.care?.operations().count ?? 0);
    },
  });
}
