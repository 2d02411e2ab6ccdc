/** Rules that need the whole tree: dead files, packages without a design or tests, broken links. */
import { dirname, join, normalize } from 'node:path/posix';
import type { Problem, Tree, TreeRule } from './rules.ts';
import { folderOf, problem } from './rules.ts';
import { importsOf, readSource } from './source-text.ts';

const isSource = (path: string): boolean => /\/src\/.*\.ts$/.test(path);

/** A source that no file imports, no script runs and no thread starts is dead. */
export const deadFileRule: TreeRule = (tree) => {
  const used = new Set<string>();
  const mentions: string[] = [];
  for (const [path, text] of tree) {
    if (/\.(md|json|mjs)$/.test(path) || path.startsWith('.ci/')) mentions.push(text);
    if (!/\.(ts|mjs|cjs)$/.test(path)) continue;
    for (const use of importsOf(readSource(path, text))) {
      if (!use.specifier.startsWith('.')) continue;
      const target = normalize(join(dirname(path), use.specifier));
      used.add(target.replace(/\.js$/, '.ts'));
    }
    if (/\.ts$/.test(path)) mentions.push(text);
  }
  const isMentioned = (path: string): boolean => {
    const folder = folderOf(path);
    const output = path.replace(`${folder}/src/`, `dist/src/`).replace(/\.ts$/, '.js');
    const entry = [`${folder}/${output}`, `./${output}`, `'${output}'`];
    return mentions.some((text) => entry.some((name) => text.includes(name)));
  };
  return [...tree.keys()]
    .filter((path) => isSource(path) && !/\/index\.ts$/.test(path))
    .filter((path) => !used.has(path) && !isMentioned(path))
    .map((path) => problem(path, 1, 'dead-file', 'nothing imports it and nothing starts it'));
};

/** Every package explains itself and is tested. */
export const packageRule: TreeRule = (tree) => {
  const problems: Problem[] = [];
  const paths = [...tree.keys()];
  for (const manifest of paths.filter((path) => /(^|\/)package\.json$/.test(path))) {
    const folder = folderOf(manifest);
    if (folder === '' || manifest !== `${folder}/package.json`) continue;
    const isLibrary = folder.startsWith('packages/');
    const pages = isLibrary ? ['DESIGN.md'] : ['DESIGN.md', 'README.md'];
    if (!pages.some((page) => tree.has(`${folder}/${page}`)))
      problems.push(problem(manifest, 1, 'package', `${folder} has no ${pages.join(' or ')}`));
    if (!paths.some((path) => folderOf(path) === folder && /\/test\/.*\.test\.ts$/.test(path)))
      problems.push(problem(manifest, 1, 'package', `${folder} has no tests`));
  }
  return problems;
};

/** A relative link of a page leads to a file of the tree. */
export const linkRule: TreeRule = (tree) => {
  const problems: Problem[] = [];
  const folders = new Set<string>();
  for (const path of tree.keys())
    for (let at = dirname(path); at !== '.'; at = dirname(at)) folders.add(at);
  for (const [path, text] of tree) {
    if (!path.endsWith('.md')) continue;
    for (const [index, line] of text.split('\n').entries())
      for (const match of line.matchAll(/\]\(([^)\s]+)\)/g)) {
        const link = (match[1] ?? '').replace(/#.*$/, '');
        if (link === '' || /^[a-z]+:/.test(link)) continue;
        const target = normalize(join(dirname(path), link)).replace(/\/$/, '');
        if (tree.has(target) || folders.has(target)) continue;
        problems.push(problem(path, index + 1, 'link', `${link} leads nowhere`));
      }
  }
  return problems;
};

/** Every dependency of the catalogue has a row in the record that justifies it. */
export const dependencyRule: TreeRule = (tree) => {
  const record = 'docs/adr/0008-dependencies.md';
  const workspace = tree.get('pnpm-workspace.yaml') ?? '';
  const catalog = /^catalog:\n((?: {2}.*\n)*)/m.exec(workspace)?.[1] ?? '';
  const page = tree.get(record) ?? '';
  return [...catalog.matchAll(/^ {2}"?([^":\s]+)"?:/gm)]
    .map((match) => match[1] ?? '')
    .filter((name) => !page.includes(`\`${name}\``))
    .map((name) => problem(record, 1, 'dependency', `no row says why ${name} is used`));
};

interface Manifest {
  readonly name?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** A package declares what it imports, and imports what it declares (types have no import). */
export const manifestRule: TreeRule = (tree) => {
  const problems: Problem[] = [];
  for (const [path, text] of tree) {
    const folder = folderOf(path);
    if (folder === '' || path !== `${folder}/package.json`) continue;
    const manifest = JSON.parse(text) as Manifest;
    const declared = new Set(
      [manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies].flatMap(
        (group) => Object.keys(group ?? {}),
      ),
    );
    const used = packagesUsedIn(folder, tree);
    for (const [name, user] of used)
      if (!declared.has(name) && name !== manifest.name)
        problems.push(problem(user, 1, 'manifest', `${name} is not declared in ${path}`));
    for (const name of declared)
      if (!used.has(name) && !name.startsWith('@types/') && !isNamed(folder, name, tree))
        problems.push(problem(path, 1, 'manifest', `${name} is declared and never imported`));
  }
  return problems;
};

/** A package that is loaded late (an optional one) stands in the source as a literal. */
const isNamed = (folder: string, name: string, tree: Tree): boolean =>
  [...tree].some(([path, text]) => path.startsWith(`${folder}/src/`) && text.includes(`'${name}'`));

/** Package name -> one file of the folder that names it, in an import or a require of any kind. */
function packagesUsedIn(folder: string, tree: Tree): ReadonlyMap<string, string> {
  const used = new Map<string, string>();
  for (const [path, text] of tree) {
    if (folderOf(path) !== folder || !/\.(ts|mjs|cjs)$/.test(path)) continue;
    for (const { specifier } of importsOf(readSource(path, text))) {
      const name = /^(@[\w.-]+\/[\w.-]+|[a-z][\w.-]*)(?:\/|$)/.exec(specifier)?.[1];
      const isPlain = name !== undefined && !/^[a-z]+:/.test(specifier);
      if (isPlain && !/\.(js|wasm)$/.test(specifier)) used.set(name, path);
    }
  }
  return used;
}

export const TREE_RULES: readonly TreeRule[] = [
  deadFileRule,
  packageRule,
  manifestRule,
  linkRule,
  dependencyRule,
];
