/** Learned policies as Istio manifests, each rule with the counts that it comes from. */
import { Document, type YAMLMap, type YAMLSeq } from 'yaml'

import type { LearnedPolicy, LearnedRule } from '#policy/observed/index.ts'

/** One policy as a document of YAML, without the `---` before it. */
export function learnedManifest(policy: LearnedPolicy, enforced: boolean): string {
  const { namespace, name, labels, rules, requests, workloads, alsoSelects } = policy
  const document = new Document({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: {
      name,
      namespace,
      annotations: {
        ...(enforced ? {} : { 'istio.io/dry-run': 'true' }),
        'redoubt.io/learned-from': `${counted(requests)} to ${workloads.join(', ')}`,
      },
    },
    spec: { selector: { matchLabels: labels }, action: 'ALLOW', rules: rules.map(ruleOf) },
  })
  document.commentBefore = [
    ` Learned from ${counted(requests)} to ${workloads.join(', ')}.`,
    ...(alsoSelects.length > 0 ? [` Its labels select ${alsoSelects.join(', ')} too.`] : []),
    ...(enforced ? [] : [' Tried out only: remove istio.io/dry-run to enforce it.']),
  ].join('\n')
  const list = document.getIn(['spec', 'rules'], true) as YAMLSeq<YAMLMap>
  for (const [at, rule] of rules.entries()) {
    const item = list.items[at]
    if (item) item.commentBefore = ` ${counted(rule.requests)}, the last at ${rule.lastSeen}`
    const operations = document.getIn(['spec', 'rules', at, 'to'], true) as YAMLSeq<YAMLMap>
    for (const [index, { requests: count }] of rule.operations.entries()) {
      const operation = operations.items[index]
      if (operation && rule.operations.length > 1) operation.commentBefore = ` ${counted(count)}`
    }
  }
  return document.toString({ lineWidth: 0 }).trimEnd()
}

/** `1 request`, `2 requests`. */
export function counted(requests: number): string {
  return `${requests} request${requests === 1 ? '' : 's'}`
}

function ruleOf({ principals, operations }: LearnedRule): object {
  return {
    // Nobody with an identity: callers in plaintext, and they alone.
    from: [{ source: principals.length > 0 ? { principals } : { notPrincipals: ['*'] } }],
    to: operations.map(({ port, methods, paths }) => ({
      operation: {
        ports: [String(port)],
        ...(methods.length > 0 ? { methods } : {}),
        ...(paths.length > 0 ? { paths } : {}),
      },
    })),
  }
}
