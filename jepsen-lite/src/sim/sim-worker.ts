/** A worker process: takes a plan, runs it, answers with the result, until it is disconnected. */
import type { SimPlan } from './plan.ts';
import { runPlan } from './run-plan.ts';

process.on('message', (plan) => {
  runPlan(plan as SimPlan).then((result) => process.send?.(result));
});
