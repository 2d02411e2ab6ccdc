/**
 * The one error class and the one closed table of codes. Callers match `code`, never message or
 * class. When in doubt an error is indefinite: that is always safe.
 *
 * - `definite`: this attempt certainly had no effect and never will.
 * - `retry`: `never` (asking again gives the same answer), `redirect` (ask the named leader),
 *   `backoff` (same request, later), `otherNode`, `sameRequestId` (safe only as the same session
 *   and sequence, which takes effect at most once).
 * - `surface`: where it can be seen. `wire` codes are sent to clients by a server.
 *
 * Over 400 lines because the table is one, and closed.
 */

export type RetryAdvice = 'never' | 'redirect' | 'backoff' | 'otherNode' | 'sameRequestId';
export type ErrorSurface = 'wire' | 'client' | 'peer' | 'startup' | 'storage';

export interface ErrorCodeFacts {
  readonly definite: boolean;
  readonly retry: RetryAdvice;
  readonly surface: ErrorSurface;
  /** One sentence for the generated error table: what happened and the next step. */
  readonly help: string;
}

const wire = (definite: boolean, retry: RetryAdvice, help: string) =>
  ({ definite, retry, surface: 'wire', help }) as const;
const at = (surface: ErrorSurface, definite: boolean, retry: RetryAdvice, help: string) =>
  ({ definite, retry, surface, help }) as const;

export const ERROR_CODES = {
  // who serves
  NOT_LEADER: wire(
    true,
    'redirect',
    'This node is not the leader; send the request to the leader named in the details.',
  ),
  NO_LEADER: wire(
    true,
    'backoff',
    'No leader is known right now; an election is under way, or a quorum is missing. Retry shortly.',
  ),
  LEADERSHIP_LOST: wire(
    false,
    'sameRequestId',
    'The leader was deposed after it proposed the write; retry the same request, it takes effect at most once.',
  ),
  REQUEST_TIMEOUT: wire(
    false,
    'sameRequestId',
    'The request did not finish in its time; retry the same request.',
  ),
  SHUTTING_DOWN: wire(true, 'otherNode', 'This node is shutting down; use another node.'),
  REPAIRING: wire(
    true,
    'otherNode',
    'This node repairs its log or waits to be admitted to its cluster, and does not serve yet; use another node.',
  ),
  OVERLOADED: wire(
    true,
    'backoff',
    'A bounded queue is full; retry after the delay in the details.',
  ),
  WRITES_BLOCKED: wire(
    true,
    'backoff',
    'The disk refuses the log of this node (full, quota, permission, device); it tries again by itself. Free space, or wait for another leader.',
  ),
  READ_ONLY: wire(
    true,
    'never',
    'This cluster is a standby: it follows a primary and takes no writes. Write to the primary, or promote the standby.',
  ),
  FENCED: wire(
    true,
    'never',
    'Another cluster has taken over from this one, which refuses writes for good; write to the cluster named in the details.',
  ),
  FENCE_UNKNOWN: wire(
    true,
    'backoff',
    'The leader could not look into the store for so long that another cluster may have taken over (primaryRequiresSink); it goes on when the store answers.',
  ),
  PROMOTION_REFUSED: wire(
    true,
    'never',
    'The standby cannot take over, or not now; the message says why and what to do instead.',
  ),
  TOO_MANY_CONNECTIONS: wire(
    true,
    'backoff',
    'The node has reached its connection limit; close connections or raise maxConnections.',
  ),
  SLOW_READER: wire(
    false,
    'backoff',
    'The connection did not read its answers and was closed; read faster or ask for less.',
  ),
  INTERNAL: wire(
    false,
    'sameRequestId',
    'A bug in the server; the log of the node has the details.',
  ),
  // handshake and framing
  UNAUTHENTICATED: wire(
    true,
    'never',
    'The API key is missing or wrong; pass the key that the server was started with.',
  ),
  PROTOCOL_UNSUPPORTED: wire(
    true,
    'never',
    'Client and server share no protocol version; upgrade the older side.',
  ),
  FRAME_MALFORMED: wire(true, 'never', 'The frame is not one msgpack map; see docs/PROTOCOL.md.'),
  FRAME_TOO_LARGE: wire(true, 'never', 'The frame is over the limit; send smaller batches.'),
  REQUEST_INVALID: wire(
    true,
    'never',
    'The request does not match the schema; the message names the field.',
  ),
  // data
  COLLECTION_NOT_FOUND: wire(true, 'never', 'No collection has this name; create it first.'),
  COLLECTION_EXISTS: wire(
    true,
    'never',
    'A collection with this name but another definition exists; drop it or choose another name.',
  ),
  COLLECTION_LIMIT: wire(
    true,
    'never',
    'The cluster has reached its collection limit; drop one first.',
  ),
  COLLECTION_NOT_READY: wire(
    true,
    'never',
    'The collection that is restored was not found to be equal to its source; restore it again, or purge it.',
  ),
  DIMENSION_MISMATCH: wire(true, 'never', 'The vector has another dimension than the collection.'),
  VECTOR_INVALID: wire(true, 'never', 'A vector component is NaN, infinite or not a number.'),
  POINT_ID_INVALID: wire(
    true,
    'never',
    'A point id is neither an unsigned integer up to 2^53 - 1 nor a UUID string.',
  ),
  PAYLOAD_INVALID: wire(
    true,
    'never',
    'A payload is not a JSON object, is nested too deeply or is too large.',
  ),
  FILTER_INVALID: wire(
    true,
    'never',
    'A clause of a filter is malformed or over a limit; the message names the clause.',
  ),
  PAYLOAD_INDEX_EXISTS: wire(
    true,
    'never',
    'The key has a payload index of another type; drop it first.',
  ),
  PAYLOAD_INDEX_LIMIT: wire(
    true,
    'never',
    'The collection has reached its limit of payload indexes; drop one first.',
  ),
  BATCH_TOO_LARGE: wire(true, 'never', 'The batch has too many points or bytes; split it.'),
  VERSION_CONFLICT: wire(
    true,
    'never',
    'A condition (ifVersion, ifAbsent) did not hold; nothing of the batch was written.',
  ),
  // sessions
  SESSION_EXPIRED: wire(
    false,
    'never',
    'The session is unknown or expired, so whether the write happened cannot be known; open a new session.',
  ),
  SESSION_WINDOW_FULL: wire(
    true,
    'backoff',
    'Too many results of this session are unacknowledged; acknowledge older ones first.',
  ),
  SESSION_LIMIT: wire(
    true,
    'backoff',
    'The cluster has reached its session limit; close sessions or wait until idle ones expire.',
  ),
  SEQUENCE_REUSED: wire(
    true,
    'never',
    'This sequence of the session was used for another request; use a new sequence.',
  ),
  // reads
  TOO_STALE: wire(
    true,
    'otherNode',
    'The replica is staler than the request allows; ask another node or allow more.',
  ),
  LEASE_DISABLED: wire(true, 'never', 'Lease reads are off for this cluster; use linearizable.'),
  SHARD_UNAVAILABLE: wire(
    true,
    'otherNode',
    'A shard of the collection cannot answer on this node; ask another node.',
  ),
  // members of the cluster
  NOT_MEMBER: wire(
    true,
    'otherNode',
    'This node was removed from the cluster, or waits to be added; use another node.',
  ),
  MEMBER_UNKNOWN: wire(
    true,
    'never',
    'No member, and no node that waits to join, has this name; see holdfast member list.',
  ),
  MEMBER_EXISTS: wire(
    true,
    'never',
    'A member with this name exists; choose another name, or replace the member.',
  ),
  MEMBER_UNREACHABLE: wire(
    true,
    'never',
    'The leader cannot reach the node at its address, or finds another one there; the message says why.',
  ),
  MEMBER_BEHIND: wire(
    true,
    'never',
    'The learner has not caught up; it is promoted by itself when it has, if it was added for that.',
  ),
  MEMBERSHIP_PENDING: wire(
    true,
    'backoff',
    'Another change of the membership is under way; retry when it is done.',
  ),
  MEMBERSHIP_INVALID: wire(
    true,
    'never',
    'The change makes no valid configuration; the message says why.',
  ),
  QUORUM_AT_RISK: wire(
    true,
    'never',
    'After the change the voters that answer could decide nothing; bring back or replace the silent ones first.',
  ),
  TRANSFER_FAILED: wire(
    true,
    'never',
    'The node did not take over the leadership in time; the leader goes on.',
  ),
  // client side only
  NO_NODE_REACHABLE: at(
    'client',
    true,
    'backoff',
    'None of the given nodes could be reached before the deadline.',
  ),
  CONNECTION_LOST: at(
    'client',
    false,
    'sameRequestId',
    'The connection broke while the request was under way.',
  ),
  ABORTED: at(
    'client',
    false,
    'sameRequestId',
    'The caller aborted the request; if it was already sent it may still take effect.',
  ),
  CLIENT_CLOSED: at('client', true, 'never', 'The client was closed.'),
  RESPONSE_MALFORMED: at(
    'client',
    false,
    'sameRequestId',
    'The server sent bytes that are not a response.',
  ),
  ARGUMENT_INVALID: at(
    'client',
    true,
    'never',
    'A call was made with an argument of the wrong shape.',
  ),
  CLUSTER_EPOCH_OLD: at(
    'client',
    true,
    'otherNode',
    'The node belongs to a cluster from before its recovery, whose members were given up; remove it from the list of nodes and stop it.',
  ),
  // between nodes
  PEER_UNAUTHENTICATED: at('peer', true, 'never', 'The peer does not know the cluster secret.'),
  PEER_WRONG_CLUSTER: at('peer', true, 'never', 'The peer belongs to another cluster.'),
  PEER_WRONG_INCARNATION: at(
    'peer',
    true,
    'never',
    'The peer has another incarnation than the configuration says; it was wiped or replaced.',
  ),
  PEER_WRONG_EPOCH: at(
    'peer',
    true,
    'never',
    'The peer is from before or after a recovery of the cluster that this node was not part of; the older one must be wiped and join again.',
  ),
  PEER_FRAME_CORRUPT: at(
    'peer',
    true,
    'backoff',
    'A peer frame failed its checksum and was dropped.',
  ),
  PEER_PROTOCOL: at('peer', true, 'never', 'The peer broke the protocol between nodes.'),
  ENTRY_MALFORMED: at('peer', true, 'never', 'The bytes are not a log entry.'),
  MESSAGE_MALFORMED: at('peer', true, 'never', 'The bytes are not a Raft message.'),
  // start-up
  CONFIG_INVALID: at(
    'startup',
    true,
    'never',
    'A configuration key or flag is unknown or has a bad value; the message names it.',
  ),
  ADDRESS_IN_USE: at(
    'startup',
    true,
    'never',
    'Another process listens on this address; stop it or choose another port.',
  ),
  BIND_REFUSED: at(
    'startup',
    true,
    'never',
    'Refusing to listen beyond loopback without an API key; set one or pass --allow-remote.',
  ),
  DATA_DIR_LOCKED: at(
    'startup',
    true,
    'never',
    'Another running process uses this data directory.',
  ),
  DATA_DIR_FOREIGN: at(
    'startup',
    true,
    'never',
    'The data directory belongs to another node or cluster.',
  ),
  DATA_DIR_EMPTY: at(
    'startup',
    true,
    'never',
    'The data directory was never formatted; run holdfast cluster init, or add the node as a new member.',
  ),
  RECOVERY_REFUSED: at(
    'startup',
    true,
    'never',
    'Recovering the cluster from a lost quorum is refused; the message says what speaks against it and what to do instead.',
  ),
  RECOVERY_UNFINISHED: at(
    'startup',
    true,
    'never',
    'A recovery or a restore was begun on this data directory and not finished; run it again (holdfast cluster recover --do, or the restore).',
  ),
  JOIN_FAILED: at(
    'startup',
    true,
    'never',
    'No node at the addresses given with --join let this node know its cluster; the message says why.',
  ),
  DISK_FULL: at('startup', true, 'backoff', 'The disk is full; free space and start again.'),
  // storage
  WAL_CORRUPT: at(
    'storage',
    true,
    'never',
    'A log record that may have been acknowledged is damaged; the message names file, offset and index.',
  ),
  REPAIR_REFUSED: at(
    'storage',
    true,
    'otherNode',
    'Entries from a peer do not fit the damaged part of the log; nothing was written, ask another peer.',
  ),
  ENTRY_LOST: at(
    'storage',
    true,
    'never',
    'Log entries that may have been acknowledged are damaged on so many members that nobody can restore them; restore a backup or run holdfast cluster recover.',
  ),
  NEW_LIFE_NEEDED: at(
    'storage',
    true,
    'otherNode',
    'What this node has cannot be made whole again, or differs from the majority; started again it puts it into quarantine and joins anew, as a new incarnation.',
  ),
  REPAIR_POSTPONED: at(
    'storage',
    true,
    'backoff',
    'A damaged file cannot be made whole just now, because the members that have it cannot be asked; it is tried again.',
  ),
  SEGMENT_LOST: at(
    'storage',
    true,
    'never',
    'Blocks of a segment are damaged in every copy of the cluster; the rows in them are never served. Restore a backup.',
  ),
  WAL_IO: at(
    'storage',
    false,
    'never',
    'Writing or syncing the log failed; the node stops, because after a failed sync nothing is retried.',
  ),
  SEGMENT_CORRUPT: at(
    'storage',
    true,
    'otherNode',
    'A segment file fails its checksum; it is not served.',
  ),
  CHECKPOINT_CORRUPT: at('storage', true, 'never', 'A checkpoint file fails its checksum.'),
  FILE_CORRUPT: at('storage', true, 'never', 'A file fails its checksum; the message names it.'),
  FILE_IO: at(
    'storage',
    false,
    'never',
    'The operating system refused a file operation; the message names file and cause.',
  ),
  GRAPH_CACHE_SKIPPED: at(
    'storage',
    true,
    'never',
    'A graph was not saved; nothing is lost, it is built again at the next start.',
  ),
  FORMAT_UNKNOWN: at(
    'storage',
    true,
    'never',
    'The file was written by a newer version of Holdfast; upgrade this node.',
  ),
  LOG_FORKED: at(
    'storage',
    false,
    'otherNode',
    'The leader contradicts the log of this node again and again, so it stopped; start it on an empty directory.',
  ),
  LOG_COMPACTED: at(
    'storage',
    true,
    'never',
    'The log entry was compacted away; a snapshot is needed.',
  ),
  // backup and archive
  SINK_UNAVAILABLE: at(
    'storage',
    false,
    'backoff',
    'The store of backups cannot be reached, or failed; it is tried again. The message names the store.',
  ),
  SINK_REFUSED: at(
    'storage',
    true,
    'never',
    'The store of backups refused the request (credentials, bucket, permission); mend its settings.',
  ),
  SINK_FULL: at('storage', false, 'backoff', 'The store of backups is full; free space there.'),
  BACKUP_NOT_FOUND: at(
    'storage',
    true,
    'never',
    'The store has no such backup or object; see holdfast backup list.',
  ),
  BACKUP_CORRUPT: at(
    'storage',
    true,
    'never',
    'An object of a backup or of the archive is damaged, missing or not the one that was written; the message names it. Nothing live was touched.',
  ),
  BACKUP_KEY_WRONG: at(
    'storage',
    true,
    'never',
    'The object is encrypted with a key that was not given; the message names its id.',
  ),
  BACKUP_ABORTED: at(
    'storage',
    true,
    'backoff',
    'The backup ended before its manifest was written, so there is none.',
  ),
  ARCHIVE_GAP: at(
    'storage',
    true,
    'never',
    'The archive of the log has a gap where it is needed; choose a target that the message names.',
  ),
  RESTORE_TARGET: at(
    'storage',
    true,
    'never',
    'No backup and log lead to this target; the message names what can be reached.',
  ),
} as const satisfies Record<string, ErrorCodeFacts>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface HoldfastErrorOptions {
  readonly cause?: unknown;
  /** Small and JSON-compatible: it travels over the wire. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Overrides the table downwards only: a definite code may be reported as indefinite. */
  readonly definite?: false;
}

/** The plain form that crosses threads and the wire. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly definite: boolean;
  readonly retry: RetryAdvice;
  readonly details: Readonly<Record<string, unknown>>;
}

export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly definite: boolean;
  readonly retry: RetryAdvice;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: HoldfastErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.definite = options.definite ?? ERROR_CODES[code].definite;
    this.retry = ERROR_CODES[code].retry;
    this.details = options.details ?? {};
  }

  toBody(): ErrorBody {
    const { code, message, definite, retry, details } = this;
    return { code, message, definite, retry, details };
  }

  static fromBody(body: ErrorBody, cause?: unknown): HoldfastError {
    return new HoldfastError(body.code, body.message, {
      details: body.details,
      ...(body.definite ? {} : { definite: false as const }),
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

export const isErrorCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(ERROR_CODES, value);

/** Anything thrown, as a HoldfastError: unknown errors become INTERNAL with the cause kept. */
export function toHoldfastError(thrown: unknown): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new HoldfastError('INTERNAL', message, { cause: thrown });
}
