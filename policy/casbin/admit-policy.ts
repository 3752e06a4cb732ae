/**
 * What has no meaning here is refused whole, before any line is made of it: a constraint that is
 * dropped is a policy that allows more than was written (CVE-2022-21679).
 */
import { type AuthorizationPolicy, PolicyError, type Rule } from '../model/index.ts'
import { OPERATION_FIELDS, SOURCE_FIELDS } from './lines.ts'
import { isConditionKey } from './match.ts'

const RULE_FIELDS = { from: true, to: true, when: true }
const CONDITION_FIELDS = { key: true, values: true, notValues: true }

/** @throws {PolicyError} `POLICY_RULE_INVALID` */
export function admitPolicy(policy: AuthorizationPolicy): void {
  const { namespace, name, action, provider, rules } = policy
  const fault = (what: string, pointer: string): never => {
    const message = `Cannot compile policy ${namespace}/${name}: ${what}`
    throw new PolicyError('POLICY_RULE_INVALID', message, { pointer })
  }
  if ((action === 'CUSTOM') !== (provider !== undefined)) {
    fault('a provider is for CUSTOM, and CUSTOM wants one', '/provider')
  }
  for (const [index, rule] of rules.entries()) {
    for (const { what, pointer } of faultsOf(rule)) fault(what, `/rules/${index}${pointer}`)
  }
}

interface Fault {
  readonly what: string
  readonly pointer: string
}

function faultsOf(rule: Rule): readonly Fault[] {
  const { from = [], to = [], when = [] } = rule
  return [
    ...unknownFields(rule, RULE_FIELDS, ''),
    ...from.flatMap((one, at) => unknownFields(one, SOURCE_FIELDS, `/from/${at}`)),
    ...to.flatMap((one, at) => unknownFields(one, OPERATION_FIELDS, `/to/${at}`)),
    ...when.flatMap((one, at) => [
      ...unknownFields(one, CONDITION_FIELDS, `/when/${at}`),
      ...(isConditionKey(one.key)
        ? []
        : [{ what: `nothing is known as ${JSON.stringify(one.key)}`, pointer: `/when/${at}/key` }]),
    ]),
  ]
}

function unknownFields(object: object, known: object, pointer: string): readonly Fault[] {
  return Object.keys(object)
    .filter((field) => !Object.hasOwn(known, field))
    .map((field) => ({
      what: `the field ${JSON.stringify(field)} is not known`,
      pointer: `${pointer}/${field}`,
    }))
}
