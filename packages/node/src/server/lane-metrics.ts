/** Metrics of the threads that hold the rows, read from the node's status per scrape. */
import type { LaneHealth } from '@holdfast/shard-worker';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { NodeService } from '../service-api.ts';

/** The second name is the one of older dashboards. */
const PREFIXES = ['task', 'training'] as const;
const LOSS_CAUSES = ['hung', 'leaking', 'died'] as const;

export function registerLaneMetrics(registry: Registry, service: NodeService): void {
  const lanes = (): readonly LaneHealth[] => service.status().activity.lanes;
  const taskOf = ({ lane }: LaneHealth): string => `lane-${lane}`;
  const labelNames = ['task'] as const;
  const registers = [registry];
  for (const prefix of PREFIXES) {
    new Counter({
      ...{ name: `holdfast_${prefix}_restarts_total`, labelNames, registers },
      help: 'Times a supervised task was started again.',
      collect() {
        this.reset();
        for (const lane of lanes()) this.inc({ task: taskOf(lane) }, lane.restarts);
      },
    });
    new Counter({
      ...{ name: `holdfast_${prefix}_restarts_exceeded_total`, registers },
      help: 'Supervised tasks that were given up; above 0 is an alarm.',
      collect() {
        this.reset();
        this.inc(lanes().filter(({ state }) => state === 'givenUp').length);
      },
    });
    new Gauge({
      ...{ name: `holdfast_${prefix}_uptime_seconds`, labelNames, registers },
      help: 'How long a supervised task has been up; 0 while it is down.',
      collect() {
        this.reset();
        const nowMs = performance.now();
        for (const lane of lanes()) {
          const upMs = lane.upSinceMs === null ? 0 : nowMs - lane.upSinceMs;
          this.set({ task: taskOf(lane) }, upMs / 1_000);
        }
      },
    });
    new Gauge({
      ...{ name: `holdfast_${prefix}_last_success_timestamp`, labelNames, registers },
      help: 'Unix time at which a supervised task was last seen up.',
      collect() {
        this.reset();
        for (const lane of lanes())
          if (lane.state === 'up') this.set({ task: taskOf(lane) }, Date.now() / 1_000);
      },
    });
  }
  new Counter({
    ...{ name: 'holdfast_lane_losses_total', labelNames: ['lane', 'cause'], registers },
    help: 'Threads of lanes lost, by cause.',
    collect() {
      this.reset();
      for (const { lane, lost } of lanes())
        for (const cause of LOSS_CAUSES) this.inc({ lane: String(lane), cause }, lost[cause]);
    },
  });
}
