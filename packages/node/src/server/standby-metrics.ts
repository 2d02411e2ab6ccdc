/**
 * Metrics of a cluster's place among others, read per scrape. The lag is known to the leader of a
 * standby, and said by it alone.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { NodeService } from '../service-api.ts';
import type { SiteStatus } from '../standby/site-api.ts';

interface Metric {
  readonly kind: 'gauge' | 'counter';
  readonly name: string;
  readonly help: string;
  /** Null: not known, so nothing is said. */
  readonly read: (status: SiteStatus) => number | null;
}

const seconds = (durationMs: number | null): number | null =>
  durationMs === null ? null : durationMs / 1_000;
const bit = (is: boolean): number => (is ? 1 : 0);

const METRICS: readonly Metric[] = [
  {
    ...{ kind: 'gauge', name: 'standby', help: '1 while this cluster follows another one.' },
    read: ({ site }) => bit(site.kind === 'standby'),
  },
  {
    ...{ kind: 'gauge', name: 'fenced', help: '1 when another cluster has taken over.' },
    read: ({ site }) => bit(site.kind === 'fenced'),
  },
  {
    ...{ kind: 'gauge', name: 'standby_position' },
    help: 'Index of the primary up to which a standby has its log.',
    read: ({ site }) => (site.kind === 'standby' ? site.source.index : null),
  },
  {
    ...{ kind: 'gauge', name: 'standby_lag_seconds' },
    help: 'A standby has all that was in the archive so long ago.',
    read: ({ follower }) => seconds(follower.lagMs),
  },
  {
    ...{ kind: 'gauge', name: 'standby_lag_entries' },
    help: 'Entries known to be in the archive and not in the standby.',
    read: ({ follower }) => follower.lagEntryCount,
  },
  {
    ...{ kind: 'gauge', name: 'standby_lag_exceeded' },
    help: '1 while the lag is above standbyLagMaxMs.',
    read: ({ follower, site }) =>
      site.kind === 'standby' && follower.lagMs !== null ? bit(follower.isLagExceeded) : null,
  },
  {
    ...{ kind: 'gauge', name: 'standby_stopped' },
    help: '1 when a standby cannot follow: a gap, damage, or another cluster took over.',
    read: ({ follower, site }) =>
      site.kind === 'standby' ? bit(follower.state === 'alarmed') : null,
  },
  {
    ...{ kind: 'counter', name: 'standby_failures_total' },
    help: 'Attempts to follow that failed.',
    read: ({ follower }) => follower.failureCount,
  },
  {
    ...{ kind: 'gauge', name: 'fence_look_age_seconds' },
    help: 'Since the leader of a primary last saw that nobody took over.',
    read: ({ fenceWatch, isLeading, site }) =>
      isLeading && site.kind === 'primary' ? seconds(fenceWatch.lookAgeMs) : null,
  },
  {
    ...{ kind: 'gauge', name: 'fence_unknown' },
    help: '1 while writes are refused because the store cannot be read (primaryRequiresSink).',
    read: ({ fenceWatch, isLeading }) => (isLeading ? bit(!fenceWatch.isFresh) : null),
  },
];

export function registerStandbyMetrics(registry: Registry, service: NodeService): void {
  for (const { help, kind, name, read } of METRICS) {
    const about = { name: `holdfast_${name}`, help, registers: [registry] };
    const value = (): number | null => {
      const status = service.standby?.status();
      return status === undefined ? null : read(status);
    };
    if (kind === 'gauge') {
      new Gauge({
        ...about,
        collect() {
          this.reset();
          const known = value();
          // A gauge without labels is 0 after a reset; removed, it says nothing.
          if (known === null) this.remove();
          else this.set(known);
        },
      });
    } else {
      new Counter({
        ...about,
        collect() {
          this.reset();
          this.inc(value() ?? 0);
        },
      });
    }
  }
}
