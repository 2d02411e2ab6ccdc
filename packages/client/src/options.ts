/** What a caller may pass, checked once at the edge. */
import type { Clock, Random, Timers } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import {
  ADDRESS_LENGTH_MAX,
  API_KEY_LENGTH_MAX,
  CLIENT_NAME_LENGTH_MAX,
  REQUEST_TIMEOUT_MS_DEFAULT,
  REQUEST_TIMEOUT_MS_MAX,
} from '@holdfast/protocol';
import type { Transport } from './transport.ts';

/** Addresses a caller may give; a list longer than any cluster is a mistake. */
const NODE_COUNT_MAX = 64;
const ADDRESS_PATTERN = /^(\[[0-9a-fA-F:.%]+\]|[^\s:/@[\]]+):([0-9]{1,5})$/;

export interface ConnectOptions {
  /** `host:port` of some or all nodes; the others are found through the leader. */
  readonly nodes: readonly string[];
  readonly apiKey?: string;
  /** For `connect` itself and every call that does not say otherwise. Default 10,000. */
  readonly timeoutMs?: number;
  /** Appears in the servers' logs. */
  readonly clientName?: string;
  /**
   * Default true: writes carry session and sequence, so that a retried write happens once. False: a
   * write whose reply is lost ends as an indefinite error and is never repeated.
   */
  readonly usesSession?: boolean;
  /**
   * The highest cluster epoch this application has seen (`client.epoch`), when it keeps it over
   * restarts: nodes that a recovery has given up are then refused from the first moment on.
   */
  readonly epochMin?: number;
  /**
   * Default true: connects to every member the cluster names, and lets go of those that left.
   * False: only to the nodes given, and to leaders.
   */
  readonly followsMembers?: boolean;
  /** For embedded use and tests. Default: WebSocket. */
  readonly transport?: Transport;
  readonly clock?: Clock;
  readonly timers?: Timers;
  readonly random?: Random;
}

/** Per call. */
export interface RequestOptions {
  /** 1 to 600,000. Over all attempts. */
  readonly timeoutMs?: number;
  /** Aborting ends the call with ABORTED; what was sent may still take effect. */
  readonly signal?: AbortSignal;
}

export function argumentInvalid(name: string, expected: string): HoldfastError {
  return new HoldfastError('ARGUMENT_INVALID', `${name}: must be ${expected}`, {
    details: { path: name },
  });
}

/** @throws HoldfastError ARGUMENT_INVALID */
export function checkConnectOptions(options: ConnectOptions): void {
  if (typeof options !== 'object' || options === null || !Array.isArray(options.nodes)) {
    throw argumentInvalid('nodes', "a list of addresses, for example ['127.0.0.1:7101']");
  }
  if (options.nodes.length === 0 || options.nodes.length > NODE_COUNT_MAX) {
    throw argumentInvalid('nodes', `a list of 1 to ${NODE_COUNT_MAX} addresses`);
  }
  for (const [i, node] of options.nodes.entries()) checkAddress(node, `nodes[${i}]`);
  const { apiKey, clientName, usesSession, followsMembers } = options;
  const isKeyGood =
    typeof apiKey === 'string' && apiKey !== '' && apiKey.length <= API_KEY_LENGTH_MAX;
  if (apiKey !== undefined && !isKeyGood) {
    throw argumentInvalid('apiKey', `a text of 1 to ${API_KEY_LENGTH_MAX} characters`);
  }
  const isNameGood = typeof clientName === 'string' && clientName.length <= CLIENT_NAME_LENGTH_MAX;
  if (clientName !== undefined && !isNameGood) {
    throw argumentInvalid('clientName', `a text of at most ${CLIENT_NAME_LENGTH_MAX} characters`);
  }
  if (usesSession !== undefined && typeof usesSession !== 'boolean') {
    throw argumentInvalid('usesSession', 'true or false');
  }
  const { epochMin } = options;
  if (epochMin !== undefined && !(Number.isSafeInteger(epochMin) && epochMin >= 0)) {
    throw argumentInvalid('epochMin', 'an integer from 0');
  }
  if (followsMembers !== undefined && typeof followsMembers !== 'boolean') {
    throw argumentInvalid('followsMembers', 'true or false');
  }
  timeoutOf(options, REQUEST_TIMEOUT_MS_DEFAULT);
}

/** @throws HoldfastError ARGUMENT_INVALID */
export function timeoutOf(options: { readonly timeoutMs?: number }, defaultMs: number): number {
  const timeoutMs = options.timeoutMs ?? defaultMs;
  const isGood =
    Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= REQUEST_TIMEOUT_MS_MAX;
  if (!isGood) throw argumentInvalid('timeoutMs', `an integer from 1 to ${REQUEST_TIMEOUT_MS_MAX}`);
  return timeoutMs;
}

function checkAddress(value: unknown, name: string): void {
  const match =
    typeof value === 'string' && value.length <= ADDRESS_LENGTH_MAX
      ? ADDRESS_PATTERN.exec(value)
      : null;
  const port = match === null ? 0 : Number(match[2]);
  if (port < 1 || port > 65_535) throw argumentInvalid(name, 'host:port');
}
