/** One place where a file is not what it must be. Found by verification, never repaired here. */
export interface Damage {
  readonly file: string;
  /** Byte offset of the damaged part; null when it is the whole file. */
  readonly offset: number | null;
  readonly what: string;
  /**
   * `damage`: bytes that were promised are wrong or missing. `tornTail`: the unfinished end of the
   * log after a crash, dropped by the next start. `leftover`: harmless rest of a crash. `mended`:
   * wrong bytes whose content stands elsewhere (a copy, a repair), so that nothing is missing.
   */
  readonly severity: 'damage' | 'tornTail' | 'leftover' | 'mended';
}
