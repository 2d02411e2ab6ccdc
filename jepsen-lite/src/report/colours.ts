/**
 * Colours of nemeses. Told apart by people who do not see all colours (after Paul Tol's muted
 * scheme), and never the only sign: every band has its name. Pure.
 */
const PALETTE = [
  '#44aa99',
  '#882255',
  '#ddaa33',
  '#88ccee',
  '#999933',
  '#332288',
  '#cc6677',
  '#117733',
  '#aa4499',
  '#777777',
] as const;

const HEX = /^#[0-9a-f]{6}$/i;

/** The colour that a nemesis ships, or one of ours; a value that is no colour is not used. */
export function coloursOf(
  nemeses: readonly string[],
  given: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  return new Map(
    nemeses.map((name, position) => {
      const colour = given.get(name);
      const isColour = colour !== undefined && HEX.test(colour);
      return [name, isColour ? colour : (PALETTE[position % PALETTE.length] ?? '#777777')];
    }),
  );
}
