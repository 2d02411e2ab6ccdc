/** Metrics of the layers of searches, read from the node's status per scrape. */
import type { CircuitState } from '@holdfast/base';
import { SEARCH_LAYERS } from '@holdfast/shard-worker';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { NodeService } from '../service-api.ts';

const STATES: readonly CircuitState[] = ['closed', 'half-open', 'open'];
/** Of several lanes the worst counts. */
const worst = (states: readonly CircuitState[]): CircuitState =>
  STATES.findLast((state) => states.includes(state)) ?? 'closed';

export function registerSearchMetrics(registry: Registry, service: NodeService): void {
  const registers = [registry];
  const lanes = () => service.status().lanes.flatMap(({ layers }) => layers ?? []);
  const cache = () => service.status().searchCache;
  new Counter({
    ...{ name: 'holdfast_query_timeouts_total', labelNames: ['layer'], registers },
    help: 'Searches of a layer that took longer than it may.',
    collect() {
      this.reset();
      this.inc({ layer: 'cache' }, cache()?.timeouts ?? 0);
      for (const layer of SEARCH_LAYERS)
        this.inc(
          { layer },
          lanes().reduce((sum, { timeouts }) => sum + timeouts[layer], 0),
        );
    },
  });
  new Counter({
    ...{ name: 'holdfast_query_degradation_total', labelNames: ['fallback_to'], registers },
    help: 'Searches of a shard without a layer: exact, it was scanned; partial, its tail was left out.',
    collect() {
      this.reset();
      for (const fallback of ['exact', 'partial'] as const)
        this.inc(
          { fallback_to: fallback },
          lanes().reduce((sum, { fallbacks }) => sum + fallbacks[fallback], 0),
        );
    },
  });
  new Gauge({
    ...{
      name: 'holdfast_query_layer_circuit_breaker_state',
      labelNames: ['layer', 'state'],
      registers,
    },
    help: '1 for the state of the breaker of a layer, the worst of all lanes.',
    collect() {
      const set = (layer: string, now: CircuitState): void => {
        for (const state of STATES) this.set({ layer, state }, state === now ? 1 : 0);
      };
      set('cache', cache()?.state ?? 'closed');
      for (const layer of SEARCH_LAYERS) set(layer, worst(lanes().map((one) => one.states[layer])));
    },
  });
  new Counter({
    ...{ name: 'holdfast_search_cache_lookups_total', labelNames: ['result'], registers },
    help: 'Searches that asked the cache of answers.',
    collect() {
      this.reset();
      this.inc({ result: 'hit' }, cache()?.hits ?? 0);
      this.inc({ result: 'miss' }, cache()?.misses ?? 0);
    },
  });
}
