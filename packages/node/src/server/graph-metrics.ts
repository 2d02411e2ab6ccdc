/** Metrics of the graphs of this node, from the statistics of its lanes. Names of S2-13. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { NodeService, NodeStatus } from '../service-api.ts';

type Graphs = NodeStatus['lanes'][number]['graphs'];
type GraphNumber = readonly [name: string, help: string, read: (graphs: Graphs) => number];

const GAUGES: readonly GraphNumber[] = [
  ['graph_nodes', 'Vectors in graphs, dead ones included.', (g) => g.nodeCount],
  ['graph_dead_nodes', 'Dead vectors in graphs.', (g) => g.deadNodeCount],
  ['graph_rebuilding', 'Graphs that are being replaced.', (g) => g.rebuildingCount],
];

const COUNTERS: readonly GraphNumber[] = [
  ['hnsw_corruption_detected_total', 'Saved graphs found damaged.', (g) => g.quarantinedCount],
  ['graph_saved_total', 'Graphs saved.', (g) => g.savedCount],
  ['graph_save_failed_total', 'Graphs that could not be saved.', (g) => g.saveFailedCount],
];

/** What came of each saved graph that a start looked at. */
const RESULTS: readonly (readonly [result: string, read: (graphs: Graphs) => number])[] = [
  ['loaded', (g) => g.loadedCount],
  ['outdated', (g) => g.outdatedCount],
  ['quarantined', (g) => g.quarantinedCount],
  ['rebuilding', (g) => g.rebuildingAfterLoadCount],
];

export function registerGraphMetrics(registry: Registry, service: NodeService): void {
  const registers = [registry];
  const sum = (read: (graphs: Graphs) => number): number =>
    service.status().lanes.reduce((total, { graphs }) => total + read(graphs), 0);
  for (const [name, help, read] of GAUGES)
    new Gauge({
      name: `holdfast_${name}`,
      help,
      registers,
      collect() {
        this.set(sum(read));
      },
    });
  for (const [name, help, read] of COUNTERS)
    new Counter({
      name: `holdfast_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(sum(read));
      },
    });
  new Counter({
    name: 'holdfast_hnsw_recovery_attempts_total',
    help: 'Saved graphs that starts looked at, by what came of it.',
    labelNames: ['result'],
    registers,
    collect() {
      this.reset();
      for (const [result, read] of RESULTS) this.inc({ result }, sum(read));
    },
  });
  new Counter({
    name: 'holdfast_graph_rebuilt_total',
    help: 'Graphs replaced while they answered, by cause.',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset();
      this.inc(
        { reason: 'deadRows' },
        sum((g) => g.rebuiltForDeadRowsCount),
      );
      this.inc(
        { reason: 'recall' },
        sum((g) => g.rebuiltForRecallCount),
      );
    },
  });
  registerExtremes(registry, service);
}

/** Gauges that are not there until there is something to show. */
function registerExtremes(registry: Registry, service: NodeService): void {
  const known = (read: (graphs: Graphs) => number | null): number[] =>
    service.status().lanes.flatMap(({ graphs }) => read(graphs) ?? []);
  new Gauge({
    name: 'holdfast_hnsw_snapshot_age_seconds',
    help: 'Age of the newest saved graph, of the shard where it is oldest.',
    labelNames: ['generation'],
    registers: [registry],
    collect() {
      this.reset();
      const ages = known((g) => g.savedAgeMs);
      if (ages.length > 0) this.set({ generation: 'newest' }, Math.max(...ages) / 1_000);
    },
  });
  new Gauge({
    name: 'holdfast_graph_recall_lowest',
    help: 'Lowest recall@10 among the graphs that were probed.',
    labelNames: ['k'],
    registers: [registry],
    collect() {
      this.reset();
      const recalls = known((g) => g.recallLowest);
      if (recalls.length > 0) this.set({ k: '10' }, Math.min(...recalls));
    },
  });
}
