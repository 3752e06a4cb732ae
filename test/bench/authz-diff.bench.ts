/**
 * What a comparison costs: 1,000 policies that all apply to one workload, against the same with one rule
 * changed, and against none; and an assertion over all of them. CPU, not time. Budget: 3 s.
 *
 *     node test/bench/authz-diff.bench.ts
 */
import { compareIntents, proveAssertions, readManifests } from '#policy/index.ts'
import type { AuthorizationPolicy, Rule } from '#policy/model/index.ts'

const WORKLOAD = `
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: app, labels: { app: web } }
spec: { serviceAccount: web, ports: [{ name: http, port: 8080 }] }
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: tokens, namespace: app }
spec: { jwtRules: [{ issuer: https://issuer-1 }, { issuer: https://issuer-2 }] }
`
const { intent: base } = readManifests([{ path: 'mesh.yaml', text: WORKLOAD }])

/** As `authz-decision.bench.ts` has them: a client a policy, and paths that many share. */
const byClient = (index: number): Rule => ({
  from: [{ principals: [`cluster.local/ns/app/sa/client-${index + 1}`] }],
  to: [{ methods: ['GET'], paths: [`/api/${index % 20}/*`, '/items/*'] }],
})
const byPath = (index: number): Rule => ({ to: [{ methods: ['GET'], paths: [`/api/${index}/*`] }] })
/** As many callers as paths. */
const byBoth = (index: number): Rule => ({
  from: [{ principals: [`cluster.local/ns/ns-${index % 40}/sa/client-${index}`] }],
  to: [{ methods: ['GET', 'POST'], paths: [`/api/${index}/{*}`, `/files/${index}.txt`] }],
})
/** Everything that a rule can say, in turn. */
function mixed(index: number): Rule {
  const caller = { principals: [`cluster.local/ns/ns-${index % 50}/sa/client-${index}`] }
  const user = { requestPrincipals: [`https://issuer-${index % 5}/user-${index}`] }
  const tenant = { key: 'request.headers[x-tenant]', values: [`t${index % 25}`] }
  const shapes: readonly Rule[] = [
    { from: [caller], to: [{ methods: ['GET'], paths: [`/v1/things/${index}`] }] },
    { from: [{ namespaces: [`ns-${index % 50}`] }], to: [{ paths: [`/v1/area-${index % 30}/*`] }] },
    { from: [caller], when: [tenant] },
    { from: [{ ipBlocks: [`10.${index % 250}.0.0/16`] }], to: [{ methods: ['GET', 'HEAD'] }] },
    { from: [user], to: [{ paths: [`/me/{*}/${index % 10}`] }] },
    {
      from: [caller],
      to: [{ notPaths: [`/admin-${index % 15}/*`], hosts: [`h${index % 20}.example`] }],
    },
  ]
  return shapes[index % shapes.length] ?? {}
}

function policiesOf(count: number, rule: (index: number) => Rule): AuthorizationPolicy[] {
  return Array.from({ length: count }, (_, index) => ({
    namespace: 'app',
    name: `p${index}`,
    action: index % 10 === 0 ? 'DENY' : 'ALLOW',
    dryRun: false,
    rules: [rule(index)],
  }))
}

function intentOf(policies: readonly AuthorizationPolicy[]): typeof base {
  const authorizationPolicies = policies.map((policy) => {
    const { namespace, name } = policy
    return { namespace, name, targeted: false, policy }
  })
  return { ...base, authorizationPolicies }
}

const PLANTED: Rule = {
  from: [{ namespaces: ['planted'] }],
  to: [{ methods: ['PATCH'], paths: ['/planted/{*}'] }],
}

function withPlanted(policies: readonly AuthorizationPolicy[]): readonly AuthorizationPolicy[] {
  return policies.map((one, index) => (index === 501 ? { ...one, rules: [PLANTED] } : one))
}

function measure<T>(run: () => T): { readonly seconds: number; readonly value: T } {
  const start = process.cpuUsage()
  const value = run()
  const { user, system } = process.cpuUsage(start)
  return { seconds: Number(((user + system) / 1e6).toFixed(2)), value }
}

const rows = Object.entries({ byClient, byPath, byBoth, mixed }).map(([name, rule]) => {
  const policies = policiesOf(1000, rule)
  const all = intentOf(policies)
  const edit = measure(() => compareIntents(all, intentOf(withPlanted(policies))))
  const whole = measure(() => compareIntents(base, all))
  const rules = [{ from: [{ notNamespaces: ['app', 'ns-*'] }] }]
  const assertion = { name: 'it', workload: 'app/web', kind: 'never', rules, line: 1 } as const
  const proof = measure(() => proveAssertions(all, [assertion]))
  return {
    policies: `1,000 ${name}`,
    'one rule edited, s': edit.seconds,
    classes: edit.value[0]?.total,
    'against none, s': whole.seconds,
    'classes against none': whole.value[0]?.total,
    'one assertion, s': proof.seconds,
  }
})
console.table(rows)
