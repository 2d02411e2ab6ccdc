/**
 * The store for backups and the archive is away, as a mount whose server is gone: a file stands
 * where its folder was, so every operation of every node on it fails. What it held is all there
 * when it comes back.
 */
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Cluster } from '../cluster/cluster.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';

const HARM = 'store-away';
const HEAL = 'store-back';
const HELD_SIZE_BYTES_MAX = 256 * 1024;

export function storeNemesis(name: string): Nemesis {
  return {
    ...{ name, family: 'store', colour: '#7a7f2e' },
    // So little may be held back for the archive that it gets gaps.
    needs: { hasStore: true, settings: { archiveHoldSizeBytesMax: HELD_SIZE_BYTES_MAX } },
    harmfulActions: [HARM],
    healingAction: HEAL,
    perform: async (action, _pick, { storeDirectory }) => strike(action, storeDirectory),
  };
}

function strike(action: string, folder: Cluster['storeDirectory']): FaultOutcome {
  if (folder === null) return skipped('the nodes have no store: the run must archive');
  const aside = `${folder}-away`;
  const isAway = existsSync(aside);
  if (action === HARM) {
    if (isAway) return skipped('it is away already');
    renameSync(folder, aside);
    writeFileSync(folder, '');
    return installed('the store is away');
  }
  if (action !== HEAL) return skipped(`unknown action ${action}`);
  if (!isAway) return installed('it was there');
  rmSync(folder);
  renameSync(aside, folder);
  return installed('the store is back');
}
