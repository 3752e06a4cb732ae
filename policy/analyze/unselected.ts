/** Selectors that select nothing, and objects that therefore do nothing. */
import { servicesOf } from '../assemble/registry.ts'
import { byAge, selects } from '../assemble/select.ts'
import type { Labels, PeerAuthentication } from '../model/index.ts'
import { suggest } from '../dialects/suggest.ts'
import type { Draft } from './finding.ts'
import { isRecord, namesOf, type Scene, sidecarPolicies, subjectOf } from './scene.ts'

/** IST0127, RDB0022 */
export function findUnselectedPolicies(scene: Scene): readonly Draft[] {
  if (!scene.hasInventory) return []
  return sidecarPolicies(scene).flatMap((policy): readonly Draft[] => {
    const workloads = scene.selected(policy)
    const subject = subjectOf('AuthorizationPolicy', policy)
    if (policy.selector && workloads.length === 0) {
      const path = ['spec', 'selector', 'matchLabels']
      const message = `no workload has the labels ${labelsText(policy.selector)}: the policy applies to nothing`
      return [{ code: 'IST0127', subject, path, message, hint: labelHint(scene, policy.selector) }]
    }
    if (workloads.length === 0 || workloads.some(({ sidecar }) => sidecar)) return []
    return [
      {
        code: 'RDB0022',
        subject,
        path: ['spec'],
        message: `nobody enforces the policy: ${namesOf(workloads)} without a sidecar`,
        hint: 'remove the label sidecar.istio.io/inject: "false" from the workload',
      },
    ]
  })
}

/** RDB0007 */
export function findUnselectedOthers(scene: Scene): readonly Draft[] {
  if (!scene.hasInventory) return []
  const { intent } = scene
  const candidates = [
    ...intent.peerAuthentications.map((one) => ({
      kind: 'PeerAuthentication',
      one,
      selector: one.selector,
      path: ['spec', 'selector', 'matchLabels'],
    })),
    ...intent.services.map((one) => ({
      kind: 'Service',
      one,
      selector: one.selector,
      path: ['spec', 'selector'],
    })),
    ...intent.destinationRules.map((one) => ({
      kind: 'DestinationRule',
      one,
      selector: one.workloadSelector,
      path: ['spec', 'workloadSelector', 'matchLabels'],
    })),
    ...scene.ofKind('RequestAuthentication').map((one) => ({
      kind: 'RequestAuthentication',
      one,
      selector: selectorIn(one.value),
      path: ['spec', 'selector', 'matchLabels'],
    })),
  ]
  return candidates.flatMap(({ kind, one, selector, path }): readonly Draft[] => {
    const { namespace } = one
    // A PeerAuthentication of the root namespace with a selector has a finding of its own.
    if (!selector || (kind === 'PeerAuthentication' && namespace === intent.mesh.rootNamespace)) {
      return []
    }
    if (
      scene
        .selected({ namespace, selector })
        .some((found) => kind !== 'Service' || found.namespace === namespace)
    )
      return []
    const message = `no workload has the labels ${labelsText(selector)}: the ${kind} applies to nothing`
    const hint = labelHint(scene, selector)
    return [{ code: 'RDB0007', subject: subjectOf(kind, one), path, message, hint }]
  })
}

/** RDB0008: with a selector in the root namespace, or not the oldest of its scope (§2.3). */
export function findIneffectivePeerAuthentications(scene: Scene): readonly Draft[] {
  const { mesh, peerAuthentications, workloads } = scene.intent
  const sorted = peerAuthentications.toSorted(byAge)
  return sorted.flatMap((one): readonly Draft[] => {
    const subject = subjectOf('PeerAuthentication', one)
    if (one.selector && one.namespace === mesh.rootNamespace) {
      return [
        {
          code: 'RDB0008',
          subject,
          path: ['spec', 'selector'],
          message: `with a selector in the root namespace ${mesh.rootNamespace} it applies nowhere`,
          hint: "put it into the workloads' own namespace",
        },
      ]
    }
    const older = sorted
      .slice(0, sorted.indexOf(one))
      .find((other) => other.dryRun === one.dryRun && takesAll(other, one, workloads))
    if (!older) return []
    return [
      {
        code: 'RDB0008',
        subject,
        path: ['metadata', 'name'],
        message: `it applies nowhere: ${older.namespace}/${older.name} has the same scope and comes first`,
        hint: 'remove one of the two: the oldest counts, then the first by name',
      },
    ]
  })
}

function takesAll(
  older: PeerAuthentication,
  one: PeerAuthentication,
  workloads: Scene['intent']['workloads'],
): boolean {
  if (older.namespace !== one.namespace) return false
  if (!older.selector || !one.selector) return !older.selector && !one.selector
  const own = workloads.filter(
    ({ namespace, labels }) => namespace === one.namespace && selects(one.selector, labels),
  )
  return own.length > 0 && own.every(({ labels }) => selects(older.selector, labels))
}

/** IST0116, IST0137 */
export function findServiceConflicts(scene: Scene): readonly Draft[] {
  const { intent } = scene
  const drafts = intent.workloads.flatMap((workload) => {
    const services = servicesOf(intent, workload.namespace, workload.labels)
    return workload.ports.flatMap(({ port, name }) => {
      const leading = services.flatMap((service) =>
        service.ports
          .filter(({ targetPort }) => targetPort === port || (name !== '' && targetPort === name))
          .map((one) => ({ service, one })),
      )
      const [first, ...others] = leading
      return others.flatMap(({ service, one }): readonly Draft[] => {
        if (!first || service === first.service) return []
        const index = service.ports.indexOf(one)
        const subject = subjectOf('Service', service)
        const both = `Services ${first.service.name} and ${service.name} lead to port ${port}`
        if (one.protocol !== first.one.protocol) {
          const message = `${both} with different protocols, ${first.one.protocol} and ${one.protocol}: the first counts`
          const path = ['spec', 'ports', index]
          return [
            {
              code: 'IST0116',
              subject,
              path,
              message,
              hint: 'give both ports the same appProtocol',
            },
          ]
        }
        if (one.port === first.one.port) return []
        const message = `${both} from different ports, ${first.one.port} and ${one.port}`
        const path = ['spec', 'ports', index, 'port']
        return [
          {
            code: 'IST0137',
            subject,
            path,
            message,
            hint: 'use one port number for one workload port',
          },
        ]
      })
    })
  })
  return [
    ...new Map(
      drafts.map((one) => [
        `${one.code} ${one.subject.namespace}/${one.subject.name} ${one.path.join('/')}`,
        one,
      ]),
    ).values(),
  ]
}

/** The labels of a document's `spec.selector.matchLabels`, if it has any. */
export function selectorIn(value: Readonly<Record<string, unknown>>): Labels | undefined {
  const spec = isRecord(value['spec']) ? value['spec'] : {}
  const selector = isRecord(spec['selector']) ? spec['selector'] : {}
  const labels = selector['matchLabels']
  return isRecord(labels) && Object.keys(labels).length > 0 ? (labels as Labels) : undefined
}

function labelsText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ')
}

function labelHint({ intent }: Scene, selector: Labels): string {
  const all = 'label the workload so, or correct the selector'
  for (const [name, value] of Object.entries(selector)) {
    const known = intent.workloads.flatMap(({ labels }) => labels[name] ?? [])
    const meant = known.includes(value) ? undefined : suggest(value, known)
    if (meant !== undefined) return `did you mean ${name}=${meant}?`
  }
  return all
}
