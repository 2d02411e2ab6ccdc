/** Every mutant, in the order of the report. */
import { BACKUP_MUTANTS } from './backup-mutants.ts';
import { ELECTION_MUTANTS } from './election-mutants.ts';
import { HEAL_MUTANTS } from './heal-mutants.ts';
import { MEMBERSHIP_MUTANTS } from './membership-mutants.ts';
import type { Mutant } from './mutant.ts';
import { NODE_MUTANTS } from './node-mutants.ts';
import { REPAIR_MUTANTS } from './repair-mutants.ts';
import { REPLICATION_MUTANTS } from './replication-mutants.ts';
import { SEGMENT_MUTANTS } from './segment-mutants.ts';
import { SNAPSHOT_MUTANTS } from './snapshot-mutants.ts';
import { STATE_MUTANTS } from './state-mutants.ts';
import { STORAGE_MUTANTS } from './storage-mutants.ts';

export const MUTANTS: readonly Mutant[] = [
  ...ELECTION_MUTANTS,
  ...REPLICATION_MUTANTS,
  ...SNAPSHOT_MUTANTS,
  ...MEMBERSHIP_MUTANTS,
  ...STORAGE_MUTANTS,
  ...NODE_MUTANTS,
  ...REPAIR_MUTANTS,
  ...STATE_MUTANTS,
  ...SEGMENT_MUTANTS,
  ...HEAL_MUTANTS,
  ...BACKUP_MUTANTS,
];
