/** `redoubt authz learn`: from what was seen, the least that must be allowed. */
import { learn, learnedIntents, type Learned, replay } from '#policy/observed/index.ts'
import { DeployError } from '../../error.ts'
import { readIntent } from '../authz-query.ts'
import { type Command, flagOption, type Input, type Io, listOption } from '../command.ts'
import { counted, learnedManifest } from '../learned-manifest.ts'
import { OBSERVED_OPTIONS, readObserved } from '../observed-log.ts'
import { FILE_OPTION } from '../manifest-source.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'

export const authzLearn: Command = {
  name: 'authz learn',
  summary: 'write the least-privilege ALLOW policies that let through what was seen, dry-run first',
  options: [
    FILE_OPTION,
    ...OBSERVED_OPTIONS,
    {
      flags: '--path-templates <template>',
      summary: 'write paths that it matches as it, e.g. /orders/{*}',
      repeat: true,
    },
    {
      flags: '--methods <list>',
      summary: 'methods that go together, e.g. GET,HEAD: who used one may use all; or any',
      repeat: true,
    },
    { flags: '--enforce', summary: 'without the dry-run annotation' },
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'What the running mesh needs, as manifests to look at',
      command: 'redoubt authz learn > learned.yaml',
    },
    {
      what: 'From a log, one rule for all orders',
      command:
        "redoubt authz learn -f mesh --log access.log --path-templates '/orders/{*}' --methods GET,HEAD",
    },
  ],
  async run(io, input, signal) {
    const intent = await readIntent(io, input, signal)
    const observed = await readObserved(io, input, signal)
    const learned = learn(intent, observed.observations, generalisation(input))
    if (learned.policies.length === 0) {
      sayLeftOut(io, learned)
      const why = `${observed.requests} requests were logged by their callees, and none of them was let through`
      io.err(`redoubt: Cannot learn: ${why}; sidecars log all with accessLogFile in the Mesh`)
      return 2
    }
    const leftOut = new Set(learned.leftOut.map(({ observation }) => observation))
    const seen = observed.observations.filter((one) => !leftOut.has(one))
    const proof = replay(intent, learnedIntents(learned.policies), seen)
    write(io, input, learned, proof)
    sayLeftOut(io, learned)
    const denied = proof.denied.reduce((total, { requests }) => total + requests, 0)
    io.err(
      `${learned.policies.length} ${learned.policies.length === 1 ? 'policy' : 'policies'} from ${counted(proof.requests)}; replayed, they deny ${denied} of them`,
    )
    return denied === 0 ? 0 : 1
  },
}

function generalisation(input: Input) {
  const methods = listOption(input, 'methods')
  const groups = methods.filter((list) => list !== 'any').map((list) => list.split(','))
  const templates = listOption(input, 'pathTemplates')
  const faulty = templates.find((template) => !template.startsWith('/'))
  if (faulty !== undefined) {
    const wanted = 'expected a path with {*} for a segment or {**} for the rest'
    throw new DeployError(
      'DEPLOY_USAGE',
      `Cannot read --path-templates ${JSON.stringify(faulty)}: ${wanted}`,
    )
  }
  return { pathTemplates: templates, methodGroups: groups, anyMethod: methods.includes('any') }
}

function write(
  io: Io,
  input: Input,
  { policies, leftOut }: Learned,
  proof: ReturnType<typeof replay>,
): void {
  const enforced = flagOption(input, 'enforce')
  const manifests = policies.map((policy) => learnedManifest(policy, enforced))
  const value = {
    policies: policies.map((policy, at) => ({ ...policy, manifest: manifests[at] })),
    leftOut: leftOut.map(({ observation, why }) => ({ ...observation, why })),
    replay: proof,
  }
  print(io, outputFormat(input), value, () => [manifests.join('\n---\n')])
}

function sayLeftOut(io: Io, { leftOut }: Learned): void {
  for (const [why, list] of Map.groupBy(leftOut, (one) => one.why)) {
    const count = list.reduce((total, { observation }) => total + observation.requests, 0)
    io.err(`left out: ${count} request${count === 1 ? '' : 's'}, ${why}`)
  }
}
