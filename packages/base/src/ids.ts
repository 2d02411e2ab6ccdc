/**
 * Branded ids and numbers. Constructors assert: call them on values already validated or made here.
 * Indexes and terms are safe integers in memory and u64 little-endian on disk and wire.
 */
import { assert } from './assert.ts';
import type { Brand } from './brand.ts';

/**
 * Name of a node, unique in its cluster: 1-64 of [a-zA-Z0-9._-], starting with a letter or digit.
 */
export type NodeId = Brand<string, 'NodeId'>;
/** Minted when a cluster is formed: 32 lower-case hex digits. */
export type ClusterId = Brand<string, 'ClusterId'>;
/**
 * Minted when a data directory is formatted: 32 lower-case hex digits. A wiped node is a new one.
 */
export type Incarnation = Brand<string, 'Incarnation'>;
/** One Raft group. v1 runs group 1; nothing may assume that. u32. */
export type GroupId = Brand<number, 'GroupId'>;
export type Term = Brand<number, 'Term'>;
/** Position in a Raft log. The first entry has index 1; 0 means "before the log". */
export type LogIndex = Brand<number, 'LogIndex'>;
/** A client session: the log index of the entry that opened it. */
export type SessionId = Brand<number, 'SessionId'>;

export const NODE_ID_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/;
export const HEX_ID_PATTERN = /^[0-9a-f]{32}$/;

export const isNodeId = (value: string): value is NodeId => NODE_ID_PATTERN.test(value);
export const isHexId = (value: string): boolean => HEX_ID_PATTERN.test(value);

export function nodeId(value: string): NodeId {
  assert(isNodeId(value), 'node id is malformed', { value });
  return value;
}

export function clusterId(value: string): ClusterId {
  assert(isHexId(value), 'cluster id is malformed', { value });
  return value as ClusterId;
}

export function incarnation(value: string): Incarnation {
  assert(isHexId(value), 'incarnation is malformed', { value });
  return value as Incarnation;
}

export function groupId(value: number): GroupId {
  assert(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff, 'group id is not a u32', {
    value,
  });
  return value as GroupId;
}

export function term(value: number): Term {
  assert(Number.isSafeInteger(value) && value >= 0, 'term is not a safe integer', { value });
  return value as Term;
}

export function logIndex(value: number): LogIndex {
  assert(Number.isSafeInteger(value) && value >= 0, 'log index is not a safe integer', { value });
  return value as LogIndex;
}

export function sessionId(value: number): SessionId {
  assert(Number.isSafeInteger(value) && value > 0, 'session id is not a positive safe integer', {
    value,
  });
  return value as SessionId;
}

/** The only group of v1. */
export const DEFAULT_GROUP_ID: GroupId = groupId(1);
