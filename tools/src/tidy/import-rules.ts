/**
 * Who may import whom. The order has no arrows back: base <- raft, storage, protocol;
 * shard-worker <- storage; client <- protocol; node <- all of them, and client only where the node
 * package is a user of it (the command line and the embedded mode).
 */
import type { FileRule, Problem } from './rules.ts';
import { folderOf, isTest, problem } from './rules.ts';
import { importsOf } from './source-text.ts';

/** Workspace packages that the sources of a folder may import. */
export const ALLOWED_IMPORTS: Readonly<Record<string, readonly string[]>> = {
  'packages/base': [],
  'packages/raft': ['base'],
  'packages/storage': ['base'],
  'packages/protocol': ['base'],
  'packages/shard-worker': ['base', 'storage'],
  'packages/client': ['base', 'protocol'],
  'packages/node': ['base', 'raft', 'storage', 'protocol', 'shard-worker'],
};

/** The package `node` uses the client library only as a user would. */
const CLIENT_IN_NODE = /^packages\/node\/src\/(cli\/|embedded)/;
/** What stands on top; no package may import it. */
const TOP = new Set(['jepsen-lite', 'bench', 'tools', 'example-demo']);

export const graphRule: FileRule = (source) => {
  const folder = folderOf(source.path);
  const allowed = ALLOWED_IMPORTS[folder];
  if (allowed === undefined) return [];
  const own = folder.replace('packages/', '');
  const problems: Problem[] = [];
  for (const use of importsOf(source)) {
    const target = /^@holdfast\/([^/]+)/.exec(use.specifier)?.[1];
    if (target === undefined) continue;
    const isUser = own === 'node' && target === 'client' && CLIENT_IN_NODE.test(source.path);
    // a test drives its package from outside, so it may use what stands beside it
    const isTestOfNode = own === 'node' && isTest(source.path) && !TOP.has(target);
    // its public names, as a user sees them, are for a test to check
    if (target === own && isTest(source.path)) continue;
    if (target === own || (!allowed.includes(target) && !isUser && !isTestOfNode))
      problems.push(
        problem(source.path, use.line, 'package-graph', `${own} must not import ${target}`),
      );
  }
  return problems;
};

export const specifierRule: FileRule = (source) => {
  const problems: Problem[] = [];
  const add = (line: number, message: string) =>
    problems.push(problem(source.path, line, 'import-form', message));
  const folder = folderOf(source.path);
  const depth = source.path.slice(folder.length + 1).split('/').length - 1;
  for (const use of importsOf(source)) {
    if (!use.specifier.startsWith('.') || use.isDynamic) continue;
    const upCount = (use.specifier.match(/\.\.\//g) ?? []).length;
    if (upCount > depth) add(use.line, `${use.specifier} leaves the package: import it by name`);
    if (/(^|\/)index\.(ts|js)$/.test(use.specifier))
      add(use.line, `${use.specifier}: import the file that has it, not the index`);
    if (!/\.(ts|mjs|cjs|json)$/.test(use.specifier))
      add(use.line, `${use.specifier}: write the extension .ts`);
  }
  return problems;
};

export const exportRule: FileRule = (source) => {
  const problems: Problem[] = [];
  for (const [index, line] of source.codeLines.entries()) {
    const add = (message: string) =>
      problems.push(problem(source.path, index + 1, 'export-form', message));
    if (/^\s*export\s*(type\s*)?\*/.test(line)) add('export * hides what is public: name it');
    if (/^\s*export\s+default\b/.test(line) && !/worker\.ts$/.test(source.path))
      add('export default: only a thread entry has one');
  }
  return problems;
};
