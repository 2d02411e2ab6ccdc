/**
 * File < environment < flags. Every refusal is CONFIG_INVALID and names the key and where it was
 * given; an unknown key is refused with the nearest known name, so that a typing error never
 * becomes a silent default.
 */
import { HoldfastError } from '@holdfast/base';
import { parse as parseYaml } from 'yaml';
import {
  environmentNameOf,
  flagOf,
  type NodeConfig,
  OPTION_KEYS,
  OPTIONS,
  type OptionKey,
  REQUIRED_KEYS,
} from './options.ts';
import { brokenRelation } from './relations.ts';
import { nearestName } from './suggest.ts';

export interface ConfigSources {
  /** Text of the configuration file (YAML or JSON) and its name for messages. */
  readonly file?: { readonly name: string; readonly text: string };
  /** For example `process.env`; only names that start with HOLDFAST_ are looked at. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** By key, as typed: text, or true for a flag without a value. */
  readonly flags?: Readonly<Record<string, string | boolean | undefined>>;
}

/** Names with the prefix that are not settings of a node. */
const ENVIRONMENT_EXEMPT: ReadonlySet<string> = new Set([
  'HOLDFAST_CONFIG',
  'HOLDFAST_NODES',
  'HOLDFAST_API_KEY',
  'HOLDFAST_DATASETS',
  'HOLDFAST_NO_INSTALL',
  'HOLDFAST_SEED',
  'HOLDFAST_RUNBOOKS',
]);
/** Test and benchmark switches share the prefix. */
/** Credentials of stores (backup/sinks/sink-url.ts), and what tests and benchmarks use. */
const ENVIRONMENT_EXEMPT_PREFIXES: readonly string[] = [
  'HOLDFAST_SINK_',
  'HOLDFAST_TEST_',
  'HOLDFAST_BENCH_',
];

interface Given {
  readonly value: unknown;
  /** As the user wrote it: a flag, an environment name or a file key. */
  readonly source: string;
}

/** @throws HoldfastError CONFIG_INVALID */
export function loadConfig(sources: ConfigSources): NodeConfig {
  const given = new Map<OptionKey, Given>();
  if (sources.file !== undefined) readFile(sources.file, given);
  readEnvironment(sources.environment ?? {}, given);
  readFlags(sources.flags ?? {}, given);
  const config = Object.freeze(
    Object.fromEntries(OPTION_KEYS.map((key) => [key, settingOf(key, given.get(key))])),
  ) as NodeConfig;
  const broken = brokenRelation(config);
  if (broken !== null) {
    const source = given.get(broken.key)?.source ?? `the default of ${broken.key}`;
    throw refuse(broken.key, source, broken.message);
  }
  return config;
}

function readFile(file: { name: string; text: string }, given: Map<OptionKey, Given>): void {
  let content: unknown;
  try {
    content = parseYaml(file.text);
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    throw new HoldfastError('CONFIG_INVALID', `${file.name}: not YAML or JSON: ${reason}`, {
      cause: error,
      details: { source: file.name },
    });
  }
  if (content === null || content === undefined) return;
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw new HoldfastError('CONFIG_INVALID', `${file.name}: must be a map of settings`, {
      details: { source: file.name },
    });
  }
  for (const [key, value] of Object.entries(content)) {
    if (!isOptionKey(key)) throw unknownKey(key, `${file.name}: ${key}`, OPTION_KEYS);
    const normal = key === 'peers' && typeof value === 'string' ? fromText(key, value) : value;
    given.set(key, { value: normal, source: `${file.name}: ${key}` });
  }
}

function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  given: Map<OptionKey, Given>,
): void {
  const keys = new Map(OPTION_KEYS.map((key) => [environmentNameOf(key), key]));
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith('HOLDFAST_') || text === undefined) continue;
    if (ENVIRONMENT_EXEMPT.has(name)) continue;
    if (ENVIRONMENT_EXEMPT_PREFIXES.some((prefix) => name.startsWith(prefix))) continue;
    const key = keys.get(name);
    if (key === undefined) throw unknownKey(name, name, keys.keys());
    given.set(key, { value: fromText(key, text), source: name });
  }
}

function readFlags(
  flags: Readonly<Record<string, string | boolean | undefined>>,
  given: Map<OptionKey, Given>,
): void {
  for (const [key, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    if (!isOptionKey(key)) throw unknownKey(key, flagOf(key), OPTION_KEYS);
    const parsed = typeof value === 'string' ? fromText(key, value) : value;
    given.set(key, { value: parsed, source: flagOf(key) });
  }
}

const BOOLEAN_WORDS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['0', false],
]);

/** Text that does not parse stays text: the schema then refuses it with the right words. */
function fromText(key: OptionKey, text: string): unknown {
  switch (OPTIONS[key].input) {
    case 'text':
      return text;
    case 'integer':
      return /^-?\d[\d_]*$/.test(text.trim()) ? Number(text.trim().replaceAll('_', '')) : text;
    case 'boolean':
      return BOOLEAN_WORDS.get(text.trim().toLowerCase()) ?? text;
    case 'peers':
      return peersFromText(text);
  }
}

/** `a=HOST:PORT,b=HOST:PORT`; a repeated or unreadable part leaves the text as it is. */
function peersFromText(text: string): unknown {
  const peers = new Map<string, string>();
  for (const part of text.split(',')) {
    if (part.trim() === '') continue;
    const separator = part.indexOf('=');
    if (separator < 1) return text;
    const id = part.slice(0, separator).trim();
    if (peers.has(id)) return text;
    peers.set(id, part.slice(separator + 1).trim());
  }
  return Object.fromEntries(peers);
}

function settingOf(key: OptionKey, given: Given | undefined): unknown {
  const option = OPTIONS[key];
  if (given === undefined) {
    if (REQUIRED_KEYS.has(key)) {
      const message = `is required; pass ${flagOf(key)} or set ${environmentNameOf(key)}`;
      throw refuse(key, key, message);
    }
    return option.default;
  }
  const result = option.schema.safeParse(given.value);
  if (result.success) return result.data;
  if (option.input === 'peers' && typeof given.value === 'string') {
    throw refuse(key, given.source, 'must be ID=HOST:PORT,ID=HOST:PORT with each id once');
  }
  const issue = result.error.issues[0];
  const at = issue !== undefined && issue.path.length > 0 ? `${issue.path.join('.')}: ` : '';
  throw refuse(key, given.source, `${at}${issue?.message ?? 'invalid'} (got ${show(given.value)})`);
}

const isOptionKey = (key: string): key is OptionKey => Object.hasOwn(OPTIONS, key);

const VALUE_TEXT_LENGTH_MAX = 60;

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= VALUE_TEXT_LENGTH_MAX ? text : `${text.slice(0, VALUE_TEXT_LENGTH_MAX)}...`;
}

function refuse(key: OptionKey, source: string, message: string): HoldfastError {
  return new HoldfastError('CONFIG_INVALID', `${source}: ${message}`, { details: { key, source } });
}

function unknownKey(key: string, source: string, known: Iterable<string>): HoldfastError {
  const nearest = nearestName(key, known);
  const hint = nearest === null ? 'see holdfast serve --help' : `did you mean ${nearest}?`;
  return new HoldfastError('CONFIG_INVALID', `${source}: unknown setting; ${hint}`, {
    details: { key, source, ...(nearest === null ? {} : { nearest }) },
  });
}
