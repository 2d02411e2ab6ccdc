/**
 * What applying one command gave: recorded in the session table, so equal on every replica and
 * free of prose. Messages are made when an answer is sent.
 */
import type { ErrorCode, LogIndex, SessionId, Term } from '@holdfast/base';
import type { CollectionDefinition, Conflict } from '@holdfast/shard-worker';

export type ApplyValue =
  | { readonly kind: 'sessionOpened'; readonly sessionId: SessionId }
  | { readonly kind: 'sessionClosed' }
  | { readonly kind: 'sessionsExpired'; readonly count: number }
  | { readonly kind: 'verified' }
  | { readonly kind: 'sealed' }
  /** Of `site`; and of `follow`, when it was passed over, or had nothing to execute. */
  | { readonly kind: 'siteChanged'; readonly isChanged: boolean }
  | { readonly kind: 'collectionCreated'; readonly definition: CollectionDefinition }
  | { readonly kind: 'collectionUpdated'; readonly definition: CollectionDefinition }
  | {
      readonly kind: 'collectionDropped';
      readonly isDropped: boolean;
      /** Where it can be brought back. Absent: nothing was dropped, or it is gone at once. */
      readonly hidden?: { readonly uid: number; readonly purgeAtMs: number };
    }
  | { readonly kind: 'collectionPurged'; readonly isPurged: boolean }
  | {
      readonly kind: 'collectionsPublished';
      readonly definitions: readonly CollectionDefinition[];
    }
  | { readonly kind: 'payloadIndexCreated'; readonly isCreated: boolean }
  | { readonly kind: 'payloadIndexDropped'; readonly isDropped: boolean }
  | {
      readonly kind: 'written';
      readonly deletedCount: number;
      /** Points that a filter found and another write changed before this one; absent: none. */
      readonly skippedCount?: number;
    };

export type ApplyResult =
  | { readonly ok: true; readonly index: LogIndex; readonly term: Term; readonly value: ApplyValue }
  | {
      readonly ok: false;
      readonly index: LogIndex;
      readonly term: Term;
      readonly code: ErrorCode;
      readonly conflicts: readonly Conflict[];
    };

/** Filled when the lanes have answered. A repeat of the request shares the slot of the first. */
export interface ResultSlot {
  result: ApplyResult | null;
}
