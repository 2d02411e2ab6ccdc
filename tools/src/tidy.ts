/**
 * Style as a test: prints `file:line: rule: message` for everything that breaks a house rule that a
 * machine can check, and exits 1. The rules are in `tidy/`, the reasons in docs/STYLE.md.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { checkTree } from './tidy/check.ts';
import type { Ratchet } from './tidy/size-rules.ts';
import { readTree } from './tidy/tree-files.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const ratchet = JSON.parse(readFileSync(`${root}tools/tidy-ratchet.json`, 'utf8')) as {
  readonly functionLines: Ratchet;
};
const tree = readTree(root);
const problems = checkTree(tree, ratchet.functionLines);
for (const { path, line, rule, message } of problems)
  process.stdout.write(`${path}:${line}: ${rule}: ${message}\n`);
process.stdout.write(`tidy: ${tree.size} files, ${problems.length} problems\n`);
process.exit(problems.length === 0 ? 0 : 1);
