/** DestinationRule (istio-semantics §6). */
import { z } from 'zod'

import type { Subset } from '../../model/traffic.ts'
import { checkExportTo, exportToSchema, readExportTo } from '../export-to.ts'
import { completeHost, dnsLabelFault, wildcardDomainFault } from '../grammar.ts'
import { defineKind, type Kind, type Manifest } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { fields, type Report, text } from '../schema.ts'
import { matchLabelsSchema, selectorOf, warnEmptySelector } from './selector.ts'
import {
  checkTrafficPolicy,
  readTrafficPolicy,
  trafficPolicySchema,
  warnTrafficPolicy,
} from './traffic-policy.ts'
import { checkWorkloadLabels } from './values.ts'

const subset = fields(
  {
    name: text(dnsLabelFault),
    labels: z.record(z.string(), z.string()).optional(),
    trafficPolicy: trafficPolicySchema.optional(),
  },
  { check: ({ labels = {} }, report) => checkWorkloadLabels(labels, ['labels'], report) },
)

const spec = fields(
  {
    host: text(wildcardDomainFault),
    trafficPolicy: trafficPolicySchema.optional(),
    subsets: z.array(subset).optional(),
    exportTo: exportToSchema,
    workloadSelector: matchLabelsSchema.optional(),
  },
  {
    check: ({ subsets = [] }, report) => {
      const seen = new Set<string>()
      subsets.forEach(({ name }, index) => {
        if (seen.has(name)) {
          report(['subsets', index, 'name'], `the name ${JSON.stringify(name)} is there twice`)
        }
        seen.add(name)
      })
    },
  },
)

type Spec = z.output<typeof spec>

export const destinationRuleKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  kind: 'DestinationRule',
  spec,
  check: (manifest, report) => {
    checkVisibility(manifest, report)
    for (const { policy, path } of policiesOf(manifest.spec))
      checkTrafficPolicy(policy, path, manifest, report)
  },
  warn: ({ spec: written }) => [
    ...warnEmptySelector(written.workloadSelector, 'workloadSelector'),
    ...policiesOf(written).flatMap(({ policy, path }) => warnTrafficPolicy(policy, path)),
  ],
  place: ({ metadata, spec: written }) => {
    const { namespace } = metadata
    const selector = selectorOf(written.workloadSelector)
    const { trafficPolicy } = written
    return {
      into: 'destinationRules',
      value: {
        ...refOf(metadata),
        host: completeHost(written.host, namespace),
        // For selected clients only, a rule stays in its namespace (§6.2).
        exportTo: selector ? [namespace] : readExportTo(written.exportTo, namespace),
        ...(selector ? { workloadSelector: selector } : {}),
        ...(trafficPolicy ? { trafficPolicy: readTrafficPolicy(trafficPolicy) } : {}),
        subsets: (written.subsets ?? []).map(readSubset),
      },
    }
  },
})

function policiesOf({ trafficPolicy, subsets = [] }: Spec) {
  const own = subsets.map(({ trafficPolicy: policy }, index) => ({
    policy,
    path: ['spec', 'subsets', index, 'trafficPolicy'],
  }))
  return [{ policy: trafficPolicy, path: ['spec', 'trafficPolicy'] }, ...own]
}

function readSubset({ name, labels = {}, trafficPolicy }: z.output<typeof subset>): Subset {
  return {
    name,
    labels,
    ...(trafficPolicy ? { trafficPolicy: readTrafficPolicy(trafficPolicy) } : {}),
  }
}

function checkVisibility(
  { metadata: { namespace }, spec: written }: Manifest<Spec>,
  report: Report,
): void {
  const path = ['spec', 'exportTo']
  const { exportTo, workloadSelector } = written
  checkExportTo(exportTo, { namespace, none: false }, path, report)
  const beyond = exportTo?.some((value) => value !== '.' && value !== namespace)
  if (workloadSelector && beyond) {
    report(path, 'a rule with a workloadSelector is for its own namespace: expected "." or nothing')
  }
}
