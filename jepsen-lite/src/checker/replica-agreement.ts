/**
 * Replicas are equal at equal applied index. Observations of different indexes say nothing about
 * each other, so a verdict needs one index that at least two nodes reported.
 */
import type { NodeDigest } from '../cluster/cluster.ts';
import { invalid, unknown, type Verdict, valid } from './verdict.ts';

export function judgeAgreement(observations: readonly NodeDigest[]): Verdict {
  const byIndex = new Map<number, NodeDigest[]>();
  for (const observation of observations) {
    const group = byIndex.get(observation.appliedIndex) ?? [];
    group.push(observation);
    byIndex.set(observation.appliedIndex, group);
  }
  let comparedIndexCount = 0;
  let nodeCountMax = 0;
  const differing: NodeDigest[][] = [];
  for (const group of byIndex.values()) {
    const nodeCount = new Set(group.map((one) => one.nodeName)).size;
    const digestCount = new Set(group.map((one) => one.digest)).size;
    // One node with two digests at one index contradicts itself: as bad as two nodes that differ.
    if (digestCount > 1) differing.push(group);
    if (nodeCount < 2) continue;
    comparedIndexCount += 1;
    nodeCountMax = Math.max(nodeCountMax, nodeCount);
  }
  if (differing.length > 0) {
    const examples = differing.map((digests) => ({ digests }));
    return invalid('digests differ at an equal applied index', examples);
  }
  if (comparedIndexCount === 0) return unknown('no two nodes reported the same applied index');
  return valid({ comparedIndexCount, nodeCountMax });
}
