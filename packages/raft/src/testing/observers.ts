/** Lets several observers see one replica, in order. */
import type { ReplicaObserver } from './sim-replica.ts';

export const observedBy = (observers: readonly ReplicaObserver[]): ReplicaObserver => ({
  appendWritten(replica, append) {
    for (const observer of observers) observer.appendWritten?.(replica, append);
  },
  messageLeaving(replica, message) {
    for (const observer of observers) observer.messageLeaving?.(replica, message);
  },
  entriesApplied(replica, entries) {
    for (const observer of observers) observer.entriesApplied?.(replica, entries);
  },
  snapshotInstalled(replica, meta) {
    for (const observer of observers) observer.snapshotInstalled?.(replica, meta);
  },
  readAnswered(replica, read) {
    for (const observer of observers) observer.readAnswered?.(replica, read);
  },
  eventSeen(replica, event) {
    for (const observer of observers) observer.eventSeen?.(replica, event);
  },
});
