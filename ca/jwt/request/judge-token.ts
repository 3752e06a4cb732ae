/** What one token is worth to one rule (istio-semantics §3.3, §0.8.24). */
import { LRUCache } from 'lru-cache'
import { readKeySet, type VerificationKey } from './key-set.ts'
import { parseToken, type TokenReading, type UnverifiedToken } from './parse-token.ts'
import type { TokenRefusal } from './refusal.ts'
import type { TokenRule } from './token-rule.ts'
import { verifySignature } from './verify-token.ts'

/** Seconds that clocks may differ, as Envoy has it. */
const CLOCK_SKEW_S = 60
/** Verified tokens remembered for each rule, and the characters of one beyond which it is not. */
const MAX_REMEMBERED = 1000
const MAX_REMEMBERED_LENGTH = 4096

/** One rule, its keys, and the tokens that they have verified. */
export interface Issuer {
  readonly rule: TokenRule
  /** Is told when a token names a key that is not there. */
  readonly onUnknownKey: () => void
  readonly keys: readonly VerificationKey[]
  readonly verified: LRUCache<string, true>
}

export function createIssuer(rule: TokenRule, onUnknownKey: () => void): Issuer {
  const verified = new LRUCache<string, true>({ max: MAX_REMEMBERED })
  return { rule, onUnknownKey, keys: readKeySet(rule.keys), verified }
}

/** What is known of the tokens of one request. */
export interface Moment {
  readonly nowSeconds: number
  readonly read: (text: string) => TokenReading
  /** Signatures that were found to be none: a rule may be asked again. */
  readonly wrong: WrongSignature[]
}

interface WrongSignature {
  readonly issuer: Issuer
  readonly text: string
  readonly reason: TokenRefusal
}

export function openMoment(nowSeconds: number): Moment {
  return { nowSeconds, read: readOnce(), wrong: [] }
}

/** Reads each token once: several rules may look in the same place. */
function readOnce(): (text: string) => TokenReading {
  const readings = new Map<string, TokenReading>()
  return (text) => {
    const reading = readings.get(text) ?? parseToken(text)
    readings.set(text, reading)
    return reading
  }
}

/** Whether `issuer` vouches for a token. A promise only when its signature has to be verified. */
export function judgeToken(
  { nowSeconds, read, wrong }: Moment,
  issuer: Issuer,
  text: string,
): TokenReading | Promise<TokenReading> {
  const { rule, keys, verified } = issuer
  const reading = read(text)
  if (reading.kind === 'refused') return reading
  const { token } = reading
  const known = wrong.find((one) => one.issuer === issuer && one.text === text)?.reason
  const fault = faultOf(rule, token, nowSeconds) ?? known
  if (fault !== undefined) return { kind: 'refused', reason: fault }
  if (verified.has(text)) return reading
  return verifySignature(token, keys).then((reason): TokenReading => {
    if (reason !== undefined) {
      if (reason === 'no-key') issuer.onUnknownKey()
      wrong.push({ issuer, text, reason })
      return { kind: 'refused', reason }
    }
    if (text.length <= MAX_REMEMBERED_LENGTH) verified.set(text, true)
    return reading
  })
}

/** Issuer, then time, then audience, before any signature: in Envoy's order. */
function faultOf(
  rule: TokenRule,
  token: UnverifiedToken,
  nowSeconds: number,
): TokenRefusal | undefined {
  const { issuer, audiences, notBefore, expiresAt } = token
  if (rule.issuer !== undefined && rule.issuer !== issuer) return 'issuer-unknown'
  if (notBefore > nowSeconds + CLOCK_SKEW_S) return 'not-yet-valid'
  if (expiresAt !== 0 && nowSeconds > expiresAt + CLOCK_SKEW_S) return 'expired'
  if (rule.audiences !== undefined) {
    const wanted = rule.audiences.map(audienceName)
    if (!audiences.some((one) => wanted.includes(audienceName(one)))) return 'audience-refused'
  }
  return rule.keys.kind === 'missing' ? 'keys-missing' : undefined
}

/** A scheme in front and one slash behind do not count. */
function audienceName(audience: string): string {
  return audience.replace(/^https?:\/\//, '').replace(/\/$/, '')
}
