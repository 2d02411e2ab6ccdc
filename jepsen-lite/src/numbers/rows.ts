/** All rows, in the order of the table. */
import { corruptFramesRow } from './corrupt-frames-row.ts';
import { damageRow } from './damage-row.ts';
import { followerRow } from './follower-row.ts';
import { hostileRow } from './hostile-row.ts';
import { leaderKilledRow, leaderSilentRow } from './leader-rows.ts';
import { allKilledRow, powerCutRow } from './restart-rows.ts';
import type { NumberRow } from './row.ts';
import { slowDiskRow } from './slow-disk-row.ts';
import { tortureRow } from './torture-row.ts';
import { wipedDiskRow } from './wiped-disk-row.ts';

export const NUMBER_ROWS: readonly NumberRow[] = [
  ...[leaderKilledRow, leaderSilentRow, followerRow, allKilledRow, powerCutRow],
  ...[damageRow, tortureRow, wipedDiskRow, slowDiskRow, corruptFramesRow, hostileRow],
];
