/**
 * How a link between two nodes, or between clients and a node, behaves. A mode applies to open
 * connections too, from the next byte on.
 */

export type ProxyMode =
  | { readonly kind: 'pass' }
  /** Open connections are reset, new ones too. */
  | { readonly kind: 'cut' }
  /** Every byte waits, in both directions, in order. */
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** Requests arrive, answers vanish; the connection looks alive. */
  | { readonly kind: 'dropReplies' }
  /** Requests vanish, answers to what came before arrive; the connection looks alive. */
  | { readonly kind: 'dropRequests' }
  /**
   * Nothing passes either way, and nobody is told: what a cut cable looks like. Connections that
   * lost bytes are reset when the mode changes.
   */
  | { readonly kind: 'silence' }
  /** A bad line. */
  | { readonly kind: 'shape'; readonly shape: LinkShape };

/** Chances are per piece of bytes that was read at once, or per frame; from 0 to 1. */
export interface LinkShape {
  readonly delayMs: number;
  /** Up to so much more, drawn for every piece; order is kept. */
  readonly jitterMs: number;
  /** Of one connection in one direction; null: no limit. */
  readonly bytesPerSecondMax: number | null;
  /** The connection is reset. */
  readonly resetChance: number;
  /**
   * One bit of a frame is flipped, on its way to whom was dialled; of any piece where the proxy
   * does not know frames.
   */
  readonly corruptChance: number;
  /** A whole frame of before is sent once more. Only where the proxy knows frames. */
  readonly replayChance: number;
}

export const PERFECT_LINE: LinkShape = {
  delayMs: 0,
  jitterMs: 0,
  bytesPerSecondMax: null,
  resetChance: 0,
  corruptChance: 0,
  replayChance: 0,
};

export const shaped = (shape: Partial<LinkShape>): ProxyMode => ({
  kind: 'shape',
  shape: { ...PERFECT_LINE, ...shape },
});
