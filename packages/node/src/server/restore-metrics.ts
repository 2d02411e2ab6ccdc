/** Metrics of the restore that made the data directory: it ran before the node did. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { RestoredRecord } from '../backup/restore/restored-record.ts';

export function registerRestoreMetrics(registry: Registry, restored: RestoredRecord | null): void {
  const registers = [registry];
  const count = (name: string, help: string, value: number): void => {
    const counter = new Counter({ name: `holdfast_${name}`, help, registers });
    counter.inc(value);
  };
  const isPointInTime = restored !== null && restored.targetKind !== 'latest';
  count('restore_success_total', 'Restores into this directory.', restored === null ? 0 : 1);
  count('restore_failure_total', 'Attempts that failed before it.', restored?.failedCount ?? 0);
  count('pitr_success_total', 'Restores to an index or a time.', isPointInTime ? 1 : 0);
  const duration = new Gauge({
    name: 'holdfast_restore_duration_seconds',
    help: 'How long the restore into this directory took; 0: it was not restored.',
    registers,
  });
  duration.set((restored?.durationMs ?? 0) / 1_000);
}
