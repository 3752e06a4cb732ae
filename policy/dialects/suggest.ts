/** The word of `known` that `written` was probably meant to be, or `undefined`. */
export function suggest(written: string, known: readonly string[]): string | undefined {
  const folded = written.toLowerCase()
  let best: string | undefined
  let bestDistance = Math.floor(written.length / 3) + 1
  for (const word of known) {
    const distance = editDistance(folded, word.toLowerCase())
    if (distance < bestDistance) {
      best = word
      bestDistance = distance
    }
  }
  return best
}

/** Insertions, deletions and substitutions between two words (Wagner–Fischer, one row). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substitute, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
