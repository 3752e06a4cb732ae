const UNITS: readonly (readonly [name: string, seconds: number])[] = [
  ['year', 31_557_600],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
]

/** `seconds` in its two largest units, e.g. `2 hours 5 minutes`. */
export function inWords(seconds: number): string {
  const first = UNITS.findIndex(([, size]) => seconds >= size)
  if (first === -1) return '0 seconds'
  let rest = Math.floor(seconds)
  const parts = UNITS.slice(first, first + 2).flatMap(([name, size]) => {
    const count = Math.floor(rest / size)
    rest -= count * size
    return count > 0 ? [`${count} ${name}${count === 1 ? '' : 's'}`] : []
  })
  return parts.join(' ')
}

/** Control characters, and whatever a terminal could take for a command, as `\xNN`. */
export function visible(text: string): string {
  return text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
