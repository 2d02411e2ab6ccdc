/** What following, promotion and fencing need of a replica: a seam, so that they test alone. */
import type { LogIndex } from '@holdfast/base';
import type { ApplyResult } from '../state/apply-result.ts';
import type { Command } from '../state/command.ts';
import type { Site } from '../state/site.ts';

export type SiteCommand = Extract<Command, { kind: 'site' | 'follow' }>;

/** Of one command about the site. */
export const PROPOSE_TIMEOUT_MS = 10_000;

export interface SiteReplica {
  /** As this node has applied it. */
  site(): Site;
  /** The own index of the state that `site` is of. */
  appliedIndex(): LogIndex;
  /**
   * Resolves when this node leads and has applied all that was committed before.
   * @throws HoldfastError NOT_LEADER with the leader, NO_LEADER
   */
  whenLeaderReady(timeoutMs: number): Promise<void>;
  /**
   * Resolves when the command was applied here.
   * @throws HoldfastError NOT_LEADER, LEADERSHIP_LOST, REQUEST_TIMEOUT, OVERLOADED, ...
   */
  propose(command: SiteCommand, timeoutMs: number): Promise<ApplyResult>;
}
