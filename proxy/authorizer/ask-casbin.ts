/** An operator's own Casbin model and lines: decided here, at once, and asked like any other provider. */
import { compileOperatorPolicy, type OperatorDecide } from '#policy/casbin/operator/index.ts'
import { type CasbinDecider, PolicyError } from '#policy/model/index.ts'
import { RequestAttributes } from '../inbound/attributes.ts'
import { type AskedProvider, NO_CHANGES, type Question, type Verdict } from './question.ts'

const DENIED: Verdict = { kind: 'deny', status: 403, headers: [], body: 'RBAC: access denied' }

/** @throws {PolicyError} `POLICY_RULE_INVALID` for a model or lines that cannot be evaluated */
export function compileCasbin(settings: CasbinDecider): AskedProvider {
  const { fault } = settings
  if (fault !== undefined) {
    throw new PolicyError('POLICY_RULE_INVALID', `Cannot compile a CasbinPolicy: ${fault}`)
  }
  let nowMs = (): number => 0
  const decide = compileOperatorPolicy(settings, () => nowMs())
  return {
    failOpen: false,
    statusOnError: 403,
    body: undefined,
    ask(question, { clock }, done) {
      let isGivenUp = false
      nowMs = () => clock.nowMs()
      queueMicrotask(() => {
        if (!isGivenUp) done(verdictOf(decide, question))
      })
      return () => {
        isGivenUp = true
      }
    },
  }
}

function verdictOf(decide: OperatorDecide, { connection, http }: Question): Verdict {
  try {
    const { allowed } = decide({
      connection,
      http: http && attributesOf(http, connection),
    })
    return allowed ? { kind: 'allow', changes: NO_CHANGES } : DENIED
  } catch (cause) {
    // What cannot be decided is no permission.
    return { kind: 'failed', detail: cause instanceof Error ? cause.message : String(cause) }
  }
}

function attributesOf(
  { head, path }: NonNullable<Question['http']>,
  connection: Question['connection'],
): RequestAttributes {
  const attributes = new RequestAttributes(head, connection)
  attributes.path = path
  return attributes
}
