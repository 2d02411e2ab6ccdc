/** Metrics of the numbers of the log and of the newest look at its chain, read per scrape. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { LogStats } from '../log-check/log-check-api.ts';
import type { NodeService } from '../service-api.ts';

interface Metric {
  readonly name: string;
  readonly help: string;
  /** Null: not known, so nothing is said. */
  readonly read: (stats: LogStats) => number | null;
}

const GAUGES: readonly Metric[] = [
  {
    ...{ name: 'log_files', help: 'Log files on disk, the one that is written to included.' },
    read: ({ fileCount }) => fileCount,
  },
  {
    ...{ name: 'log_active_file_entries', help: 'Entries in the log file that is written to.' },
    read: ({ activeFileEntryCount }) => activeFileEntryCount,
  },
  {
    name: 'log_check_failed',
    help: '1 when the newest look at the chain of the log found damage or could not be done.',
    read: ({ newestCheck }) => (newestCheck === null ? null : newestCheck.isValid ? 0 : 1),
  },
  {
    ...{ name: 'log_check_bad_entries', help: 'What the newest look at the chain found.' },
    read: ({ newestCheck }) => newestCheck?.badEntryCount ?? null,
  },
  {
    ...{ name: 'log_check_verified_entries', help: 'Good entries of the newest look.' },
    read: ({ newestCheck }) => newestCheck?.verifiedEntryCount ?? null,
  },
  {
    ...{ name: 'log_check_last_timestamp', help: 'End of the newest look, in seconds.' },
    read: ({ newestCheck }) => (newestCheck === null ? null : newestCheck.endedAtMs / 1_000),
  },
];

export function registerLogCheckMetrics(registry: Registry, service: NodeService): void {
  const registers = [registry];
  for (const { help, name, read } of GAUGES) {
    new Gauge({
      ...{ name: `holdfast_${name}`, help, registers },
      collect() {
        this.reset();
        const stats = service.logCheck?.stats();
        const value = stats === undefined ? null : read(stats);
        if (value === null) this.remove();
        else this.set(value);
      },
    });
  }
  new Counter({
    name: 'holdfast_log_check_failures_total',
    help: 'Looks at the chain of the log that found damage or could not be done.',
    registers,
    collect() {
      this.reset();
      this.inc(service.logCheck?.stats().failedCheckCount ?? 0);
    },
  });
}
