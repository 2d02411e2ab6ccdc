declare const brand: unique symbol;

/**
 * A `Base` that never mixes with a plain `Base` nor with another brand. Costs nothing at run time.
 */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };
