import type { Claims } from '../model/index.ts'
import { compileText, isNotEmpty, type TextTest } from './text.ts'

/** Answers for a token's claims; `undefined` is a request without a verified token and meets nothing. */
export type ClaimsTest = (claims: Claims | undefined) => boolean

/** A claim by the names that lead to it, one object deeper each (§1.7); string, or a list in which one string meets it. */
export function compileClaim(path: readonly string[], matches: TextTest): ClaimsTest {
  return (claims) => {
    const value = claimAt(claims, path)
    if (typeof value === 'string') return matches(value)
    return Array.isArray(value) && value.some((one) => typeof one === 'string' && matches(one))
  }
}

/** The value that `path` leads to, or `undefined`. Only a claim's own members count, never what an object inherits. */
export function claimAt(claims: Claims | undefined, path: readonly string[]): unknown {
  let value: unknown = claims
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    if (!Object.hasOwn(value, name)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[name]
  }
  return value
}

/** `requestPrincipals`: `iss` and `sub` by the table of §1.5. The last slash divides, for issuers are URLs. */
export function compileRequestPrincipal(written: string): ClaimsTest {
  const { issuer, subject } = requestPrincipalTests(written)
  const issuerMeets = compileClaim(['iss'], issuer)
  const subjectMeets = compileClaim(['sub'], subject)
  return (claims) => issuerMeets(claims) && subjectMeets(claims)
}

function requestPrincipalTests(written: string): { issuer: TextTest; subject: TextTest } {
  const slash = written.lastIndexOf('/')
  const issuer = slash === -1 ? written : written.slice(0, slash)
  const subject = slash === -1 ? '' : written.slice(slash + 1)
  const is =
    (wanted: string): TextTest =>
    (text) =>
      text === wanted
  if (written === '*') return { issuer: isNotEmpty, subject: isNotEmpty }
  if (written.startsWith('*')) {
    return slash === -1
      ? { issuer: isNotEmpty, subject: compileText(written) }
      : { issuer: compileText(`*${issuer.slice(1)}`), subject: is(subject) }
  }
  if (written.endsWith('*')) {
    return slash === -1
      ? { issuer: compileText(written), subject: isNotEmpty }
      : { issuer: is(issuer), subject: startsWithText(subject.slice(0, -1)) }
  }
  return { issuer: is(issuer), subject: is(subject) }
}

/** Prefix; of nothing: not empty. A star at its front is literal. */
function startsWithText(prefix: string): TextTest {
  return prefix === '' ? isNotEmpty : (text) => text.startsWith(prefix)
}
