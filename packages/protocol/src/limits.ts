/**
 * Every limit of the public protocol, with the reason for its value. Servers may grant less in the
 * welcome, never more: a client built against this file must be able to trust it.
 */

/** One frame. Holds the largest batch (8 MiB) and the largest answer with room to spare. */
export const FRAME_SIZE_BYTES_MAX = 16 * 1024 * 1024;
/** The hello is decoded before the key is checked, so it must be cheap to refuse. */
export const HELLO_FRAME_SIZE_BYTES_MAX = 4 * 1024;
/** Widest embedding in use is 4,096; four times that keeps one row below 64 KiB. */
export const DIMENSION_MAX = 16_384;
/** More shards than this only adds merge work on the few lanes a node has. */
export const SHARD_COUNT_MAX = 64;
/** Result sets beyond this are exports, not searches; ids and scores of so many fit a frame. */
export const SEARCH_K_MAX = 10_000;
/** A beam wider than this is slower than the exact scan. */
export const EF_MAX = 20_000;
/** Links per graph node; above 128 memory grows and recall does not. */
export const HNSW_M_MAX = 128;
/** One batch is one log entry: it must replicate within a heartbeat on a slow link. */
export const BATCH_POINT_COUNT_MAX = 1_000;
/** Bytes of vectors plus canonical payloads of one batch; half a frame. */
export const BATCH_SIZE_BYTES_MAX = 8 * 1024 * 1024;
export const GET_ID_COUNT_MAX = 1_000;
/** Objects and arrays inside each other, the payload itself being the first. */
export const PAYLOAD_DEPTH_MAX = 16;
/** Canonical JSON bytes of one payload: metadata, not documents. */
export const PAYLOAD_SIZE_BYTES_MAX = 64 * 1024;
/** Results the session table keeps per session above `ackedThrough`. */
export const SESSION_WINDOW_MAX = 1_024;
/** Requests one connection may have under way unless the welcome says otherwise. */
export const INFLIGHT_REQUEST_COUNT_DEFAULT = 256;
/** Ten minutes: longer waits are jobs, not requests. */
export const REQUEST_TIMEOUT_MS_MAX = 600_000;
export const REQUEST_TIMEOUT_MS_DEFAULT = 10_000;
/** A day: whoever accepts staler data does not care about staleness. */
export const STALENESS_MS_MAX = 86_400_000;
/** What a `stale` read without `maxStalenessMs` accepts. */
export const STALENESS_MS_DEFAULT = 10_000;
export const API_KEY_LENGTH_MAX = 256;
/** Free text for the server's log, for example `holdfast-js/0.1.0`. */
export const CLIENT_NAME_LENGTH_MAX = 128;
/** `host:port`; a DNS name has at most 253 characters. */
export const ADDRESS_LENGTH_MAX = 300;
/** Versions a client offers; more is noise. */
export const PROTOCOL_VERSION_COUNT_MAX = 16;

export const COLLECTION_NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$/;
