/**
 * The script of a page as one text: the compiled modules of `page/`, each in a scope of its own, in
 * the order in which they need each other. A page that is opened from a disk cannot load modules,
 * and one file is easier to send. Understands what these modules use: named imports and exported
 * functions and constants; anything else is refused.
 */
import { readFileSync } from 'node:fs';
import { assert } from '@holdfast/base';

const IMPORT = /^import \{([^}]*)\} from '\.\/([\w-]+)\.js';\n/gm;
const EXPORT = /^export (?=(?:function|const) (\w+))/gm;

/** Of this package; the other modules of a page lie beside its first one. */
const FIRST_MODULES = {
  timeline: 'dist/src/report/page/timeline.js',
  'run-list': 'dist/src/report/page/run-list.js',
} as const;

/** The script of a page. */
export function browserCode(page: keyof typeof FIRST_MODULES): string {
  const first = new URL(`../../../${FIRST_MODULES[page]}`, import.meta.url);
  return bundle(page, (name) => readFileSync(new URL(`${name}.js`, first), 'utf8'));
}

/** Pure but for what `read` does: it gives the compiled text of a module by its name. */
export function bundle(entry: string, read: (name: string) => string): string {
  const parts: string[] = [];
  const seen = new Set<string>();
  const add = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const source = read(name);
    for (const [, , needed = ''] of source.matchAll(IMPORT)) add(needed);
    parts.push(scoped(name, source));
  };
  add(entry);
  return `'use strict';\nconst modules = {};\n${parts.join('')}`;
}

function scoped(name: string, source: string): string {
  const names = [...source.matchAll(EXPORT)].map((match) => match[1] ?? '');
  const code = source
    .replaceAll(IMPORT, (_all, list: string, from: string) => {
      return `const {${list}} = modules['${from}'];\n`;
    })
    .replaceAll(EXPORT, '')
    .replaceAll(/^export \{\};\n|^\/\/# sourceMappingURL.*\n?/gm, '');
  const rest = /^\s*(?:import|export)\b.*/m.exec(code)?.[0] ?? null;
  assert(rest === null, 'a page module uses a form that is not bundled', { name, rest });
  assert(!/<\/script/i.test(code), 'a page module must not end the script', { name });
  return `modules['${name}'] = (() => {\n${code}return { ${names.join(', ')} };\n})();\n`;
}
