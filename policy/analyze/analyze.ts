/** `redoubt analyze`: every check over one set of manifests. Pure. */
import { editManifest } from '../dialects/edit-manifest.ts'
import { pointerFromPath } from '../dialects/pointer.ts'
import type { ManifestFile } from '../dialects/read-manifests.ts'
import type { DocumentReport, Fault } from '../model/index.ts'
import { findAnnotations } from './annotations.ts'
import { findContradicted, findUnreachable } from './contradicted.ts'
import { CODES, type Draft, type Finding, type FindingCode } from './finding.ts'
import { findHttpOnTcp } from './http-on-tcp.ts'
import { findMethods, findPaths, findRepeated, findSchemes } from './never-matches.ts'
import { findConflictingSelectors } from './one-for-each.ts'
import { findPlaintext } from './plaintext.ts'
import {
  findClaimRoutes,
  findConflictingHosts,
  findDestinationRules,
  findDestinations,
  findEntryProtocols,
  findPortNames,
  findUnreachableRoutes,
} from './routes.ts'
import {
  findCasbinTexts,
  findMissingProviders,
  findSeveralProviders,
  findUnaskedOnTcp,
} from './providers.ts'
import { readScene, type Scene } from './scene.ts'
import { findShadowed } from './shadowed.ts'
import { findConflictingGateways, findGatewayReferences, findUnservedHosts } from './gateways.ts'
import {
  findClosedPorts,
  findDefaultDenyByAllow,
  findSplitRules,
  findTooBroad,
} from './too-broad.ts'
import {
  findUnknownHosts,
  findUnknownIdentities,
  findUnknownNamespaces,
  findUnknownPorts,
  findUnverifiedClaims,
} from './unknown.ts'
import {
  findIneffectivePeerAuthentications,
  findServiceConflicts,
  findUnselectedOthers,
  findUnselectedPolicies,
} from './unselected.ts'
import {
  findDeprecated,
  findNegativeConditions,
  findOldVersions,
  findUnaddressedEntries,
  findUnknownGateways,
  findUnverifiedServers,
} from './written.ts'

const CHECKS: readonly ((scene: Scene) => readonly Draft[])[] = [
  findShadowed,
  findContradicted,
  findUnreachable,
  findUnselectedPolicies,
  findUnselectedOthers,
  findIneffectivePeerAuthentications,
  findServiceConflicts,
  findTooBroad,
  findSplitRules,
  findDefaultDenyByAllow,
  findClosedPorts,
  findPlaintext,
  findHttpOnTcp,
  findUnknownIdentities,
  findUnknownNamespaces,
  findUnknownHosts,
  findUnknownPorts,
  findUnverifiedClaims,
  findMissingProviders,
  findSeveralProviders,
  findUnaskedOnTcp,
  findCasbinTexts,
  findSchemes,
  findMethods,
  findPaths,
  findRepeated,
  findDestinations,
  findConflictingHosts,
  findUnreachableRoutes,
  findClaimRoutes,
  findDestinationRules,
  findPortNames,
  findEntryProtocols,
  findAnnotations,
  findConflictingSelectors,
  findDeprecated,
  findOldVersions,
  findNegativeConditions,
  findUnaddressedEntries,
  findUnknownGateways,
  findGatewayReferences,
  findConflictingGateways,
  findUnservedHosts,
  findUnverifiedServers,
]

/** What was found, and what could not be looked for. */
export interface Analysis {
  /** By file and line. */
  readonly findings: readonly Finding[]
  /** Documents that were looked at. */
  readonly documents: number
  /** No workload is among them: selectors, identities and ports were not held against any. */
  readonly withoutWorkloads: boolean
  /** The files that the certain repairs change, with their new text. */
  readonly repaired: readonly ManifestFile[]
}

/** Analyzes manifests, the valid ones of them. Never throws. */
export function analyze(files: readonly ManifestFile[]): Analysis {
  const scene = readScene(files)
  const order = new Map(files.map(({ path }, at) => [path, at]))
  const drafts = CHECKS.flatMap((check) => check(scene)).filter(
    (draft) => !isSilenced(scene, draft),
  )
  const { repaired, made } = repair(scene, files, drafts)
  const findings = [
    ...scene.reports.flatMap(schemaFindings),
    ...drafts.map((draft) => findingOf(scene, draft, made.has(draft))),
  ].sort((a, b) => (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) || a.line - b.line)
  return {
    findings,
    documents: scene.reports.length,
    withoutWorkloads: !scene.hasInventory,
    repaired,
  }
}

function findingOf(scene: Scene, draft: Draft, fixable: boolean): Finding {
  const { code, subject, path, message, hint } = draft
  const written = scene.find(subject)
  const { kind, namespace, name } = subject
  return {
    ...headOf(code),
    kind,
    namespace,
    name,
    file: written?.file ?? '',
    line: written?.lineOf(path) ?? 1,
    pointer: pointerFromPath([...(written?.at ?? []), ...path]),
    message,
    hint,
    fixable,
  }
}

function headOf(code: FindingCode): Pick<Finding, 'code' | 'severity' | 'title'> {
  const { severity, title } = CODES[code]
  return { code, severity, title }
}

/** What `redoubt validate` says, as Istio's analyzer says it. */
function schemaFindings(report: DocumentReport): readonly Finding[] {
  const { file, kind, namespace, name } = report
  const finding = (code: FindingCode, { line, pointer, message, hint = '' }: Fault): Finding => {
    const place = { kind, namespace, name, file, line, pointer }
    return { ...headOf(code), ...place, message, hint, fixable: false }
  }
  return [
    ...report.errors.map((fault) => finding('IST0106', fault)),
    ...report.warnings.map((fault) => finding('IST0133', fault)),
  ]
}

const SUPPRESS = 'galley.istio.io/analyze-suppress'

/** Whether the object's author wants to hear nothing of a code; `*` is all of them. */
function isSilenced(scene: Scene, { subject, code }: Draft): boolean {
  const metadata = scene.find(subject)?.value['metadata'] as
    | { readonly annotations?: Readonly<Record<string, unknown>> }
    | undefined
  const silenced = metadata?.annotations?.[SUPPRESS]
  if (typeof silenced !== 'string') return false
  return silenced.split(',').some((one) => one.trim() === '*' || one.trim() === code)
}

interface Repairs {
  readonly repaired: readonly ManifestFile[]
  /** The findings whose repair could be made. */
  readonly made: ReadonlySet<Draft>
}

function repair(scene: Scene, files: readonly ManifestFile[], drafts: readonly Draft[]): Repairs {
  const edits = drafts.flatMap((draft) => {
    const written = scene.find(draft.subject)
    if (draft.fix === undefined || written === undefined) return []
    const edit = { ...draft.fix, path: [...written.at, ...draft.fix.path] }
    return [{ draft, file: written.file, document: written.document, edit }]
  })
  const made = new Set<Draft>()
  const repaired: ManifestFile[] = []
  for (const [path, own] of Map.groupBy(edits, ({ file }) => file)) {
    const file = files.find((one) => one.path === path)
    if (file === undefined) continue
    const edited = editManifest(file.text, own)
    if (edited.made.length > 0) repaired.push({ path, text: edited.text })
    for (const one of own) if (edited.made.includes(one)) made.add(one.draft)
  }
  return { repaired, made }
}
