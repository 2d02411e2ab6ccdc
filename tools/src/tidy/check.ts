/** All rules over one tree, in the order of path and line. Pure. */
import { exportRule, graphRule, specifierRule } from './import-rules.ts';
import { purityProblems } from './purity-rules.ts';
import type { FileRule, Problem, Tree } from './rules.ts';
import type { Ratchet } from './size-rules.ts';
import { fileRule, functionRule, lineRule } from './size-rules.ts';
import { readSource } from './source-text.ts';
import {
  headerRule,
  leftoverRule,
  nameRule,
  testRule,
  typeEscapeRule,
  wordRule,
} from './text-rules.ts';
import { TREE_RULES } from './tree-rules.ts';

const CODE_RULES: readonly FileRule[] = [
  lineRule,
  fileRule,
  graphRule,
  specifierRule,
  exportRule,
  leftoverRule,
  typeEscapeRule,
  testRule,
  nameRule,
  headerRule,
];

export function checkTree(tree: Tree, ratchet: Ratchet): readonly Problem[] {
  const problems: Problem[] = [];
  const texts = [...tree].map(([path, text]) => readSource(path, text));
  const sources = texts.filter((source) => /\.(ts|mjs|cjs)$/.test(source.path));
  for (const source of sources) for (const rule of CODE_RULES) problems.push(...rule(source));
  for (const source of texts) if (!isRuleTest(source.path)) problems.push(...wordRule(source));
  problems.push(...purityProblems(sources), ...functionRule(sources, ratchet));
  for (const rule of TREE_RULES) problems.push(...rule(tree));
  return problems.sort((a, b) => (a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1));
}

/** The test of the rules must quote what the rules refuse. */
const isRuleTest = (path: string): boolean =>
  path === 'tools/test/tidy.test.ts' || path.startsWith('tools/src/tidy/');
