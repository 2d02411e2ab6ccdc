/** `HOST:PORT` and `[IPV6]:PORT` as a pair, and the rule of what counts as loopback. */
import { isIPv4, isIPv6 } from 'node:net';

export interface Endpoint {
  /** Name or address, IPv6 without brackets. */
  readonly host: string;
  /** 0 asks the operating system for a free port. */
  readonly port: number;
}

const PORT_MAX = 65_535;
const HOST_PATTERN = /^[a-zA-Z0-9._-]{1,253}$/;

/** Null when `text` is not `HOST:PORT`. */
export function parseEndpoint(text: string): Endpoint | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text.trim());
  if (match === null) return null;
  const port = Number(match[3]);
  if (port > PORT_MAX) return null;
  const [, bracketed, plain] = match;
  if (bracketed !== undefined) return isIPv6(bracketed) ? { host: bracketed, port } : null;
  return plain !== undefined && HOST_PATTERN.test(plain) ? { host: plain, port } : null;
}

export const formatEndpoint = ({ host, port }: Endpoint): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/** A name other than `localhost` may resolve to anything, so it does not count as loopback. */
export function isLoopbackHost(host: string): boolean {
  if (isIPv4(host)) return host.startsWith('127.');
  return host === 'localhost' || host === '::1';
}

/** An address that means "every interface" cannot be dialled by others. */
export const isWildcardHost = (host: string): boolean => host === '0.0.0.0' || host === '::';
