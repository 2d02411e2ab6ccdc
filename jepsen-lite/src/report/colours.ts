/**
 * Colours of nemeses. Told apart by people who do not see all colours (after Paul Tol's muted
 * scheme), and never the only sign: every band has its name. Red is for anomalies alone: in a bad
 * run it must be the one thing that is seen first. Pure.
 */
const PALETTE = [
  '#44aa99',
  '#882255',
  '#ddaa33',
  '#88ccee',
  '#999933',
  '#332288',
  '#117733',
  '#aa4499',
  '#777777',
] as const;

const HEX = /^#[0-9a-f]{6}$/i;

/** Brighter, and redder than everything else by this, it would be taken for an anomaly. */
const RED_MIN = 150;
const RED_RATIO_MIN = 1.6;

/** The colour that a nemesis ships, or one of ours if it is red or no colour. */
export function coloursOf(
  nemeses: readonly string[],
  given: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  return new Map(
    nemeses.map((name, position) => {
      const colour = given.get(name);
      const isFit = colour !== undefined && HEX.test(colour) && !isRed(colour);
      return [name, isFit ? colour : (PALETTE[position % PALETTE.length] ?? '#777777')];
    }),
  );
}

function isRed(hexColour: string): boolean {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) =>
    Number.parseInt(hexColour.slice(at, at + 2), 16),
  );
  return red >= RED_MIN && red > RED_RATIO_MIN * green && red > RED_RATIO_MIN * blue;
}
