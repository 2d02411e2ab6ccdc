/**
 * Keeps the pages that describe code in step with it: `--write` makes the sections anew, `--check`
 * (the default) exits 1 and names the first line that differs.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ERROR_CODES } from '@holdfast/base';
import { describeOptions } from '@holdfast/node';
import { publicSchemas, toPublicJsonSchema } from '@holdfast/protocol';
import { configSection } from './gen-docs/config-page.ts';
import { errorsSection } from './gen-docs/errors-page.ts';
import type { JsonSchema } from './gen-docs/protocol-page.ts';
import { codeSection, messagesSection } from './gen-docs/protocol-page.ts';
import type { Sections } from './gen-docs/sections.ts';
import { firstDifference, withSections } from './gen-docs/sections.ts';

const root = new URL('../../../', import.meta.url);
const PAGES = ['docs/ERRORS.md', 'docs/CONFIG.md', 'docs/PROTOCOL.md'];
const RAW_CLIENT = new URL('examples/demo/raw-client.mjs', root);
function makeSections(): Sections {
  const messages = Object.entries(publicSchemas).map(([name, entry]) => ({
    name,
    direction: entry.direction,
    description: entry.description,
    jsonSchema: toPublicJsonSchema(entry.schema) as JsonSchema,
  }));
  return {
    errors: () => errorsSection(ERROR_CODES),
    config: () => configSection(describeOptions()),
    messages: () => messagesSection(messages),
    'raw-client': () => codeSection('js', readFileSync(RAW_CLIENT, 'utf8')),
  };
}

const isWriting = process.argv.includes('--write');
const sections = makeSections();
let staleCount = 0;
for (const page of PAGES) {
  const path = fileURLToPath(new URL(page, root));
  const actual = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const difference = firstDifference(actual, withSections(actual, sections));
  if (difference === null) continue;
  staleCount++;
  if (isWriting) writeFileSync(path, withSections(actual, sections));
  const { line, expected } = difference;
  const verb = isWriting ? 'rewrote' : 'differs from the code at';
  process.stdout.write(`${page}: ${verb} line ${line}: ${expected}\n`);
}
if (staleCount > 0 && !isWriting) process.stdout.write('run `npm run fix` and commit the pages\n');
process.exit(staleCount === 0 || isWriting ? 0 : 1);
