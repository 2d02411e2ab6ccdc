/** The settings as rows: for `serve --help` and for the generated table of the documentation. */
import { type Endpoint, formatEndpoint } from './endpoint.ts';
import {
  environmentNameOf,
  flagOf,
  OPTION_KEYS,
  OPTIONS,
  type OptionKey,
  REQUIRED_KEYS,
} from './options.ts';

export interface OptionDescription {
  readonly key: OptionKey;
  readonly flag: string;
  readonly environmentName: string;
  readonly placeholder: string;
  /** As it would be written; empty when there is none. */
  readonly defaultText: string;
  readonly isRequired: boolean;
  readonly help: string;
}

export function describeOptions(): readonly OptionDescription[] {
  return OPTION_KEYS.map((key) => ({
    key,
    flag: flagOf(key),
    environmentName: environmentNameOf(key),
    placeholder: OPTIONS[key].placeholder,
    defaultText: defaultText(key),
    isRequired: REQUIRED_KEYS.has(key),
    help: OPTIONS[key].help,
  }));
}

function defaultText(key: OptionKey): string {
  const value = OPTIONS[key].default;
  if (value === undefined || Array.isArray(value)) return '';
  if (key === 'laneCount') return 'cores - 1, at least 1, at most 4';
  return isEndpoint(value) ? formatEndpoint(value) : String(value);
}

const isEndpoint = (value: unknown): value is Endpoint =>
  typeof value === 'object' && value !== null && 'port' in value;
