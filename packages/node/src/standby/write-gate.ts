/**
 * Which requests of clients this cluster takes. Apply refuses them too, wherever they come from;
 * here they are refused on every node before they cost anything, with the reason in words.
 */
import type { ClusterId } from '@holdfast/base';
import { HoldfastError, unreachable } from '@holdfast/base';
import type { SiteEpoch } from '@holdfast/storage';
import type { Fence, Site } from '../state/site.ts';
import { isOfAnother } from '../state/site.ts';
import { fenceUnknown } from './fence-watch.ts';

export interface WriteGateParts {
  readonly clusterId: ClusterId;
  readonly site: () => Site;
  /** Null where no store is set. */
  readonly watch: { readonly isFresh: boolean; readonly newer: SiteEpoch | null } | null;
}

export class WriteGate {
  readonly #parts: WriteGateParts;

  constructor(parts: WriteGateParts) {
    this.#parts = parts;
  }

  /** @throws HoldfastError READ_ONLY, FENCED: nothing was proposed */
  check(): void {
    const { clusterId, site: siteOf, watch } = this.#parts;
    const site = siteOf();
    if (isOfAnother(site, clusterId)) throw stillRestored();
    switch (site.kind) {
      case 'primary':
        if (watch !== null && watch.newer !== null) {
          throw fenced({ ...watch.newer, clusterId });
        }
        return;
      case 'standby':
        throw readOnly(site);
      case 'fenced':
        throw fenced(site.fence);
      default:
        unreachable(site);
    }
  }

  /** On the leader, before it proposes. @throws HoldfastError FENCE_UNKNOWN */
  checkLeader(): void {
    if (this.#parts.watch?.isFresh === false) throw fenceUnknown(true);
  }

  /** Before a write that was applied is answered. @throws HoldfastError FENCE_UNKNOWN */
  checkAnswer(): void {
    if (this.#parts.watch?.isFresh === false) throw fenceUnknown(false);
  }
}

const readOnly = ({ source, takeover }: Extract<Site, { kind: 'standby' }>): HoldfastError =>
  new HoldfastError(
    'READ_ONLY',
    `this cluster is a standby of cluster ${source.clusterId} and takes no writes: ` +
      (takeover === null
        ? 'write to the primary, or promote the standby'
        : 'its promotion is under way, write to it when that is done'),
    { details: { role: 'standby', primaryClusterId: source.clusterId } },
  );

const fenced = ({ byClusterId, clusterId, epoch, index }: Omit<Fence, 'byTimeline'>) =>
  new HoldfastError(
    'FENCED',
    `cluster ${byClusterId} has taken over from cluster ${clusterId} (epoch ${epoch}) behind ` +
      `index ${index}: write to that one; holdfast standby diff lists what it does not have`,
    { details: { role: 'fenced', byClusterId, epoch, index } },
  );

/** Its leader is about to remove what was said of the cluster that this one was restored from. */
const stillRestored = (): HoldfastError =>
  new HoldfastError('NO_LEADER', 'this cluster was just restored and is not ready yet; retry');
