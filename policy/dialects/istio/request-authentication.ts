/** RequestAuthentication (istio-semantics §3.1, §3.2). */
import { z } from 'zod'

import type { JwtRule } from '../../model/request-authentication.ts'
import { durationFault, isControl, parseDurationMs } from '../grammar.ts'
import { judged, partly } from '../carried-out.ts'
import { defineKind, type Kind, type Warning } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { fields, type Finding, type Report, text } from '../schema.ts'
import { readKeySet } from './key-set.ts'
import { matchLabelsSchema, selectorOf, warnEmptySelector } from './selector.ts'
import { checkAttachment, isTargeted, targetFields } from './target-ref.ts'

const DEFAULT_TIMEOUT_MS = 5000
const MAX_URI = 2048
const MAX_RULES = 4096
const MAX_SPLIT_CLAIMS = 64

const filled = z.string().min(1)

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/i

/** A name that no header can have: Istio takes it, and then every request that it would be put into is 503. */
function noField(name: string): readonly Finding[] {
  if (name === '' || TOKEN.test(name)) return []
  const message = `found ${JSON.stringify(name)}, which no header can be called: no mesh starts with it`
  return [{ path: [], message, hint: 'use letters, digits and dashes' }]
}

const uri = text(uriFault)

const jwtRule = fields(
  {
    issuer: filled.optional(),
    audiences: z.array(filled).optional(),
    jwksUri: uri.optional(),
    // The field's name of long ago.
    jwks_uri: uri.optional(),
    jwks: text(jwksFault).optional(),
    fromHeaders: z
      .array(fields({ name: judged(z.string().min(1), noField), prefix: z.string().optional() }))
      .optional(),
    fromParams: z.array(filled).optional(),
    fromCookies: z.array(filled).optional(),
    outputPayloadToHeader: partly(z.string(), noField),
    forwardOriginalToken: z.boolean().optional(),
    outputClaimToHeaders: z.array(fields({ header: text(headerFault), claim: filled })).optional(),
    timeout: text(durationFault).optional(),
    spaceDelimitedClaims: z.array(filled).max(MAX_SPLIT_CLAIMS).optional(),
    // Istio takes it and does nothing with it (§0.8.8).
    presence: z.enum(['OPTIONAL', 'REQUIRED']).optional(),
  },
  { check: (value, report) => checkRule(value, report) },
)

const spec = fields(
  {
    selector: matchLabelsSchema.optional(),
    ...targetFields,
    jwtRules: z.array(jwtRule).max(MAX_RULES).optional(),
  },
  { check: checkAttachment },
)

type Rule = z.output<typeof jwtRule>

function checkRule(value: Rule, report: Report): void {
  const { issuer, jwks } = value
  if (issuer === undefined && uriOf(value) === undefined) {
    report([], 'neither issuer nor jwksUri is set: expected at least one')
  }
  const keys = [jwks, value.jwksUri, value.jwks_uri].filter((one) => one !== undefined)
  if (keys.length > 1) report([], 'more than one of jwks, jwksUri and jwks_uri is set')
}

function uriOf(value: Rule): string | undefined {
  return value.jwksUri ?? value.jwks_uri
}

/** As Go's `net/url` reads it: an escape is two digits, a port is digits, a host has no spaces. */
function uriFault(written: string): string | undefined {
  const wrong = `found ${JSON.stringify(written)}, expected a URL that begins with http:// or https://`
  if (written.length > MAX_URI) return `it is longer than ${MAX_URI} characters`
  const [, rest] = /^https?:(.*)$/is.exec(written) ?? []
  if (rest === undefined) return wrong
  if (Array.from(written).some(isControl)) return `${wrong}: it has a control character`
  const [, authority = ''] = /^\/\/([^/?#]*)/.exec(rest) ?? []
  const host = authority.slice(authority.lastIndexOf('@') + 1)
  if (/[ <>"%^`{|}\\]/.test(host)) return `${wrong}: its host is not one`
  if (!/^(\[[^\]]*\]|[^:[\]]*)(:\d*)?$/.test(host)) return `${wrong}: its port is not a number`
  const path = rest.slice(authority.length).split('?')[0] ?? ''
  return /%(?![0-9A-Fa-f]{2})/.test(path) ? `${wrong}: it has a broken escape` : undefined
}

function jwksFault(written: string): string | undefined {
  const read = written === '' ? undefined : readKeySet(written)
  return read?.kind === 'refused' ? read.why : undefined
}

function headerFault(name: string): string | undefined {
  return /^[-_A-Za-z0-9]+$/.test(name)
    ? undefined
    : `found ${JSON.stringify(name)}, expected a header name of letters, digits, - and _`
}

export const requestAuthenticationKind: Kind = defineKind({
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  kind: 'RequestAuthentication',
  spec: spec.optional(),
  warn: ({ spec: written = {} }) => [
    ...warnEmptySelector(written.selector),
    ...(written.jwtRules ?? []).flatMap(warnRule),
  ],
  place: ({ metadata, spec: written = {} }) => {
    const selector = selectorOf(written.selector)
    return {
      into: 'requestAuthentications',
      value: {
        ...refOf(metadata),
        ...(selector ? { selector } : {}),
        targeted: isTargeted(written),
        jwtRules: (written.jwtRules ?? []).map(readRule),
      },
    }
  },
})

function warnRule({ jwks, presence }: Rule, index: number): readonly Warning[] {
  const path = ['spec', 'jwtRules', index]
  const read = jwks ? readKeySet(jwks) : undefined
  const secret = read?.kind === 'ok' && read.hasPrivateKeys
  return [
    ...(secret
      ? [{ path: [...path, 'jwks'], message: 'it holds a private key: a key set is for everybody' }]
      : []),
    ...(presence
      ? [{ path: [...path, 'presence'], message: 'it has no effect: demand a token by policy' }]
      : []),
  ]
}

function readRule(value: Rule): JwtRule {
  const { issuer, jwks, outputPayloadToHeader, timeout } = value
  const jwksUri = uriOf(value)
  return {
    ...(issuer ? { issuer } : {}),
    audiences: value.audiences ?? [],
    ...(jwksUri ? { jwksUri } : {}),
    ...(jwks ? { jwks } : {}),
    fromHeaders: (value.fromHeaders ?? []).map(({ name, prefix = '' }) => ({ name, prefix })),
    fromParams: value.fromParams ?? [],
    fromCookies: value.fromCookies ?? [],
    ...(outputPayloadToHeader ? { outputPayloadToHeader } : {}),
    forwardOriginalToken: value.forwardOriginalToken ?? false,
    outputClaimToHeaders: value.outputClaimToHeaders ?? [],
    timeoutMs: (timeout && parseDurationMs(timeout)) || DEFAULT_TIMEOUT_MS,
    spaceDelimitedClaims: value.spaceDelimitedClaims ?? [],
  }
}
