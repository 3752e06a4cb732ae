/**
 * Which texts an attribute can have at all: what normalisation leaves of a path, what HTTP allows in a
 * header line, what identities the mesh's CA issues. A policy is compared over these and no others.
 */
import type { TrustDomain } from '#ca/spiffe/index.ts'
import type { PathNormalization } from '../model/index.ts'

/** A language, read character by character. A state is a text; two of one state go on alike. */
export interface Grammar {
  /** Where texts may begin, and what they begin with. */
  readonly starts: readonly { readonly text: string; readonly state: string }[]
  /** `undefined`: no text goes on so. */
  readonly step: (state: string, char: string) => string | undefined
  readonly ends: (state: string) => boolean
  /** Characters that texts are made of beside those that policies name; plain ones first. */
  readonly fresh: string
  /** Characters always tried: those that change how a text is read. */
  readonly structural: string
}

const PLAIN = 'xyzwvutsrqponmlkjihgfedcbaXYZWVUTSRQPONMLKJIHGFEDCBA0123456789'

/** Any text of characters that `allowed` takes. */
export function textGrammar(
  allowed: (char: string) => boolean,
  { empty = true }: { readonly empty?: boolean } = {},
): Grammar {
  return {
    starts: [{ text: '', state: 'first' }],
    step: (_state, char) => (allowed(char) ? 'rest' : undefined),
    ends: (state) => empty || state === 'rest',
    fresh: PLAIN,
    structural: '',
  }
}

/** A header's value (RFC 9110 §5.5): no whitespace at its ends, which no parser leaves there. */
export const HEADER_VALUE: Grammar = {
  starts: [{ text: '', state: 'end' }],
  step: (state, char) => {
    if (char === ' ' || char === '\t') return state === 'end' ? undefined : 'space'
    return /[\x21-\x7e\x80-\xff]/.test(char) ? 'text' : undefined
  },
  ends: (state) => state !== 'space',
  fresh: PLAIN,
  structural: '',
}

/** A host with its port, as it stands in `Host` or `:authority`. */
export const AUTHORITY: Grammar = textGrammar((char) => /[\x21-\x7e]/.test(char))

/** A server name, which is compared in lower case. */
export const SERVER_NAME: Grammar = textGrammar((char) => /[\x21-\x40\x5b-\x7e]/.test(char), {
  empty: false,
})

/** A string in a token. */
export const CLAIM_TEXT: Grammar = textGrammar(() => true)

/** `spiffe://<trust domain>/ns/<namespace>/sa/<account>`: what the CA of a mesh issues (design.md §2). */
export function identityGrammar(trustDomains: readonly TrustDomain[]): Grammar {
  const isName = (char: string): boolean => /[A-Za-z0-9._-]/.test(char)
  const bridge = '/sa/'
  return {
    starts: trustDomains.map((domain) => ({ text: `spiffe://${domain}/ns/`, state: 'n0' })),
    step: (state, char) => {
      if (state === 'n0' || state === 'a0')
        return isName(char) && char !== '.' ? state[0] : undefined
      if (state === 'a') return isName(char) ? 'a' : undefined
      if (state === 'n') return char === '/' ? '1' : isName(char) ? 'n' : undefined
      if (char !== bridge[Number(state)]) return undefined
      return state === '3' ? 'a0' : String(Number(state) + 1)
    },
    ends: (state) => state === 'a',
    fresh: PLAIN,
    structural: '/sa',
  }
}

/**
 * Paths as `normalizePath` leaves them: those that it does not change.
 *
 * @param parameters - whether `;` is told apart, as a path rule does
 */
export function pathGrammar(mode: PathNormalization, parameters: boolean): Grammar {
  return {
    starts: [{ text: '/', state: writePath(START) }],
    step: (state, char) => {
      const next = stepPath(readPath(state), char, mode)
      return next && writePath(next)
    },
    ends: (state) => endsPath(readPath(state), mode),
    fresh: `${PLAIN}-_~!$&'()*+,:@=[]`,
    structural: parameters ? '/;.' : '/',
  }
}

/** How far a path is read. */
interface PathState {
  /** Of this segment: nothing, one dot, two, or more. */
  readonly segment: '' | '.' | '..' | 'x'
  /** What stands since the last `%`: nothing, the sign, the sign and a digit. */
  readonly percent: string
  /** Slashes alone so far: 1, 2; 0 when there was something else. */
  readonly slashes: number
  readonly inParameters: boolean
  readonly ambiguous: boolean
}

const START: PathState = {
  segment: '',
  percent: '',
  slashes: 1,
  inParameters: false,
  ambiguous: false,
}

function writePath({ segment, percent, slashes, inParameters, ambiguous }: PathState): string {
  return [segment, percent, slashes, inParameters ? 'p' : '', ambiguous ? 'a' : ''].join('|')
}

function readPath(state: string): PathState {
  const [segment = '', percent = '', slashes = '', inParameters = '', ambiguous = ''] =
    state.split('|')
  return {
    segment: segment as PathState['segment'],
    percent,
    slashes: Number(slashes),
    inParameters: inParameters === 'p',
    ambiguous: ambiguous === 'a',
  }
}

/** Whether a path in this state has a `;` that is not closed, and whether it is one servers read differently. */
export function parametersOf(state: string): Pick<PathState, 'inParameters' | 'ambiguous'> {
  return readPath(state)
}

const RAW = /[\x21-\x7e]/
const CHANGED = /["<>\\^`{|}]/

function stepPath(state: PathState, char: string, mode: PathNormalization): PathState | undefined {
  if (!RAW.test(char) || char === '?' || char === '#') return undefined
  if (mode !== 'NONE' && CHANGED.test(char)) return undefined
  const percent = stepEscape(state.percent, char, mode)
  if (percent === undefined || (merges(mode) && state.slashes === 2)) return undefined
  const dots = state.segment === '.' || state.segment === '..'
  if (char === '/') return endSegment(state, dots, mode)
  if (char === ';') {
    const ambiguous = state.ambiguous || dots
    return { segment: 'x', percent, slashes: 0, inParameters: true, ambiguous }
  }
  const dotted = char === '.' && state.segment !== 'x' && state.segment !== '..'
  const segment = dotted ? (state.segment === '' ? '.' : '..') : 'x'
  return { ...state, segment, percent, slashes: 0 }
}

function endSegment(
  state: PathState,
  dots: boolean,
  mode: PathNormalization,
): PathState | undefined {
  const { segment, slashes, ambiguous } = state
  if (mode !== 'NONE' && dots) return undefined
  // Of slashes alone two remain, and nothing after them.
  if (merges(mode) && segment === '' && slashes !== 1) return undefined
  const alone = segment === '' && slashes > 0 ? Math.min(slashes + 1, 2) : 0
  return { segment: '', percent: '', slashes: alone, inParameters: false, ambiguous }
}

function merges(mode: PathNormalization): boolean {
  return mode === 'MERGE_SLASHES' || mode === 'DECODE_AND_MERGE_SLASHES'
}

function stepEscape(percent: string, char: string, mode: PathNormalization): string | undefined {
  if (mode === 'NONE') return ''
  const isHex = /[0-9A-Fa-f]/.test(char)
  if (percent.length === 2 && isHex) {
    const code = Number.parseInt(percent[1] + char, 16)
    const decoded = String.fromCharCode(code)
    const slash = mode === 'DECODE_AND_MERGE_SLASHES' && /[/\\]/.test(decoded)
    return code === 0 || slash || /[A-Za-z0-9\-._~]/.test(decoded) ? undefined : ''
  }
  if (char === '%') return '%'
  return percent === '%' && isHex ? `%${char}` : ''
}

function endsPath({ segment }: PathState, mode: PathNormalization): boolean {
  if (mode === 'NONE') return true
  return segment !== '.' && segment !== '..'
}
