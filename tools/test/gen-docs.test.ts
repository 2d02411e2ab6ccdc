/** Goal: generated sections say what the code says, and a page that lags behind is noticed. */
import { ERROR_CODES } from '@holdfast/base';
import { publicSchemas, toPublicJsonSchema } from '@holdfast/protocol';
import t from 'tap';
import { configSection } from '../src/gen-docs/config-page.ts';
import { errorsSection } from '../src/gen-docs/errors-page.ts';
import type { JsonSchema, Message } from '../src/gen-docs/protocol-page.ts';
import { codeSection, messagesSection, typeText } from '../src/gen-docs/protocol-page.ts';
import { firstDifference, sectionNames, table, withSections } from '../src/gen-docs/sections.ts';

const page = 'before\n<!-- generated:a -->\nold\n<!-- /generated -->\nafter\n';

t.test('a section is replaced and everything around it is kept', async (t) => {
  const made = withSections(page, { a: () => 'new\n' });
  t.equal(made, 'before\n<!-- generated:a -->\nnew\n<!-- /generated -->\nafter\n');
  t.equal(withSections(made, { a: () => 'new' }), made, 'a second time changes nothing');
  t.same(sectionNames(page), ['a']);
});

t.test('a section that nobody makes is refused', async (t) => {
  t.throws(() => withSections(page, {}), { message: /no generator for the section a/ });
});

t.test('text with dollar signs is inserted as it is', async (t) => {
  t.match(withSections(page, { a: () => "$& $1 $'" }), "$& $1 $'");
});

t.test('the first line that differs is named', async (t) => {
  t.equal(firstDifference('a\nb\n', 'a\nb\n'), null);
  t.same(firstDifference('a\nb\n', 'a\nc\n'), { line: 2, expected: 'c', actual: 'b' });
  t.same(firstDifference('a', 'a\nc'), { line: 2, expected: 'c', actual: '(end)' });
});

t.test('pipes and line breaks do not break a table', async (t) => {
  t.equal(table(['a'], [['x|y\nz']]), '| a |\n| --- |\n| x\\|y z |');
});

t.test('the error table has every code exactly once, with its advice', async (t) => {
  const section = errorsSection(ERROR_CODES);
  for (const [code, facts] of Object.entries(ERROR_CODES)) {
    const rows = section.split('\n').filter((line) => line.startsWith(`| \`${code}\` |`));
    t.equal(rows.length, 1, code);
    t.match(rows[0], `\`${facts.retry}\``, `${code} advice`);
    t.match(rows[0], facts.definite ? '| yes |' : '| no |', `${code} definite`);
  }
});

t.test('the settings table names the key, the flag, the environment and the default', async (t) => {
  const base = {
    key: 'data',
    flag: '--data',
    environmentName: 'HOLDFAST_DATA',
    placeholder: 'DIR',
  };
  const required = { ...base, defaultText: '', isRequired: true, help: 'Where data lives.' };
  const section = configSection([required, { ...required, isRequired: false, defaultText: '7' }]);
  t.match(section, '| `data` | `--data` | `HOLDFAST_DATA` | required | Where data lives. |');
  t.match(section, '| 7 | Where data lives. |');
});

t.test('types are written for a reader', async (t) => {
  const cases: readonly (readonly [JsonSchema, string])[] = [
    [{ type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER }, 'integer, 1 to 2^53 - 1'],
    [{ type: 'integer', minimum: 0 }, 'integer, at least 0'],
    [{ type: 'string', maxLength: 10 }, 'string, at most 10 characters'],
    [{ type: 'string', pattern: '^a$' }, 'string `^a$`'],
    [{ enum: ['l2', 'cosine'] }, '`"l2"` or `"cosine"`'],
    [{ enum: Array.from({ length: 13 }, (_, i) => `v${i}`) }, 'one of 13 strings'],
    [{ const: 'hello' }, '`"hello"`'],
    [{ anyOf: [{ type: 'string' }, { type: 'null' }] }, 'string or null'],
    [{ type: 'array', items: { type: 'boolean' }, maxItems: 3 }, 'array of boolean, at most 3'],
    [{ type: 'array', items: { properties: {} } }, 'array of objects'],
    [{ type: 'object' }, 'map'],
    [{}, 'see meaning'],
  ];
  for (const [schema, text] of cases) t.equal(typeText(schema), text);
});

t.test('every public message has a table, nested fields have their path', async (t) => {
  const messages = Object.entries(publicSchemas).map(
    ([name, { direction, description, schema }]): Message => ({
      name,
      direction,
      description,
      jsonSchema: toPublicJsonSchema(schema) as JsonSchema,
    }),
  );
  const section = messagesSection(messages);
  for (const { name, direction, description } of messages) {
    if (direction === 'result') continue;
    t.ok(section.includes(`### ${name} (`), name);
    t.ok(section.includes(description), `${name} is described`);
  }
  t.match(section, '| `points[].vector` |');
  t.match(section, '| `points[].payload?` |');
  t.match(section, '| `limits.frameSizeBytesMax` |');
});

t.test('an example is shown as it is', async (t) => {
  t.equal(codeSection('js', 'a;\n'), '```js\na;\n```');
});
