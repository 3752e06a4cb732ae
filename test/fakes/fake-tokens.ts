/** Tokens for tests: made by hand with `node:crypto`, so that broken ones are as easy as good ones. */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

import type { TokenRule } from '#policy/model/index.ts'

export interface TokenParts {
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
  /** Text instead of `claims`. */
  readonly payload?: string
  readonly headerText?: string
  readonly key?: KeyObject | string
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })

export const rsaKey: KeyObject = rsa.privateKey
export const ecKey: KeyObject = ec.privateKey
export const strangerKey: KeyObject = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
export const rsaPublicPem: string = rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string

export const rsaJwk: Readonly<Record<string, unknown>> = {
  ...rsa.publicKey.export({ format: 'jwk' }),
  kid: 'k1',
}
export const ecJwk: Readonly<Record<string, unknown>> = {
  ...ec.publicKey.export({ format: 'jwk' }),
  kid: 'k2',
  alg: 'ES256',
}
export const JWKS: string = JSON.stringify({ keys: [rsaJwk, ecJwk] })

/** Takes tokens of {@link makeToken} for the audience `web`, and says to the app whose they are. */
export const TOKEN_RULE: TokenRule = {
  issuer: 'iss',
  audiences: ['web'],
  keys: { kind: 'inline', jwks: JWKS },
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  forwardOriginalToken: false,
  outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
  spaceDelimitedClaims: [],
}

const base64url = (text: string) => Buffer.from(text, 'utf8').toString('base64url')

/** A token; RS256 by `k1` unless told otherwise. */
export function makeToken(parts: TokenParts = {}): string {
  const { claims = { iss: 'iss', sub: 'u' }, header = {}, key = rsaKey } = parts
  const fields = { alg: 'RS256', kid: 'k1', ...header }
  const head = base64url(parts.headerText ?? JSON.stringify(fields))
  const input = `${head}.${base64url(parts.payload ?? JSON.stringify(claims))}`
  const signature =
    typeof key === 'string'
      ? createHmac('sha256', key).update(input).digest()
      : key.asymmetricKeyType === 'ec'
        ? sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
        : sign('sha256', Buffer.from(input), key)
  return `${input}.${signature.toString('base64url')}`
}
