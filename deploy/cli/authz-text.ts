/** Answers of `authz check` and `authz explain` for people. */
import type { CheckExplanation, CheckReason, CheckResult } from '#policy/index.ts'
import type { ExitCode, Io } from './command.ts'
import { paint } from './output.ts'

const EXIT: Readonly<Record<CheckResult['decision'], ExitCode>> = { allow: 0, deny: 1, error: 2 }

/** 0 allow, 1 deny, 2 could not be decided. */
export function exitCodeOf({ decision }: CheckResult): ExitCode {
  return EXIT[decision]
}

/** The answer and why, in two to four lines. */
export function resultLines(io: Io, result: CheckResult): readonly string[] {
  const { decision, status, grpcStatus, normalizedPath, mtlsMode, dryRun, audit } = result
  const styles = { allow: 'green', deny: 'red', error: 'yellow' } as const
  const codes = [status ?? '', grpcStatus === undefined ? '' : `grpc-status ${grpcStatus}`]
  const head = [paint(io, [styles[decision], 'bold'], decision), ...codes].filter(Boolean).join(' ')
  const facts = [`mTLS ${mtlsMode}`, ...(normalizedPath === null ? [] : [`path ${normalizedPath}`])]
  const isNowhere = result.reason === 'unknown-workload'
  return [
    `${head}  ${reasonOf(result)}`,
    ...(isNowhere ? [] : [paint(io, 'dim', `  ${facts.join('  ')}`)]),
    ...dryRun.map(
      ({ policy, action, result: would }) => `  dry run: ${action} ${policy} would be ${would}`,
    ),
    ...audit.map((policy) => `  audit: ${policy} matched`),
  ]
}

/** Every rule of every policy, and the first field that missed, with both values. */
export function explanationLines(io: Io, { policies }: CheckExplanation): readonly string[] {
  return policies.flatMap(({ policy, action, dryRun, matched, rules }) => [
    `${paint(io, 'bold', `${action} ${policy}`)}${dryRun ? ' (dry run)' : ''}${matched ? '' : '  no rule matched'}`,
    ...(rules.length === 0 ? ['  has no rules and matches nothing'] : []),
    ...rules.map(({ rule, miss }) => {
      if (miss === null) return `  ${paint(io, 'green', `rule ${rule} matched`)}`
      const why = { unmatched: '', 'http-only': ', HTTP only', unreadable: ', unreadable' }[
        miss.reason
      ]
      return `  rule ${rule} missed at ${miss.field}${why}: wanted ${listed(miss.wanted)}, had ${listed(miss.actual)}`
    }),
  ])
}

/** What a sidecar or its access log tells of a denial, a fact a line; what it has nothing to say of is left out. */
export function denialLines(denial: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(denial)
    .filter(([, value]) => value !== null && value !== '' && value !== undefined)
    .map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
}

function listed(values: readonly string[]): string {
  return values.length === 0 ? 'nothing' : values.map((value) => JSON.stringify(value)).join(', ')
}

function choicesOf(names: readonly string[]): string {
  if (names.length === 0) return ', nor any other'
  return names.length === 1 ? `; did you mean ${names[0]}?` : `; they have ${names.join(', ')}`
}

/** Why, as a sentence. */
export function reasonOf(result: CheckResult): string {
  const { policy, rule, action, reason, considered = [], choices = [], detail = '' } = result
  const by = `${action} policy ${policy}, rule ${rule}`
  const sentences: Readonly<Record<CheckReason, string>> = {
    'allowed-by-policy': `by ${by}`,
    'no-policy-applies': 'no ALLOW policy applies to the workload',
    'no-sidecar': 'the workload has no sidecar: nothing is enforced',
    'denied-by-policy': `by ${by}`,
    'no-allow-matched': `no ALLOW policy matched; those that apply: ${considered.join(', ')}`,
    'custom-provider-unavailable': `by ${by}: its provider does not exist`,
    'evaluation-failed': 'a rule could not be evaluated',
    'ambiguous-path': 'servers differ on what the path names, and a path rule applies',
    'token-refused': `the token was refused: ${detail}`,
    'needs-keys': 'the token’s keys are at a URI: give --fetch to ask for them',
    'provider-failed': `the provider of ${by} could not be asked`,
    'denied-by-provider': `the provider of ${by} said no`,
    'mtls-required': 'the caller presented no certificate, and the port requires mTLS',
    'mtls-disabled': 'the caller speaks mTLS, and the port takes plaintext only',
    'untrusted-domain': "the caller's trust domain is neither the mesh's nor an alias",
    'not-http': 'the port takes HTTP, and what comes is none',
    'not-a-path': 'the target is no path: it does not begin with a slash',
    'forbidden-character': 'the target has a character that must be escaped',
    'escaped-nul': 'the path has an escaped NUL',
    'unknown-method': 'the method is unknown or not in upper case',
    'missing-content-type': 'QUERY needs a content-type',
    'invalid-header': 'a header has a name or value that HTTP forbids',
    'no-resource': 'OPTIONS * names no resource',
    'needs-provider': `${by} asks provider ${choices.join()}: give --provider ${choices.join()}=allow or =deny`,
    'unknown-workload': `the manifests have no such workload${choicesOf(choices)}`,
    'port-needed': `the workload has several ports, give one: ${choices.join(', ')}`,
  }
  return sentences[reason]
}
