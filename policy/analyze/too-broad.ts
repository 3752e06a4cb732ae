/** Rules that allow more than most mean, and the surprise of the first ALLOW. */
import { fieldOfKey } from '../evaluate/fields.ts'
import type { AuthorizationPolicy, PortProtocol, Rule, Source } from '../model/index.ts'
import { asksHttp } from './covers.ts'
import type { Draft } from './finding.ts'
import { namesOf, type Scene, sidecarPolicies, subjectOf } from './scene.ts'

/** RDB0004, RDB0005 */
export function findTooBroad(scene: Scene): readonly Draft[] {
  return allowPolicies(scene).flatMap(({ policy }) =>
    policy.rules.flatMap((rule, index): readonly Draft[] => {
      const subject = subjectOf('AuthorizationPolicy', policy)
      const path = ['spec', 'rules', index]
      if (!rule.from && !rule.to && !rule.when) {
        const message = `rule ${index} allows everybody everything, callers without an identity too`
        const hint = 'say who (from) may do what (to); to allow nothing, leave `rules` out'
        return [{ code: 'RDB0004', subject, path, message, hint }]
      }
      if (asksWho(rule)) return []
      const message = `rule ${index} does not ask who calls: anybody may, without an identity too`
      const hint =
        'name the callers in from.source.principals; ["*"] is everybody who has an identity'
      return [{ code: 'RDB0005', subject, path, message, hint }]
    }),
  )
}

/** RDB0006: `- from` and `- to` are two rules, and either is enough (istio.io#9043). */
export function findSplitRules(scene: Scene): readonly Draft[] {
  return sidecarPolicies(scene).flatMap(({ policy }) => {
    const from = policy.rules.findIndex((rule) => rule.from && !rule.to && !rule.when)
    const to = policy.rules.findIndex((rule) => rule.to && !rule.from && !rule.when)
    if (from === -1 || Math.abs(from - to) !== 1 || to === -1) return []
    const index = Math.max(from, to)
    const message = `rule ${from} says who, for anything, and rule ${to} says what, for anybody: either is enough`
    const hint = 'to ask for both, remove the "-" of the second and indent it below the first'
    const path = ['spec', 'rules', index]
    return [
      { code: 'RDB0006', subject: subjectOf('AuthorizationPolicy', policy), path, message, hint },
    ]
  })
}

/** RDB0012: nobody wrote that the workload refuses by default, and it does (§1.3). */
export function findDefaultDenyByAllow(scene: Scene): readonly Draft[] {
  const policies = allowPolicies(scene)
  const said = policies.filter(({ policy }) => policy.rules.length === 0)
  const seen = new Set<string>()
  return policies
    .filter(({ policy }) => policy.rules.length > 0)
    .flatMap((intent) => {
      const surprised = scene
        .selected(intent)
        .filter((one) => !said.some((other) => scene.selected(other).includes(one)))
        .filter(({ namespace, name }) => !seen.has(`${namespace}/${name}`))
      for (const { namespace, name } of surprised) seen.add(`${namespace}/${name}`)
      if (surprised.length === 0) return []
      const message = `because of it ${namesOf(surprised)} now refuse${surprised.length === 1 ? 's' : ''} all that no ALLOW policy matches`
      const hint =
        'say so with a policy of `spec: {}` in the namespace; `redoubt authz learn` writes what callers need'
      return [
        {
          code: 'RDB0012',
          subject: subjectOf('AuthorizationPolicy', intent),
          path: ['spec'],
          message,
          hint,
        } as const,
      ]
    })
}

/** RDB0013 */
export function findClosedPorts(scene: Scene): readonly Draft[] {
  const policies = allowPolicies(scene).filter(({ policy }) => policy.rules.length > 0)
  const closed = scene.intent.workloads.flatMap((workload) => {
    const own = policies.filter((policy) => scene.selected(policy).includes(workload))
    const [first] = own
    if (!first || !workload.sidecar) return []
    return scene
      .bundleOf(workload)
      .ports.filter(({ port }) => workload.ports.some((declared) => declared.port === port))
      .filter(
        ({ port, protocol }) =>
          !own.some(({ policy }) => policy.rules.some((rule) => mayAllow(rule, port, protocol))),
      )
      .map(({ port, protocol }) => ({ first, workload, port, protocol }))
  })
  return [
    ...Map.groupBy(
      closed,
      ({ first, port, protocol }) => `${first.namespace}/${first.name} ${port} ${protocol}`,
    ).values(),
  ].flatMap((group) => {
    const [closedPort] = group
    if (!closedPort) return []
    const { first, port, protocol } = closedPort
    const where = namesOf(group.map(({ workload }) => workload))
    const why =
      protocol === 'tcp' || protocol === 'tls'
        ? ` (it is ${protocol}: rules with HTTP attributes do not count there)`
        : ''
    return [
      {
        code: 'RDB0013',
        subject: subjectOf('AuthorizationPolicy', first),
        path: ['spec', 'rules'],
        message: `nobody may call port ${port} of ${where}: ALLOW policies apply, and none lets anybody to it${why}`,
        hint: `allow it with to: [{operation: {ports: ["${port}"]}}], or remove the port from the workload`,
      } as const,
    ]
  })
}

/** Whether an ALLOW rule can match on a port at all (§1.8). */
export function mayAllow(rule: Rule, port: number, protocol: PortProtocol): boolean {
  if ((protocol === 'tcp' || protocol === 'tls') && asksHttp(rule)) return false
  return namesPort(rule, port)
}

/** Whether the ports that a rule names, if it names any, have `port` among them. */
export function namesPort({ to, when = [] }: Rule, port: number): boolean {
  const text = String(port)
  const operations =
    to === undefined ||
    to.some(({ ports, notPorts }) => (!ports || ports.includes(text)) && !notPorts?.includes(text))
  return (
    operations &&
    when.every(
      ({ key, values, notValues }) =>
        key !== 'destination.port' ||
        ((!values || values.includes(text)) && !notValues?.includes(text)),
    )
  )
}

function allowPolicies(scene: Scene) {
  return sidecarPolicies(scene).filter(({ policy }) => isEnforcedAllow(policy))
}

function isEnforcedAllow({ action, dryRun }: AuthorizationPolicy): boolean {
  return action === 'ALLOW' && !dryRun
}

const IDENTITY = [
  'principals',
  'namespaces',
  'serviceAccounts',
  'trustDomains',
  'requestPrincipals',
  'ipBlocks',
  'remoteIpBlocks',
] as const satisfies readonly (keyof Source)[]

/** Whether every way through a rule asks for something about the caller. */
function asksWho({ from, when = [] }: Rule): boolean {
  const conditions = when.some(
    ({ key, values }) =>
      values !== undefined &&
      (/^(source|remote|request\.auth)\./.test(key) || fieldOfKey(key).httpOnly),
  )
  return conditions || from?.every((source) => IDENTITY.some((field) => source[field])) === true
}
