/** A worker process: takes a plan, runs it, answers with the result, until it is disconnected. */
import type { SimPlan } from './plan.ts';
import { runPlan } from './run-plan.ts';

// Refusals are made by the thousand; who made one is looked for in a single run, not in a suite.
Error.stackTraceLimit = 3;

process.on('message', (plan) => {
  runPlan(plan as SimPlan).then((result) => process.send?.(result));
});
