/**
 * Which part of its log is a cluster's own to archive and to back up: nothing of it while it is a
 * standby; once it has taken over, what lies behind its promotion; else all of it.
 */
import { HoldfastError, logIndex, term } from '@holdfast/base';
import type { LogBase } from '@holdfast/storage';
import { fromHex } from '@holdfast/storage';
import { parentOf } from '../standby/promotion.ts';
import type { Promotion, Site } from '../state/site.ts';
import { PLAIN_SITE } from '../state/site.ts';
import type { FoundTimeline } from './archive/find-timeline.ts';
import type { NodeBackupOptions } from './node-backup-options.ts';

export class OwnHistory {
  readonly #options: Pick<NodeBackupOptions, 'identity' | 'replica'>;

  constructor(options: Pick<NodeBackupOptions, 'identity' | 'replica'>) {
    this.#options = options;
  }

  get isStandby(): boolean {
    return this.#site.kind === 'standby';
  }

  get isPrimary(): boolean {
    return this.#site.kind === 'primary';
  }

  /** The timeline of a cluster that took over; null: the store knows it. */
  origin(): FoundTimeline | null {
    const promotion = this.#promotion;
    if (promotion === null) return null;
    return { timeline: promotion.timeline, parent: parentOf(promotion.source) };
  }

  /** Where the own history begins; null: where the log does. */
  base(): LogBase | null {
    const promotion = this.#promotion;
    if (promotion === null) return null;
    const { index, sum, term: at } = promotion.own;
    return { index: logIndex(index), term: term(at), sum: fromHex(sum) };
  }

  /** @throws HoldfastError READ_ONLY on a standby */
  check(): void {
    if (!this.isStandby) return;
    const message = 'this cluster is a standby: back up its primary, or promote it first';
    throw new HoldfastError('READ_ONLY', message, { details: { role: 'standby' } });
  }

  get #site(): Site {
    return this.#options.replica.site?.() ?? PLAIN_SITE;
  }

  /** Null for a cluster that took over from nobody, or was restored since. */
  get #promotion(): Promotion | null {
    const site = this.#site;
    if (site.kind === 'standby' || site.promotion === null) return null;
    const { clusterId } = this.#options.identity;
    return site.promotion.clusterId === clusterId ? site.promotion : null;
  }
}
