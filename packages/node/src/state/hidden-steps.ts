/** What entries about names and hidden collections do to the catalogue. */
import type { LogIndex, Term } from '@holdfast/base';
import { unreachable } from '@holdfast/base';
import type { ApplyValue, ResultSlot } from './apply-result.ts';
import type { Catalogue, ChangeOutcome } from './catalogue.ts';
import type { Command } from './command.ts';
import type { MetaStep } from './meta-step.ts';
import { done, refused, succeeded } from './meta-step.ts';

export type HiddenCommand = Extract<
  Command,
  {
    kind:
      | 'hideCollection'
      | 'undeleteCollection'
      | 'purgeCollection'
      | 'renameCollection'
      | 'createHiddenCollection'
      | 'finishCollection'
      | 'publishCollections';
  }
>;

/** The entry, and the log time after it. */
interface At {
  readonly index: LogIndex;
  readonly term: Term;
  readonly logTimeMs: number;
}

export function executeHidden(
  catalogue: Catalogue,
  at: At,
  command: HiddenCommand,
  slot: ResultSlot,
): MetaStep {
  switch (command.kind) {
    case 'hideCollection':
      return hide(catalogue, at, command, slot);
    case 'undeleteCollection':
      return named(catalogue.undelete(command.uid, command.name), at, slot);
    case 'renameCollection':
      return named(catalogue.rename(command.name, command.newName), at, slot);
    case 'purgeCollection': {
      const { cutoffMs, uid } = command;
      const isPurged = catalogue.purge(uid, cutoffMs);
      const step = done(slot, succeeded(at, { kind: 'collectionPurged', isPurged }));
      return isPurged ? { kind: 'dropShards', slot, uid } : step;
    }
    case 'createHiddenCollection': {
      const { retentionMs, spec } = command;
      const hiding = {
        ...({ state: 'restoring', sinceMs: at.logTimeMs } as const),
        purgeAtMs: at.logTimeMs + retentionMs,
      };
      const outcome = catalogue.createHidden(at.index, spec, hiding);
      if (outcome.kind === 'refuse') return done(slot, refused(at, outcome.code));
      const { definition } = outcome;
      done(slot, succeeded(at, { kind: 'collectionCreated', definition }));
      return { kind: 'createShards', slot, definition };
    }
    case 'finishCollection': {
      const outcome = catalogue.finish(command.uid);
      if (outcome.kind === 'refuse') return done(slot, refused(at, outcome.code));
      const { definition } = outcome;
      return done(slot, succeeded(at, { kind: 'collectionUpdated', definition }));
    }
    case 'publishCollections': {
      const outcome = catalogue.publish(command.uids);
      if (outcome.kind === 'refuse') return done(slot, refused(at, outcome.code));
      const { definitions } = outcome;
      return done(slot, succeeded(at, { kind: 'collectionsPublished', definitions }));
    }
    default:
      return unreachable(command);
  }
}

/** The lanes go on as they are: they know collections by uid, and nobody asks for this one. */
function hide(
  catalogue: Catalogue,
  at: At,
  { name, retentionMs }: Extract<HiddenCommand, { kind: 'hideCollection' }>,
  slot: ResultSlot,
): MetaStep {
  const purgeAtMs = at.logTimeMs + retentionMs;
  const hiding = { state: 'dropped', sinceMs: at.logTimeMs, purgeAtMs } as const;
  const definition = catalogue.hide(name, hiding);
  const value: ApplyValue =
    definition === null
      ? { kind: 'collectionDropped', isDropped: false }
      : {
          ...{ kind: 'collectionDropped', isDropped: true },
          hidden: { uid: definition.uid, purgeAtMs },
        };
  return done(slot, succeeded(at, value));
}

/** The lanes learn the new name: their messages tell it. */
function named(outcome: ChangeOutcome, at: At, slot: ResultSlot): MetaStep {
  if (outcome.kind === 'refuse') return done(slot, refused(at, outcome.code));
  const { definition } = outcome;
  done(slot, succeeded(at, { kind: 'collectionUpdated', definition }));
  return { kind: 'redefineShards', slot, definition };
}
