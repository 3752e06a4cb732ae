/** Annotations of Istio's that stand where nobody reads them, or say nothing (istio-semantics §14.7). */
import { suggest } from '../dialects/suggest.ts'
import type { Draft } from './finding.ts'
import { isRecord, type Scene, type Written } from './scene.ts'

/** For pods: a mesh without pods reads none of them, and no Istio reads them elsewhere. */
const OF_PODS = named('sidecar.istio.io/', [
  'interceptionMode proxyImage proxyImageType proxyCPU proxyCPULimit proxyMemory proxyMemoryLimit',
  'logLevel componentLogLevel agentLogLevel rewriteAppHTTPProbers nativeSidecar bootstrapOverride',
  'userVolume userVolumeMount statsHistogramBuckets statsHistogramBins statsFlushInterval',
  'statsEvictionInterval',
])
const OF_CAPTURE = named('traffic.sidecar.istio.io/', [
  'includeOutboundIPRanges excludeOutboundIPRanges includeInboundPorts excludeInboundPorts',
  'includeOutboundPorts excludeOutboundPorts excludeInterfaces',
])
const OTHERS = [
  ...named('', [
    'status.sidecar.istio.io/port istio.io/reroute-virtual-interfaces proxy.istio.io/config',
    'proxy.istio.io/overrides inject.istio.io/templates prometheus.istio.io/merge-metrics',
  ]),
  ...named('readiness.status.sidecar.istio.io/', [
    'initialDelaySeconds periodSeconds failureThreshold applicationPorts',
  ]),
]
const DEPRECATED = named('sidecar.istio.io/', [
  'inject statsInclusionPrefixes statsInclusionSuffixes statsInclusionRegexps extraStatTags',
  'statsCompression discoveryAddress',
])
const REPLACED = 'traffic.sidecar.istio.io/kubevirtInterfaces'

/** Kinds that an annotation is for, by name; left out: any. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(
    [...OF_PODS, ...OF_CAPTURE, ...OTHERS, ...DEPRECATED, REPLACED].map((name) => [name, ['Pod']]),
  ),
  'istio.io/dry-run': ['AuthorizationPolicy'],
  'networking.istio.io/exportTo': ['Service'],
  'networking.istio.io/traffic-distribution': ['Namespace', 'Service', 'ServiceEntry'],
}
const ANYWHERE = ['galley.istio.io/analyze-suppress', 'istio.io/rev']
const KNOWN = [...Object.keys(KINDS), ...ANYWHERE]

function named(before: string, words: readonly string[]): readonly string[] {
  return words.flatMap((line) => line.split(' ')).map((word) => before + word)
}

/** IST0107, IST0108, IST0125, IST0135 */
export function findAnnotations({ all }: Scene): readonly Draft[] {
  return all.flatMap((written) => {
    const metadata = isRecord(written.value['metadata']) ? written.value['metadata'] : {}
    const annotations = isRecord(metadata['annotations']) ? metadata['annotations'] : {}
    return Object.entries(annotations).flatMap(([name, value]) =>
      /(^|\.)istio\.io\//.test(name) ? annotationDrafts(written, name, String(value)) : [],
    )
  })
}

function annotationDrafts(written: Written, name: string, value: string): readonly Draft[] {
  const path = ['metadata', 'annotations', name]
  const { kind } = written
  const at = { subject: written, path }
  if (!KNOWN.includes(name)) {
    const meant = suggest(name, KNOWN)
    const hint = meant === undefined ? 'nobody reads it: remove it' : `did you mean ${meant}?`
    return [{ ...at, code: 'IST0108', message: `Istio has no annotation ${name}`, hint }]
  }
  const deprecated = DEPRECATED.includes(name) || name === REPLACED
  const kinds = KINDS[name]
  return [
    ...(deprecated ? [deprecatedDraft(at, name)] : []),
    ...(kinds === undefined || kinds.includes(kind) ? [] : [misplacedDraft(at, name, kind, kinds)]),
    ...invalidDrafts(at, name, value),
  ]
}

type Place = Pick<Draft, 'subject' | 'path'>

function deprecatedDraft(at: Place, name: string): Draft {
  const hint =
    name === REPLACED
      ? 'write istio.io/reroute-virtual-interfaces'
      : name === 'sidecar.istio.io/inject'
        ? 'write it as a label'
        : 'put it into proxy.istio.io/config'
  return { ...at, code: 'IST0135', message: `the annotation ${name} is deprecated`, hint }
}

function misplacedDraft(at: Place, name: string, kind: string, kinds: readonly string[]): Draft {
  const message = `the annotation ${name} is for ${kinds.join(', ')}, and does nothing on a ${kind}`
  return { ...at, code: 'IST0107', message, hint: `move it to its ${kinds[0]}, or remove it` }
}

function invalidDrafts(at: Place, name: string, value: string): readonly Draft[] {
  if (name !== 'galley.istio.io/analyze-suppress') return []
  const words = value.split(',').map((word) => word.trim())
  return words
    .filter((word) => word !== '*' && !/^(IST|RDB)\d{4}$/.test(word))
    .map((word) => ({
      ...at,
      code: 'IST0125',
      message: `${JSON.stringify(word)} is no code, so nothing is silenced by it`,
      hint: 'write codes such as IST0127, divided by commas, or *',
    }))
}
