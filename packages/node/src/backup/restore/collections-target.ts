/** Which past state of collections is meant, as people write it down: a command and a route. */
import { logIndex } from '@holdfast/base';
import { isBackupId } from '@holdfast/storage';
import { timeMsOf } from '../time-text.ts';
import type { CollectionsTarget } from './collections-from-store.ts';

/** For messages. */
export const COLLECTIONS_TARGET_TEXT =
  'latest, an index, a time such as 2026-01-31T08:00:00Z or the id of a backup';

/** Null: it is none of them. */
export function parseCollectionsTarget(text: string): CollectionsTarget | null {
  if (text === 'latest') return { kind: 'latest' };
  // Ids of backups are longer than any index.
  if (/^\d{1,16}$/.test(text)) {
    const index = Number(text);
    return index >= 1 && Number.isSafeInteger(index)
      ? { kind: 'index', index: logIndex(index) }
      : null;
  }
  if (isBackupId(text)) return { kind: 'backup', backupId: text };
  const timestampMs = timeMsOf(text);
  return timestampMs === null ? null : { kind: 'time', timestampMs };
}
