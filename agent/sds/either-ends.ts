/** Resolves when one of two ends, rejects when one fails; the other is left to its signal. */
export async function eitherEnds(a: Promise<void>, b: Promise<void>): Promise<void> {
  // What the other one fails with later has nobody to tell.
  for (const each of [a, b]) each.catch(() => {})
  await Promise.race([a, b])
}
