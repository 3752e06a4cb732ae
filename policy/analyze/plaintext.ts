/** Where callers without a certificate are let in (§2.3, §2.4). */
import { isGatewayPort } from '../assemble/gateway-ports.ts'
import { lookupOf } from '../assemble/lookup.ts'
import { selects } from '../assemble/select.ts'
import type { PathKey } from '../dialects/pointer.ts'
import type { MtlsMode, PeerAuthentication, Workload } from '../model/index.ts'
import type { Draft, Subject } from './finding.ts'
import { namesOf, type Scene, subjectOf } from './scene.ts'

/** RDB0009, RDB0010: one finding for each place that decides. */
export function findPlaintext(scene: Scene): readonly Draft[] {
  const exposed = scene.intent.workloads
    .filter(({ sidecar }) => sidecar)
    .flatMap((workload) =>
      scene.bundleOf(workload).ports.flatMap(({ port, mtls }) => {
        // To a gateway come strangers: that it takes plaintext is what it is for.
        if (mtls === 'STRICT' || isGatewayPort(scene.intent, workload, port)) return []
        return [{ workload, mtls, ...deciderOf(scene, workload, port) }]
      }),
    )
  const groups = Map.groupBy(exposed, ({ key, mtls }) => `${key} ${mtls}`)
  return [...groups.values()].flatMap((group) => {
    const [first] = group
    if (!first) return []
    const workloads = [...new Set(group.map(({ workload }) => workload))]
    return [draftOf(first, workloads)]
  })
}

interface Decider {
  readonly key: string
  readonly subject: Subject
  readonly path: readonly PathKey[]
  readonly written: boolean
}

function draftOf(
  { mtls, subject, path, written }: Decider & { readonly mtls: MtlsMode },
  workloads: readonly Workload[],
): Draft {
  const why = written ? '' : ', because no PeerAuthentication says otherwise'
  if (mtls === 'DISABLE') {
    return {
      code: 'RDB0010',
      subject,
      path,
      message: `${namesOf(workloads)}: plaintext only, nobody can prove who calls${why}`,
      hint: 'set mtls.mode: STRICT, or PERMISSIVE while callers move over',
    }
  }
  return {
    code: 'RDB0009',
    subject,
    path,
    message: `${namesOf(workloads)}: plaintext is let in beside mTLS (PERMISSIVE)${why}`,
    hint: 'when `redoubt authz rollout` lists nobody any more, set mtls.mode: STRICT',
  }
}

/** The object that decides on the mode of a port; without any, the namespace's first workload stands for it. */
function deciderOf({ intent }: Scene, workload: Workload, port: number): Decider {
  const { namespace, labels } = workload
  const { rootNamespace } = intent.mesh
  const { peerAuthentications } = lookupOf(intent)
  const own =
    namespace === rootNamespace
      ? undefined
      : peerAuthentications
          .get(namespace)
          ?.find(({ selector }) => selector && selects(selector, labels))
  if (own?.ports[String(port)]) return decided(own, ['spec', 'portLevelMtls', String(port), 'mode'])
  const wide = [namespace, rootNamespace].map((of) =>
    peerAuthentications.get(of)?.find(({ selector }) => !selector),
  )
  const decider = [own, ...wide].find((one) => one?.mode !== undefined)
  if (decider) return decided(decider, ['spec', 'mtls', 'mode'])
  const first = intent.workloads.find((one) => one.namespace === namespace) ?? workload
  const subject = subjectOf('Workload', first)
  return { key: `default ${namespace}`, subject, path: [], written: false }
}

function decided(one: PeerAuthentication, path: readonly PathKey[]): Decider {
  const key = `${one.namespace}/${one.name} ${path.join('/')}`
  return { key, subject: subjectOf('PeerAuthentication', one), path, written: true }
}
