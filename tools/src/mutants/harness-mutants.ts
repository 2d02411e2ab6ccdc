/** Every bug that jepsen-lite must catch, in the order of the report: quick ones first. */
import { ANSWER_MUTANTS } from './harness-answer-mutants.ts';
import type { HarnessMutant } from './harness-killers.ts';
import { LOSS_MUTANTS } from './harness-loss-mutants.ts';
import { SIMULATOR_MUTANTS } from './harness-sim-mutants.ts';

export const HARNESS_MUTANTS: readonly HarnessMutant[] = [
  ...ANSWER_MUTANTS,
  ...LOSS_MUTANTS,
  ...SIMULATOR_MUTANTS,
];
