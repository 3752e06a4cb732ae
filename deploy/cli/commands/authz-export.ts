/** `redoubt authz export`: what decides at one workload, for any Casbin. */
import { exportWorkload } from '#policy/check/index.ts'
import { DeployError } from '../../error.ts'
import { readIntent } from '../authz-query.ts'
import { type Command, textOption } from '../command.ts'
import { FILE_OPTION } from '../manifest-source.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'

type Export = NonNullable<ReturnType<typeof exportWorkload>>

export const authzExport: Command = {
  name: 'authz export',
  summary: 'print what decides at a workload as models and lines that any Casbin loads',
  options: [
    FILE_OPTION,
    STATE_OPTION,
    { flags: '--to <workload>', summary: 'namespace/name', required: true },
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'Read the lines that decide',
      command: 'redoubt authz export -f deploy/samples/qotm --to qotm/qotm-v1',
    },
    {
      what: 'Load them elsewhere; policy/casbin/MATCHERS.md says what the matchers must do',
      command:
        'redoubt authz export -f deploy/samples/qotm --to qotm/qotm-v1 --output json > qotm-v1.json',
    },
  ],
  async run(io, input, signal) {
    const to = textOption(input, 'to') ?? ''
    const exported = exportWorkload(await readIntent(io, input, signal), to)
    if (exported === undefined) {
      throw new DeployError(
        'DEPLOY_USAGE',
        `Cannot export ${to}: the manifests have no such workload with a sidecar`,
      )
    }
    print(io, outputFormat(input), exported, () => textLines(exported))
    return 0
  },
}

/** The groups with their rows, as Casbin's policy files have them. */
function textLines({
  workload,
  pathNormalization,
  ports,
  models,
  chains,
}: Export): readonly string[] {
  const groups = Object.entries(chains).flatMap(([chain, list]) =>
    list.map(({ action, use, provider, policies, lines }) => {
      const who = provider === undefined ? '' : ` provider ${provider}`
      const rows = lines.map((line) => `p, ${line.map(quoted).join(', ')}`)
      const head = `# ${chain}: ${action}${who}, ${use}: ${policies.join(', ') || 'no policy applies'}`
      return [head, ...rows]
    }),
  )
  const modes = ports.map(({ port, mtls }) => `${port} ${mtls}`)
  return [
    `# ${workload}: mTLS ${modes.join(', ')}; paths are read by ${pathNormalization}`,
    '# every group is an enforcer of its own; policy/casbin/MATCHERS.md says what its functions do',
    ...models.ALLOW.trim()
      .split('\n')
      .filter((line) => !line.startsWith('#')),
    ...groups.flatMap((lines) => ['', ...lines]),
  ]
}

/** A column as RFC 4180 has it. */
function quoted(column: string): string {
  return /[",\n]/.test(column) ? `"${column.replaceAll('"', '""')}"` : column
}
