import { inWords } from '#ca/inspect/index.ts'
import type { MeshStatus, ProcessView, WorkloadStatus } from '../../standalone/status.ts'
import { askMesh } from '../../standalone/admin-client.ts'
import { faultLines } from '../../standalone/last-good.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { type Command, type Io, textOption } from '../command.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'

/** `redoubt status`: what runs, with which certificate and configuration; 1 if anything is amiss. */
export const status: Command = {
  name: 'status',
  summary: 'show the running mesh: certificates, configuration, processes, faults',
  options: [STATE_OPTION, OUTPUT_OPTION],
  examples: [
    { what: 'Show the mesh of this directory', command: 'redoubt status' },
    {
      what: 'Wait in a script until nothing is amiss',
      command: 'until redoubt status --output json >/dev/null; do sleep 1; done',
    },
  ],
  async run(io, input, signal) {
    const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
    const mesh = (await askMesh(state, '/status', io, signal)) as MeshStatus
    print(io, outputFormat(input), mesh, () => statusLines(mesh, io))
    return isWell(mesh) ? 0 : 1
  },
}

/** Whether everything runs with the newest configuration. Pure. */
export function isWell({ processes, workloads, manifests, unread }: MeshStatus): boolean {
  return (
    manifests.length === 0 &&
    unread.length === 0 &&
    processes.every(({ state, health }) => state === 'ready' && health?.ready !== false) &&
    workloads.every(
      ({ ready, revoked, configuration }) =>
        ready &&
        revoked === undefined &&
        configuration.every(({ rejected }) => rejected === undefined),
    )
  )
}

function statusLines(mesh: MeshStatus, io: Io): readonly string[] {
  return [
    `mesh ${mesh.trustDomain}  state ${mesh.state}`,
    ...mesh.processes.flatMap((process) => processLines(process, io)),
    ...mesh.workloads.flatMap((workload) => ['', ...workloadLines(workload, io)]),
    ...mesh.manifests
      .flatMap(faultLines)
      .flatMap((line, index) => (index === 0 ? ['', red(io, line)] : [red(io, line)])),
    ...mesh.unread.flatMap(({ policy, why, kept }) => [
      '',
      red(io, `CasbinPolicy ${policy}: ${why}`),
      kept ? 'its last good lines are in force' : 'it has no lines yet: what asks it is refused',
    ]),
    ...(mesh.manifests.length > 0 ? ['the last good text of these files is in force'] : []),
  ]
}

function red(io: Io, line: string): string {
  return paint(io, 'red', line)
}

function processLines(process: ProcessView, io: Io): readonly string[] {
  const { ready = true, reasons = [] } = process.health ?? {}
  const line = `  ${processText(process)}`
  return [
    ready ? line : red(io, line),
    ...reasons.map((reason) => paint(io, ready ? 'yellow' : 'red', `    ${reason}`)),
  ]
}

function processText({ name, state, pid, restarts, lastExit, health }: ProcessView): string {
  const times = restarts === 1 ? 'once' : `${restarts} times`
  const history = restarts > 0 ? `, restarted ${times}, last: ${lastExit ?? 'unknown'}` : ''
  const works = health?.ready === false ? 'not ready' : state
  const whose = name.startsWith('ca') ? "the API server's" : "the CA's"
  const offsetMs = health?.clockOffsetMs
  const clock = offsetMs === undefined ? '' : `, ${clockText(offsetMs, whose)}`
  return `${name.padEnd(8)} ${works}${pid === undefined ? '' : `, pid ${pid}`}${history}${clock}`
}

/** Told of one that is right, too: whoever looks for a cause can rule it out. */
function clockText(offsetMs: number, whose: string): string {
  const tenths = Math.round(Math.abs(offsetMs) / 100)
  if (tenths === 0) return `its clock is ${whose}`
  return `its clock is ${tenths / 10} s ${offsetMs > 0 ? 'behind' : 'ahead of'} ${whose}`
}

function workloadLines(workload: WorkloadStatus, io: Io): readonly string[] {
  const { namespace, name, spiffeId, ready, certificate, configuration, sidecar, app } = workload
  const mark = ready ? paint(io, 'green', 'ready') : paint(io, 'red', 'not ready')
  return [
    `${namespace}/${name}  ${mark}  ${spiffeId}`,
    ...(workload.revoked ? [red(io, `  ${revokedText(workload.revoked)}`)] : []),
    ...(certificate
      ? [
          `  certificate ${certificate.serial}, ${inWords(certificate.remainingSeconds)} left, ` +
            `${rotatedText(certificate)}, bundle generation ${certificate.bundleGeneration}`,
        ]
      : []),
    ...configuration.map((one) => `  ${configurationText(one, io)}`),
    ...[sidecar, app].flatMap((process) => (process ? [`  ${processText(process)}`] : [])),
    ...(workload.connected === false ? [red(io, '  not connected to the policy server')] : []),
  ]
}

function revokedText({ kind, value }: NonNullable<WorkloadStatus['revoked']>): string {
  return `revoked: peers refuse the ${kind === 'serial' ? 'certificate' : 'identity'} (redoubt ca revoke ${value} --undo gives it back)`
}

/** When, so that whoever looks for the cause of something else can rule it out. */
function rotatedText({
  rotations,
  issuedAt,
}: Pick<NonNullable<WorkloadStatus['certificate']>, 'rotations' | 'issuedAt'>): string {
  if (rotations === 0) return `issued at ${issuedAt}`
  return `rotated ${rotations === 1 ? 'once' : `${rotations} times`}, last at ${issuedAt}`
}

function configurationText(
  { name, desired, applied, rejected }: WorkloadStatus['configuration'][number],
  io: Io,
): string {
  if (rejected) return red(io, `${name}: rejected ${short(rejected.version)}: ${rejected.reason}`)
  if (applied === desired) return `${name}: ${short(applied)} in force`
  return `${name}: ${short(desired)} on its way, ${short(applied) || 'nothing'} in force`
}

function short(version: string): string {
  return version.slice(0, 12)
}
