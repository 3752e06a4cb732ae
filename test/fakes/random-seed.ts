/**
 * What random tests begin with: `REDOUBT_SEED`, so that a run can be had again with all of its draws, or
 * else another number each time. `ava` loads this before the tests: what fast-check draws follows it, too.
 */
import { randomInt } from 'node:crypto'

const given = process.env['REDOUBT_SEED']

/** A whole number from 0 to 2³¹ − 1; the same one in the whole run if `REDOUBT_SEED` says which. */
export function randomSeed(): number {
  return given === undefined ? randomInt(2 ** 31) : Number(given)
}

// Most test files draw nothing: without a seed they are spared the loading.
if (given !== undefined) {
  const { configureGlobal } = await import('fast-check')
  configureGlobal({ seed: Number(given) })
}
