/**
 * Whether a simulated run could have shown anything. A plan strikes several times a second, so no
 * single fault has hundreds of operations to itself: they are asked for while any fault was in
 * force. Everything else as on real clusters. Pure.
 */
import { COVERAGE_LIMITS, coverageOf, judgeCoverage } from '../checker/coverage.ts';
import { unknown, type Verdict } from '../checker/verdict.ts';
import { finishedOperations, type HistoryEvent } from '../history.ts';

export function judgeWorkloadCoverage(events: readonly HistoryEvent[]): Verdict {
  const { faults, healthy } = coverageOf(events);
  const all = finishedOperations(events).filter(({ processId }) => processId >= 0);
  const inForceCount = all.length - healthy.operationCount;
  const { operationCountMin } = COVERAGE_LIMITS;
  if (faults.length > 0 && inForceCount < operationCountMin) {
    return unknown(
      `only ${inForceCount} operations began while a fault was in force, ` +
        `${operationCountMin} are needed`,
    );
  }
  return judgeCoverage(events, { ...COVERAGE_LIMITS, operationCountMin: 0, inForceCountMin: 0 });
}
