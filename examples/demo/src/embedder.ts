/**
 * Stands in for an embedding model, so that the demo needs neither network nor gigabytes.
 *
 * A text becomes the sum of its features, each hashed to one dimension and one sign ("feature
 * hashing", Weinberger et al. 2009): words, pairs of neighbouring words, and four-letter pieces of
 * words, which is why "validating" and "validation" come near each other. Rare features weigh more
 * (inverse document frequency over the corpus). It finds texts that use related words; it does not
 * understand them, as a model would. Same corpus and text, same vector, on every machine.
 */

/** Enough dimensions that two features rarely share one in a short text. */
export const EMBEDDING_DIMENSION = 768;

const WORD_WEIGHT = 1;
const WORD_PAIR_WEIGHT = 0.3;
const WORD_PIECE_WEIGHT = 0.06;
const PIECE_LENGTH = 4;
/** Longer "words" are hashes, paths or data. */
const WORD_LENGTH_MAX = 24;

/** Words that say nothing about the subject of a text. */
const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'a an and are as at be but by can do does for from has have how i if in into is it its my no ' +
    'not of on or so than that the their them then there these they this to up use used using ' +
    'was what when where which while who why will with you your'
  ).split(' '),
);

export class HashedEmbedder {
  /**
   * Feature to its weight in the corpus. A feature that no text has weighs nothing: all it could
   * match is another feature that happens to share its dimension.
   */
  readonly #weights: ReadonlyMap<string, number>;

  private constructor(weights: ReadonlyMap<string, number>) {
    this.#weights = weights;
  }

  /** Counts in how many texts each feature occurs. */
  static fit(texts: readonly string[]): HashedEmbedder {
    const textCounts = new Map<string, number>();
    for (const text of texts) {
      for (const feature of featuresOf(text).keys()) {
        textCounts.set(feature, (textCounts.get(feature) ?? 0) + 1);
      }
    }
    const weights = new Map<string, number>();
    for (const [feature, count] of textCounts) weights.set(feature, rarity(texts.length, count));
    return new HashedEmbedder(weights);
  }

  /** A vector of length 1; all zeros for a text without any word. */
  embed(text: string): Float32Array {
    const sums = new Float64Array(EMBEDDING_DIMENSION);
    for (const [feature, strength] of featuresOf(text)) {
      const hash = hashOf(feature);
      const position = (hash >>> 1) % EMBEDDING_DIMENSION;
      const value = Math.sqrt(strength) * (this.#weights.get(feature) ?? 0);
      sums[position] = (sums[position] ?? 0) + ((hash & 1) === 0 ? value : -value);
    }
    return normalized(sums);
  }
}

const rarity = (textCount: number, occurrenceCount: number): number =>
  Math.log((1 + textCount) / (1 + occurrenceCount)) ** 1.5;

/** Every feature with its summed weight. */
export function featuresOf(text: string): ReadonlyMap<string, number> {
  const features = new Map<string, number>();
  const count = (feature: string, weight: number) =>
    features.set(feature, (features.get(feature) ?? 0) + weight);
  let previous = '';
  for (const word of wordsOf(text)) {
    count(`w ${word}`, WORD_WEIGHT);
    if (previous !== '') count(`p ${previous} ${word}`, WORD_PAIR_WEIGHT);
    previous = word;
    for (let start = 0; start + PIECE_LENGTH <= word.length; start++) {
      count(`g ${word.slice(start, start + PIECE_LENGTH)}`, WORD_PIECE_WEIGHT);
    }
  }
  return features;
}

function wordsOf(text: string): readonly string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return words
    .filter((word) => !STOP_WORDS.has(word) && word.length > 1 && word.length <= WORD_LENGTH_MAX)
    .map(singularOf);
}

/** Just enough that a question in the plural finds a text in the singular. */
const singularOf = (word: string): string =>
  word.length > 3 && word.endsWith('s') && !word.endsWith('ss') ? word.slice(0, -1) : word;

/** FNV-1a with a final mix, so that the low bits are as good as the high ones. */
function hashOf(feature: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < feature.length; i++) {
    hash = Math.imul(hash ^ feature.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

function normalized(sums: Float64Array): Float32Array {
  const length = Math.sqrt(sums.reduce((total, value) => total + value * value, 0));
  return length === 0 ? new Float32Array(sums.length) : Float32Array.from(sums, (v) => v / length);
}
