/** Metrics of how the disk takes log and checkpoints, read from the node's status per scrape. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { NodeService, WalStatus } from '../service-api.ts';

const STATES = ['closed', 'open', 'half-open'] as const;
const TYPES = ['disk_full', 'io_error', 'permission'] as const;

const errorCount = ({ writes }: WalStatus): number =>
  TYPES.reduce((sum, type) => sum + writes.errors[type], 0);

export function registerLogMetrics(registry: Registry, service: NodeService): void {
  registerCheckpointMetrics(registry, service);
  const log = (): WalStatus => service.status().wal;
  const registers = [registry];
  new Counter({
    ...{ name: 'holdfast_wal_writes_total', labelNames: ['status'], registers },
    help: 'Writes of log batches, by how they ended.',
    collect() {
      this.reset();
      this.inc({ status: 'success' }, log().batches);
      this.inc({ status: 'failure' }, errorCount(log()));
    },
  });
  new Counter({
    ...{ name: 'holdfast_wal_errors_total', labelNames: ['type'], registers },
    help: 'Writes of the log that the disk refused before anything was synced.',
    collect() {
      this.reset();
      for (const type of TYPES) this.inc({ type }, log().writes.errors[type]);
    },
  });
  new Counter({
    ...{ name: 'holdfast_wal_retry_attempts_total', registers },
    help: 'Times a refused write of the log was tried again.',
    collect() {
      this.reset();
      this.inc(log().writes.retries);
    },
  });
  new Gauge({
    ...{ name: 'holdfast_wal_circuit_breaker_state', labelNames: ['state'], registers },
    help: '1 for the state of the breaker of the log; open: writes are refused.',
    collect() {
      for (const state of STATES) this.set({ state }, log().writes.state === state ? 1 : 0);
    },
  });
}

function registerCheckpointMetrics(registry: Registry, service: NodeService): void {
  const writes = () => service.status().activity.checkpoint.writes;
  const registers = [registry];
  new Counter({
    ...{ name: 'holdfast_checkpoint_errors_total', labelNames: ['type'], registers },
    help: 'Checkpoints that failed because the disk refused something.',
    collect() {
      this.reset();
      for (const type of TYPES) this.inc({ type }, writes().errors[type]);
    },
  });
  new Gauge({
    ...{ name: 'holdfast_checkpoint_circuit_breaker_state', labelNames: ['state'], registers },
    help: '1 for the state of the breaker of checkpoints; open: none is tried for a while.',
    collect() {
      for (const state of STATES) this.set({ state }, writes().state === state ? 1 : 0);
    },
  });
}
