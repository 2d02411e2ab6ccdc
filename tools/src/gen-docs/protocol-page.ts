/**
 * The message tables of the public protocol, from the JSON Schema of every message. A field of a
 * nested object has the path to it as its name; `?` marks a field that may be left out.
 */
import { table } from './sections.ts';

export interface Message {
  readonly name: string;
  readonly direction: 'up' | 'down' | 'result';
  readonly description: string;
  readonly jsonSchema: JsonSchema;
}

export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
}

/** Objects inside each other; a message deeper than this would need another page. */
const DEPTH_MAX = 6;
/** A longer list has a page of its own (the error codes). */
const ENUM_VALUES_SHOWN_MAX = 12;

export function messagesSection(messages: readonly Message[]): string {
  const parts: string[] = [];
  for (const message of messages) {
    if (message.direction === 'result') continue;
    const arrow = message.direction === 'up' ? 'client to server' : 'server to client';
    parts.push(`### ${message.name} (${arrow})`, message.description, fieldTable(message));
    const result = messages.find(({ name }) => name === `${message.name}Result`);
    if (result !== undefined) parts.push('Its result:', fieldTable(result));
  }
  return parts.join('\n\n');
}

function fieldTable(message: Message): string {
  const rows = fieldRows(message.jsonSchema, '', 0);
  return rows.length === 0 ? 'No fields.' : table(['field', 'type', 'meaning'], rows);
}

function fieldRows(schema: JsonSchema, prefix: string, depth: number): string[][] {
  if (depth > DEPTH_MAX) throw new Error(`${prefix} is nested too deeply for the page`);
  const rows: string[][] = [];
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const isOptional = !(schema.required ?? []).includes(name);
    const path = `${prefix}${name}`;
    rows.push([`\`${path}${isOptional ? '?' : ''}\``, typeText(field), field.description ?? '']);
    const inner = variantWithFields(field);
    if (inner !== null) rows.push(...fieldRows(inner, `${path}.`, depth + 1));
    const item = field.items === undefined ? null : variantWithFields(field.items);
    if (item !== null) rows.push(...fieldRows(item, `${path}[].`, depth + 1));
  }
  return rows;
}

/** The object among the variants of a field, if there is one. */
function variantWithFields(schema: JsonSchema): JsonSchema | null {
  if (schema.properties !== undefined) return schema;
  return variantsOf(schema).find((variant) => variant.properties !== undefined) ?? null;
}

const variantsOf = (schema: JsonSchema): readonly JsonSchema[] =>
  schema.anyOf ?? schema.oneOf ?? [];

export function typeText(schema: JsonSchema): string {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum !== undefined && schema.enum.length > ENUM_VALUES_SHOWN_MAX)
    return `one of ${schema.enum.length} strings`;
  if (schema.enum !== undefined)
    return schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(' or ');
  const variants = variantsOf(schema);
  if (variants.length > 0) return variants.map(typeText).join(' or ');
  switch (schema.type) {
    case 'integer':
    case 'number':
      return `${schema.type}${range(schema.minimum, schema.maximum)}`;
    case 'string':
      if (schema.pattern !== undefined) return `string \`${schema.pattern}\``;
      return `string${range(schema.minLength, schema.maxLength, ' characters')}`;
    case 'array':
      return `array of ${itemText(schema.items)}${range(schema.minItems, schema.maxItems)}`;
    case 'object':
      return schema.properties === undefined ? 'map' : 'object';
    case 'boolean':
    case 'null':
      return schema.type;
    default:
      return 'see meaning';
  }
}

function itemText(items: JsonSchema | undefined): string {
  if (items === undefined) return 'values';
  return items.properties === undefined ? typeText(items) : 'objects';
}

function range(low: number | undefined, high: number | undefined, unit = ''): string {
  const text = (value: number) =>
    value === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : value.toLocaleString('en-US');
  if (low === undefined && high === undefined) return '';
  if (high === undefined) return `, at least ${text(low ?? 0)}${unit}`;
  if (low === undefined || (low === 0 && unit !== '')) return `, at most ${text(high)}${unit}`;
  return `, ${text(low)} to ${text(high)}${unit}`;
}

/** An example file as a fenced block, so that the page shows what the tests run. */
export const codeSection = (language: string, text: string): string =>
  `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``;
