/** What is made from the schemas of manifests: checked in, current, and of a form that its readers take. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { parse } from 'yaml'
import { KINDS } from '#policy/dialects/kinds.ts'
import { publishSchemas } from '#policy/publish/index.ts'
import { structural } from '../../../policy/publish/crd.ts'
import { describedFields } from '../../../policy/publish/descriptions.ts'

const OUT = 'deploy/schemas'
const files = publishSchemas()
const textOf = (name: string): string => files.get(name) ?? ''

test('deploy/schemas is what npm run generate:schemas makes today', (t) => {
  const there = globSync('**/*.*', { cwd: OUT }).toSorted()
  t.deepEqual(there, [...files.keys()].toSorted())
  for (const name of there) {
    t.is(
      readFileSync(join(OUT, name), 'utf8'),
      textOf(name),
      `run npm run generate:schemas: ${name}`,
    )
  }
})

test('each kind has a JSON Schema and a page, and each but Kubernetes’ own a definition', (t) => {
  const of = (folder: string) => [...files.keys()].filter((name) => name.startsWith(`${folder}/`))
  t.is(of('json').length, KINDS.length)
  t.is(of('reference').length, KINDS.length + 1)
  t.is(of('crds').length, KINDS.filter(({ group }) => group !== '').length)
})

interface Definition {
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly scope: string
    readonly names: {
      readonly kind: string
      readonly plural: string
      readonly shortNames?: string[]
    }
    readonly versions: readonly {
      readonly name: string
      readonly storage: boolean
      readonly served: boolean
      readonly schema: { readonly openAPIV3Schema: Schema }
    }[]
  }
}
type Schema = Readonly<Record<string, unknown>>

const definitions = [...files]
  .filter(([name]) => name.startsWith('crds/'))
  .map(([, text]) => parse(text) as Definition)

test('§0.1: definitions have the names, scopes, versions and the stored version that Istio’s have', (t) => {
  const rows = definitions.map(({ metadata, spec }) => {
    const { names, versions } = spec
    const stored = versions.filter(({ storage }) => storage).map(({ name }) => name)
    const served = versions.map(({ name }) => name).join(' ')
    return [names.kind, metadata.name, served, stored.join(), names.shortNames?.join() ?? 'none']
  })
  const wanted = `
AuthorizationPolicy authorizationpolicies.security.istio.io v1,v1beta1 v1 ap
PeerAuthentication peerauthentications.security.istio.io v1,v1beta1 v1 pa
RequestAuthentication requestauthentications.security.istio.io v1,v1beta1 v1 ra
VirtualService virtualservices.networking.istio.io v1,v1beta1,v1alpha3 v1 vs
DestinationRule destinationrules.networking.istio.io v1,v1beta1,v1alpha3 v1 dr
Gateway gateways.networking.istio.io v1,v1beta1,v1alpha3 v1 gw
ServiceEntry serviceentries.networking.istio.io v1,v1beta1,v1alpha3 v1 se
Sidecar sidecars.networking.istio.io v1,v1beta1,v1alpha3 v1 none
WorkloadEntry workloadentries.networking.istio.io v1,v1beta1,v1alpha3 v1 we
WorkloadGroup workloadgroups.networking.istio.io v1,v1beta1,v1alpha3 v1 wg
ProxyConfig proxyconfigs.networking.istio.io v1beta1 v1beta1 none
Telemetry telemetries.telemetry.istio.io v1,v1alpha1 v1alpha1 telemetry
Mesh meshes.redoubt.io v1alpha1 v1alpha1 none
Workload workloads.redoubt.io v1alpha1 v1alpha1 none`
  for (const line of wanted.trim().split('\n')) {
    const row = line.split(' ').map((cell, at) => (at === 2 ? cell.replaceAll(',', ' ') : cell))
    t.true(
      rows.some((one) => JSON.stringify(one) === JSON.stringify(row)),
      `${line}: ${JSON.stringify(rows.find(([kind]) => kind === row[0]))}`,
    )
  }
})

/** Keywords that a structural schema may have (apiextensions.k8s.io/v1). */
const STRUCTURAL = new Set(
  `type description enum pattern required minimum exclusiveMinimum maximum minItems maxItems minLength
  maxLength format items properties additionalProperties nullable x-kubernetes-preserve-unknown-fields
  x-kubernetes-int-or-string`.split(/\s+/),
)

function faultsOf(schema: Schema, at: string): readonly string[] {
  const { type, properties, items, additionalProperties } = schema
  const isOpen =
    schema['x-kubernetes-preserve-unknown-fields'] ?? schema['x-kubernetes-int-or-string']
  const below = (part: unknown, name: string) =>
    typeof part === 'object' && part !== null ? faultsOf(part as Schema, `${at}/${name}`) : []
  return [
    ...Object.keys(schema).flatMap((key) => (STRUCTURAL.has(key) ? [] : [`${at}: ${key}`])),
    ...(typeof type === 'string' || isOpen ? [] : [`${at}: no type`]),
    ...(properties && additionalProperties ? [`${at}: properties and additionalProperties`] : []),
    ...(type === 'array' && typeof items !== 'object' ? [`${at}: a list of nothing`] : []),
    ...Object.entries((properties ?? {}) as Schema).flatMap(([name, one]) => below(one, name)),
    ...below(items, '[]'),
    ...below(additionalProperties, '*'),
  ]
}

test('definitions are structural at every level, and store one version of those they serve', (t) => {
  for (const { spec } of definitions) {
    t.is(spec.versions.filter(({ storage }) => storage).length, 1)
    for (const { name, served, schema } of spec.versions) {
      t.true(served)
      t.deepEqual(faultsOf(schema.openAPIV3Schema, `${spec.names.kind} ${name}`), [])
    }
  }
})

test('structural() makes of a choice what Kubernetes has words for', (t) => {
  const text = { type: 'string' }
  t.deepEqual(structural({ anyOf: [{ type: 'integer' }, text] }), {
    'x-kubernetes-int-or-string': true,
  })
  t.deepEqual(structural({ anyOf: [text, { type: 'null' }] }), { ...text, nullable: true })
  t.deepEqual(structural({ anyOf: [{ type: 'number', const: 0 }, { type: 'integer' }] }), {
    type: 'integer',
  })
  t.deepEqual(structural({}), { 'x-kubernetes-preserve-unknown-fields': true })
  t.deepEqual(structural({ type: 'number', exclusiveMinimum: 0 }), {
    type: 'number',
    minimum: 0,
    exclusiveMinimum: true,
  })
  t.deepEqual(structural({ ...text, const: 'x' }), { ...text, enum: ['x'] })
})

test('every field of our own kinds has a sentence, and every sentence a field', (t) => {
  for (const kind of ['Mesh', 'Workload', 'CasbinPolicy']) {
    const name = `reference/redoubt.io_${kind.toLowerCase()}.md`
    const rows = [...textOf(name).matchAll(/^\| `([^`]+)` \| [^|]+ \| (.*) \|$/gm)]
    const fields = rows.map(([, field]) => field)
    t.deepEqual(
      describedFields(kind).filter((field) => !fields.includes(field)),
      [],
      kind,
    )
    // What is Istio's inside of ours is described by Istio.
    const own = rows.filter(
      ([, field]) => !/^(extensionProviders|defaultHttpRetryPolicy)./.test(field ?? ''),
    )
    for (const [, field, what] of own) t.regex(what ?? '', /[a-z]{3}.*\.$/, `${kind} ${field}`)
  }
})

test('the page of a kind tells what is required, limited and not carried out', (t) => {
  const route = textOf('reference/networking.istio.io_virtualservice.md')
  t.regex(route, /`http\[\]\.fault` \| object \| Valid, and not carried out yet/)
  t.regex(route, /`http\[\]\.directResponse\.status` \| integer \| required; 200 to 600/)
  t.regex(route, /`http\[\]\.redirect\.redirectCode` \| number or integer \|/)
  t.regex(textOf('reference/networking.istio.io_sidecar.md'), /no mesh carries out a Sidecar yet/)
  t.regex(
    textOf('reference/redoubt.io_workload.md'),
    /`run\.command` \| list of string \| required/,
  )
})
