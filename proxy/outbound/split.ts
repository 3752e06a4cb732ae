/** Several things, each with its share of the requests. */
export interface Split<T> {
  /** Not empty. */
  readonly choices: readonly T[]
  /** Sums of the weights up to and with each choice. */
  readonly upTo: readonly number[]
  readonly total: number
}

/** @param weighted - not empty, weights at least 1 */
export function compileSplit<T>(
  weighted: readonly { readonly weight: number; readonly choice: T }[],
): Split<T> {
  let total = 0
  const upTo = weighted.map(({ weight }) => {
    total += weight
    return total
  })
  return { choices: weighted.map(({ choice }) => choice), upTo, total }
}

/**
 * The choice for one request.
 *
 * @param random - numbers in [0, 1); not drawn when there is one choice
 */
export function pickDestination<T>({ choices, upTo, total }: Split<T>, random: () => number): T {
  let index = 0
  if (choices.length > 1) {
    const at = random() * total
    while (index < choices.length - 1 && at >= (upTo[index] ?? total)) index += 1
  }
  // INVARIANT: there is a choice at every index below the length, and the length is at least 1.
  return choices[index] as T
}
