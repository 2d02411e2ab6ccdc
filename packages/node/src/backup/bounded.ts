/** Work on many items, a few at a time. */
import { assert } from '@holdfast/base';

/**
 * Runs `body` for every item in order, at most `concurrency` at a time. After the first failure no
 * other item is begun; it is thrown once those under way have ended, so nothing goes on behind the
 * caller's back.
 */
export async function forEachBounded<Item>(
  items: Iterable<Item>,
  concurrency: number,
  body: (item: Item) => Promise<void>,
): Promise<void> {
  assert(concurrency >= 1, 'somebody has to work', { concurrency });
  const iterator = items[Symbol.iterator]();
  let failure: { readonly error: unknown } | null = null;
  const work = async (): Promise<void> => {
    while (failure === null) {
      const next = iterator.next();
      if (next.done === true) return;
      try {
        await body(next.value);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  const first = failure as { readonly error: unknown } | null;
  if (first !== null) throw first.error;
}
