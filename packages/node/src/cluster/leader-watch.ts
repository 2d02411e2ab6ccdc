/**
 * Follows leadership from outside by asking /health, which needs no key. Pure: `observe` takes what
 * the nodes said and answers what is new.
 */

export interface HealthView {
  readonly nodeId: string;
  readonly role: string;
  readonly term: number;
}

export interface Leadership {
  readonly nodeId: string;
  readonly term: number;
}

export class LeaderWatch {
  #current: Leadership | null = null;

  /** The leader known now; null when no live node says it leads. */
  get current(): Leadership | null {
    return this.#current;
  }

  /**
   * Answers the new leadership, `lost` when the leader is gone, or null when nothing changed.
   * Two nodes may both say they lead while one has not heard of the other: the higher term is
   * right.
   */
  observe(views: readonly HealthView[]): Leadership | 'lost' | null {
    let best: Leadership | null = null;
    for (const { nodeId, role, term } of views) {
      if (role === 'leader' && (best === null || term > best.term)) best = { nodeId, term };
    }
    const before = this.#current;
    if (best?.nodeId === before?.nodeId && best?.term === before?.term) return null;
    this.#current = best;
    return best ?? 'lost';
  }
}

/** Null when the node does not answer in time. */
export async function fetchHealth(address: string, timeoutMs: number): Promise<HealthView | null> {
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`http://${address}/health`, { signal });
    const body = (await response.json()) as Partial<HealthView>;
    const { nodeId, role, term } = body;
    if (nodeId === undefined || role === undefined || term === undefined) return null;
    return { nodeId, role, term };
  } catch {
    // Refused, reset, timed out or not JSON: for whoever watches, the node is not there.
    return null;
  }
}
